"""Train a model: ``python train.py`` for the quickstart, ``python train.py model=melle data=jsonl …`` for your own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from melle.configs.build import errors_of_values
from melle.configs.explain import explained
from melle.configs.overrides import readable_arguments
from melle.console import set_up_console
from melle.errors import UserError

LISTS = ("callbacks", "logger", "augment", "asr", "speaker")  # groups of which several options may be chosen


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float | None:
    # Imported here, so that what is wrong with the command line is said at once.
    from lightning.pytorch.utilities import rank_zero_only

    from melle.training.callbacks.stop import Stopped
    from melle.training.report import check_judges, write_report
    from melle.training.run import objective, train

    started = time.monotonic()
    set_up_console()
    try:
        with errors_of_values():
            missing = [] if rank_zero_only.rank else check_judges(cfg)
            metrics = train(cfg)
        if rank_zero_only.rank:
            return None  # one of several processes is enough to report
        print(f"\nTrained for {(time.monotonic() - started) / 60:.1f} minutes: {cfg.run_dir}")
        write_report(cfg, missing)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # a row of the sweep's table; the other jobs go on
        if rank_zero_only.rank:
            time.sleep(5)  # a launcher that sees one process fail kills the others, even before they have said why
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stop:
        if rank_zero_only.rank:
            sys.exit(0)  # a launcher takes another status for a failure and kills the first process while it saves
        print(f"Stopped by {stop}, saved in {cfg.run_dir}. The same command goes on from there.", file=sys.stderr)
        sys.exit(128 + stop.number)
    except KeyboardInterrupt:
        print(f"\nStopped. The same command goes on from the last checkpoint in {cfg.run_dir}.", file=sys.stderr)
        sys.exit(130)
    return objective(cfg, metrics)


if __name__ == "__main__":
    set_up_console()  # before Hydra prints
    sys.argv[1:] = readable_arguments(sys.argv[1:], LISTS, default="experiment=quickstart")
    with explained(Path(__file__).with_name("conf"), "train"):
        main()
