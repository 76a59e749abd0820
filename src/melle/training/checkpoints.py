"""Checkpoints: when they are written, which are kept, and that each is whole."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO
from tqdm import tqdm

from melle.errors import UserError
from melle.files import written_whole

SCORES = "scores.json"
UNFINISHED = "unfinished-{}.partial"  # by the process: a kill leaves it behind


class WholeFiles(CheckpointIO):
    """Writes a checkpoint whole or not at all, and reads it without running anything that it holds.

    A checkpoint that cannot be written is an error that ``Checkpoints`` tells all ranks; it waits in ``failure``.
    """

    def __init__(self) -> None:
        self.failure: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        try:
            with written_whole(path, partial=path.parent / UNFINISHED.format(os.getpid())) as partial:
                torch.save(checkpoint, partial)
        except (OSError, RuntimeError) as error:  # torch's writer hides the system's reason in a RuntimeError
            free = shutil.disk_usage(path.parent).free / 2**30
            self.failure = (
                f"{path} could not be written ({str(error).splitlines()[0]}; {free:.2f} GiB are free). Earlier "
                "checkpoints are whole; make room, or keep fewer by callbacks.checkpoint.keep=, and the same command "
                "goes on from the last one"
            )

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Writes ``folder``/step_NNNNNN.ckpt every so many optimiser steps, before every validation, and at the end.

    last.ckpt and best.ckpt are further names (hard links) of the newest and of the best one by the validation that
    followed it; scores.json holds what validations said of each.

    Args:
        folder: where they are.  every: optimiser steps.
        keep: how many of the newest stay, None for all.  keep_best: how many of the best stay besides.
        monitor: the validation metric that says which is best.  mode: "min" or "max" of it is best.
    """

    def __init__(
        self,
        folder: str | Path,
        every: int,
        keep: int | None = None,
        keep_best: int = 1,
        monitor: str = "validation/regression",
        mode: str = "min",
    ):
        if every < 1 or (keep is not None and keep < 1) or mode not in ("min", "max"):
            raise ValueError(f"callbacks.checkpoint: every={every}, keep={keep}: 1 or more; mode={mode}: min or max")
        self.folder, self.every, self.keep, self.keep_best = Path(folder), every, keep, keep_best
        self.monitor, self.mode = monitor, mode
        self._saved = 0  # the step of the newest

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._saved = trainer.global_step
        if trainer.is_global_zero and self.folder.is_dir():
            for path in self.folder.glob(UNFINISHED.format("*")):  # of processes that were killed
                path.unlink(missing_ok=True)
            self._leave_branch(trainer.global_step)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.save(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.save(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        path = self._path(trainer.global_step)
        if trainer.sanity_checking or not trainer.is_global_zero or not path.is_file():
            return
        metrics = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("validation/")}
        try:
            self._write_scores({**self._scores(), path.name: metrics})
            self._tidy()
        except OSError as error:  # of one rank: the others would wait for it
            tqdm.write(f"{self.folder / SCORES} could not be written: {error}", file=sys.stderr)

    def save(self, trainer: lightning.Trainer) -> None:
        """Write the checkpoint of this step, unless there is one."""
        if trainer.global_step == self._saved:
            return
        self._saved = trainer.global_step
        path = self._path(trainer.global_step)
        trainer.save_checkpoint(path, weights_only=False)
        io = trainer.strategy.checkpoint_io
        failure = io.failure if isinstance(io, WholeFiles) else None
        if trainer.is_global_zero and failure is None:
            try:
                _name_also(path, self.folder / "last.ckpt")
                self._tidy()
            except OSError as error:
                failure = f"{path} is written, but not named last.ckpt: {error}"
        failure = trainer.strategy.broadcast(failure)  # or the other ranks would wait for the first one
        if failure is not None:
            raise UserError(failure)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}.ckpt"

    def _scores(self) -> dict[str, dict[str, float]]:
        try:
            return json.loads((self.folder / SCORES).read_text())
        except (OSError, ValueError):
            return {}

    def _write_scores(self, scores: dict[str, dict[str, float]]) -> None:
        with written_whole(self.folder / SCORES) as partial:
            partial.write_text(json.dumps(scores, indent=1))

    def _leave_branch(self, step: int) -> None:
        """Put aside what a run that goes on from an earlier step had made of later ones."""
        later = [path for path in step_files(self.folder) if step_of(path) > step]
        if not later:
            return
        aside = next(folder for n in range(1, 10**6) if not (folder := self.folder / f"left-{n}").exists())
        aside.mkdir()
        scores = self._scores()
        for path in later:
            scores.pop(path.name, None)
            path.rename(aside / path.name)
        self._write_scores(scores)
        for name in ("last.ckpt", "best.ckpt"):
            (self.folder / name).unlink(missing_ok=True)
        if self._path(step).is_file():
            _name_also(self._path(step), self.folder / "last.ckpt")
        self._tidy()
        print(f"The run goes on from step {step}; its checkpoints of later steps are in {aside}.", file=sys.stderr)

    def _tidy(self) -> None:
        """Give the best one its name, and remove what is not to be kept."""
        paths = step_files(self.folder)
        sign = 1 if self.mode == "min" else -1
        found = {name: sign * values.get(self.monitor, math.nan) for name, values in self._scores().items()}
        scores = {name: value for name, value in found.items() if math.isfinite(value)}
        ranked = sorted((path for path in paths if path.name in scores), key=lambda path: scores[path.name])
        if ranked and self.keep_best:
            _name_also(ranked[0], self.folder / "best.ckpt")
        if self.keep is not None:
            newest = self._path(self._saved)
            kept = {*paths[-self.keep :], *ranked[: self.keep_best], newest}
            for path in set(paths) - kept:
                path.unlink(missing_ok=True)


def step_of(path: Path) -> int:
    """After which optimiser step a step_NNNNNN.ckpt was written."""
    return int(path.stem.removeprefix("step_"))


def step_files(folder: Path) -> list[Path]:
    """The checkpoints of a folder by their steps."""
    return sorted((path for path in folder.glob("step_*.ckpt") if path.stem[5:].isdigit()), key=step_of)


def _name_also(path: Path, name: Path) -> None:
    """A second name for a file, at once in the place of what had that name; a copy where there are no hard links."""
    if name.exists() and name.samefile(path):
        return
    with written_whole(name) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)
