"""A sweeper that searches for the best settings by Optuna. Hydra finds it by its place in ``hydra_plugins``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


class OptunaStudy(Sweeper):
    """Asks Optuna for settings, runs a job with them, and tells it what the job returned.

    A choice (``a,b``), a range or an ``interval(low,high)`` is searched; an interval of whole numbers as
    ``int(interval(…))``, on a logarithmic scale as ``tag(log,interval(…))``. A job without a finite result is a failed
    trial, and the study goes on. best.yaml in the sweep's folder says what was best.

    Args:
        n_trials: jobs.  n_jobs: how many of them are launched at a time.
        direction: "minimize" or "maximize".  sampler: of Optuna.
        storage: where Optuna keeps the study; one of the same ``study_name`` goes on. None: in memory.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        direction: str,
        sampler: BaseSampler,
        storage: str | None = None,
        study_name: str | None = None,
    ):
        self.n_trials, self.n_jobs = n_trials, n_jobs
        self.study = {"direction": direction, "sampler": sampler, "storage": storage, "study_name": study_name}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def _check_direction(self) -> None:
        """Refuse to minimise a metric that is best where it is greatest, or the reverse."""
        from melle.evaluation import metrics
        from melle.training import record

        name, mode = (metrics if "objective" in self.config else record).monitor_and_mode(self.config)
        right = {"min": "minimize", "max": "maximize"}.get(mode)
        if right is not None and self.study["direction"] != right:
            said = f"callbacks.best.mode={mode} of {name}"
            if "objective" in self.config:
                said = f"objective={name} is better the {'lower' if mode == 'min' else 'higher'} it is"
            raise CompactHydraException(
                f"error: {said}, where the sweep would {self.study['direction']} it: "
                f"add hydra.sweeper.direction={right}"
            )

    def sweep(self, arguments: list[str]) -> None:
        import optuna

        self._check_direction()
        parsed = {
            override.get_key_element(): override for override in OverridesParser.create().parse_overrides(arguments)
        }
        searched = {key: distribution(override) for key, override in parsed.items() if override.is_sweep_override()}
        fixed = [override.input_line for override in parsed.values() if not override.is_sweep_override()]
        study = optuna.create_study(**self.study, load_if_exists=True)
        done = 0
        while done < self.n_trials:
            trials = [study.ask(searched) for _ in range(min(self.n_jobs, self.n_trials - done))]
            jobs = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
            for trial, job in zip(trials, self.launcher.launch(jobs, initial_job_idx=done)):
                result = job.return_value
                if result is None or not math.isfinite(result):
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, result)
            done += len(trials)
        if any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
            best: dict[str, Any] = {"value": study.best_value, "overrides": study.best_params}
            OmegaConf.save(OmegaConf.create(best), Path(self.config.hydra.sweep.dir) / "best.yaml")


def distribution(override: Override) -> BaseDistribution:
    """What Optuna draws from; a choice or a range is drawn from as the texts of its values."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if override.is_discrete_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    interval = override.value()
    whole = isinstance(interval.start, int) and isinstance(interval.end, int)
    return (IntDistribution if whole else FloatDistribution)(interval.start, interval.end, log="log" in interval.tags)
