"""Sweeps (``-m``): a job that fails does not end the others, and one table says what each came to."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_method
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from melle.errors import UserError
from melle.files import write_text, written_whole
from melle.locks import locked

LAUNCHED = {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS"}  # by Lightning
WIDEST = 80  # characters of a reason in table.md


class SweepTable(Callback):
    """Writes table.csv and table.md into the sweep's folder, a row for each job, whenever a job begins or ends.

    A failed job is a row that says why, and for the sweeper one without a result, which an optimiser passes over. A
    sweep with a failed job ends with status 1. Jobs may run anywhere where they see that folder.

    Args:
        run: key of the configuration under which a job's own folder stands.
        metrics: dotted name of the function that reads a job's metrics, by name, from that folder.
        shown: how the names of the table's metrics begin, besides "step"; the first one is left out of its heads.
        monitor: dotted name of the function that reads from the configuration by which metric rows are sorted, or how
            its name begins, and "min" or "max", whichever of it is best, or None.
    """

    def __init__(
        self,
        run: str = "run_dir",
        metrics: str = "melle.training.record.read_metrics",
        shown: Sequence[str] = ("validation/", "samples/"),
        monitor: str = "melle.training.record.monitor_and_mode",
    ):
        self.folder: Path | None = None  # of the sweep, in a sweep
        self.run, self.metrics, self.shown = run, metrics, tuple(shown)
        self.monitor, self.sorted_by, self.mode = monitor, "", None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.sorted_by, self.mode = get_method(self.monitor)(config)
        # Jobs are composed anew, from their own overrides and these.
        excluded = [*config.hydra.job.config.override_dirname.exclude_keys, *fixed_keys(config.hydra.overrides.task)]
        config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys={json.dumps(excluded)}")
        if rank_zero_only.rank:
            return
        (self.folder / "jobs").mkdir(parents=True, exist_ok=True)
        for path in (self.folder / "jobs").glob("*.json"):  # of an earlier sweep into the same folder
            path.unlink()
        print(f"Sweep: a row for each job in {_readable(self.folder / 'table.md')}")

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if self.folder is not None:
            self._note(config, "not ended")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if self.folder is None:
            return
        outcome = "done"
        if job_return.status == JobStatus.FAILED:
            error = _error(job_return)
            if isinstance(error, UserError):
                print(f"error: {error}", file=sys.stderr)
            else:
                traceback.print_exception(error)
            outcome = f"failed: {type(error).__name__}: {error}"
            # Otherwise sweepers raise it, and all that the other jobs came to is lost.
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None
        self._note(config, outcome)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if rank_zero_only.rank:
            return
        jobs = self._write()
        print(f"\n{(self.folder / 'table.md').read_text(encoding='utf-8')}\n{_readable(self.folder / 'table.csv')}")
        failed = sum(job["outcome"] != "done" for job in jobs)
        if failed:
            print(f"{failed} of {len(jobs)} jobs failed", file=sys.stderr)
            raise SystemExit(1)

    def _note(self, config: DictConfig, outcome: str) -> None:
        """Write down how a job stands. Job files are small, and written by the job itself wherever it runs."""
        if rank_zero_only.rank:
            return
        job = {
            "run": str(config[self.run]),
            "overrides": list(config.hydra.overrides.task),
            "outcome": outcome,
        }
        text = json.dumps(job, indent=1, ensure_ascii=False)
        write_text(self.folder / "jobs" / f"{config.hydra.job.num:05d}.json", text)
        self._write()

    def _write(self) -> list[dict[str, Any]]:
        """Make the tables anew from what all jobs noted, and return that."""
        with locked(self.folder / "jobs" / ".lock"):
            jobs = [json.loads(path.read_text("utf-8")) for path in sorted((self.folder / "jobs").glob("*.json"))]
            done = [job["outcome"] == "done" for job in jobs]
            read = get_method(self.metrics)
            found = [read(job["run"]) if ended else {} for job, ended in zip(jobs, done)]
            columns, rows = sweep_rows(jobs, found, self.sorted_by, self.shown, self.mode)
            with (
                written_whole(self.folder / "table.csv") as partial,
                partial.open("w", newline="", encoding="utf-8") as file,
            ):
                csv.writer(file).writerows([columns, *rows])
            write_text(self.folder / "table.md", format_rows(columns, rows, self.shown[0]))
        return jobs


class OwnCommand(Callback):
    """Gives each job of a sweep the command line that it would have alone, and no traces of the job before.

    By its command line Lightning starts the other processes of a job; by that of the sweep each would run all jobs. It
    also stands in the record of the run.
    """

    def __init__(self) -> None:
        self._before: tuple[list[str], dict[str, str]] | None = None

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:
            self._before = sys.argv, dict(os.environ)
            sys.argv = [sys.argv[0], *job_arguments(sys.argv[1:], config)]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if self._before is None:
            return
        sys.argv, environment = self._before
        for name in LAUNCHED - environment.keys():  # Lightning would think that somebody else starts the processes
            os.environ.pop(name, None)
        if "LOCAL_RANK" not in environment and dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
        if "torch._dynamo" in sys.modules:
            sys.modules["torch._dynamo"].reset()  # or it takes the next job's blocks for ever new shapes of this one's
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish()  # or the next job would log to this one's run


def _error(job: JobReturn) -> BaseException:
    """What ended a failed job: its result raises it."""
    try:
        job.return_value  # noqa: B018
    except Exception as error:
        return error
    return RuntimeError("the job failed without an error")


def fixed_keys(overrides: list[str]) -> list[str]:
    """Of what a sweep overrides, the keys that have one value in all of its jobs."""
    parsed = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(list(overrides))}
    return [key for key, override in parsed.items() if not override.is_sweep_override()]


def job_arguments(arguments: list[str], config: DictConfig) -> list[str]:
    """The command line of one job of a sweep, from that of the sweep: its flags, what the job overrides, its folder."""
    flags = [
        argument
        for argument in arguments
        if argument not in ("-m", "--multirun")
        and (argument.startswith("-") or "=" not in argument)
        and not argument.startswith("~")  # an override without a value
    ]
    overrides = [text for text in config.hydra.overrides.task if not text.startswith("run_dir=")]
    return [*flags, *overrides, f"run_dir={QuotedString(str(config.run_dir), Quote.double).with_quotes()}"]


def sweep_rows(
    jobs: list[dict[str, Any]],
    metrics: list[dict[str, float]],
    sorted_by: str,
    shown: tuple[str, ...],
    mode: str | None = "min",
) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows, best first: what varies over the jobs, their metrics, how they ended and their folders."""
    overrides = [dict(text.partition("=")[::2] for text in job["overrides"]) for job in jobs]
    keys = list(dict.fromkeys(key for row in overrides for key in row))
    varying = [key for key in keys if len({row.get(key) for row in overrides}) > 1]
    names = {name for row in metrics for name in row if name.startswith((*shown, sorted_by))}
    order = {name: next((n for n, head in enumerate(shown) if name.startswith(head)), len(shown)) for name in names}
    columns = sorted(names, key=lambda name: (not name.startswith(sorted_by), order[name], name))
    first = next((name for name in columns if name.startswith(sorted_by)), columns[0] if columns else sorted_by)
    columns = [*(["step"] if any("step" in row for row in metrics) else []), *columns]

    def rank(number: int) -> tuple[bool, float]:
        value = metrics[number].get(first, math.nan)
        return math.isnan(value), -value if mode == "max" and first.startswith(sorted_by) else value

    rows = [
        [
            *(overrides[n].get(key, "") for key in varying),
            *(metrics[n].get(name, "") for name in columns),
            jobs[n]["outcome"],
            jobs[n]["run"],
        ]
        for n in sorted(range(len(jobs)), key=rank)
    ]
    return [*varying, *columns, "outcome", "run"], rows


def format_rows(columns: list[str], rows: list[list[Any]], prefix: str = "") -> str:
    """A Markdown table whose columns stand in line as plain text, too; ``prefix`` is cut from their names."""
    heads = [name.removeprefix(prefix) if prefix.endswith("/") else name for name in columns]
    table = [heads, *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |" for row in table]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    text = " ".join(str(value).split()).replace("|", "\\|")
    return f"{text[: WIDEST - 1]}…" if text.startswith("failed") and len(text) > WIDEST else text


def _readable(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
