"""Score checkpoints by the paper's protocols: ``python evaluate.py checkpoint='runs/*/checkpoints/*.ckpt'``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

import melle.evaluation.folder  # noqa: F401  (a resolver that the configuration uses)
from melle.configs.build import errors_of_values
from melle.configs.explain import explained
from melle.configs.overrides import readable_arguments
from melle.console import set_up_console
from melle.errors import UserError

LISTS = ("checkpoint", "protocol", "asr", "speaker", "quality", "vocoder")  # of which several may be given


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Score what the config names, print the tables and write the results.

    Returns the metrics of the last checkpoint under the first protocol.
    """
    # Imported here, so that what is wrong with the command line is said at once.
    from melle.evaluation.metrics import METRICS
    from melle.evaluation.run import score
    from melle.evaluation.setup import evaluation_from
    from melle.evaluation.tables import format_tables
    from melle.evaluation.workers import start_workers

    check_objective(cfg.objective and cfg.objective.partition("/")[0], METRICS)  # whose it is, is known at the end
    evaluation = evaluation_from(cfg)
    results = score(evaluation, start_workers(cfg, evaluation))
    print(format_tables(results))
    print(f"\nTo look at and listen to: {evaluation.output / 'report.html'}")
    print(f"Every utterance: {evaluation.output / 'results.csv'}, results.json")
    return results.of(results.protocols[0])[-1].metrics


def check_objective(objective: str | None, metrics: Iterable[str]) -> None:
    """Raises UserError where what is to be minimised is none of the metrics."""
    if objective and objective not in metrics:
        raise UserError(f"objective={objective}: there is no such metric; choose one of {', '.join(metrics)}")


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> float | None:
    set_up_console()
    try:
        with errors_of_values():
            metrics = evaluate(cfg)
        check_objective(cfg.objective, metrics)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # a row of the sweep's table; the other jobs go on
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\nStopped. The same command goes on from there, with what is in {cfg.output}.", file=sys.stderr)
        sys.exit(130)
    rates = [name for name in metrics if name.startswith("wer/")]
    return metrics.get(cfg.objective or (rates[0] if rates else ""))


if __name__ == "__main__":
    set_up_console()  # before Hydra prints
    sys.argv[1:] = readable_arguments(sys.argv[1:], LISTS)
    with explained(Path(__file__).with_name("conf"), "evaluate"):
        main()
