"""Checkpoints: when they are written, and that each is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO

from melle.errors import UserError
from melle.files import written_whole

UNFINISHED = "unfinished-{}.partial"  # by the process: a kill leaves it behind


class WholeFiles(CheckpointIO):
    """Writes a checkpoint whole or not at all, and reads it without running anything that it holds.

    Lightning's own writes into the folder for temporary files and moves the result, which is a copy, and so no single
    operation, where that folder is on another disk; it also holds a second copy of the checkpoint in memory.

    A checkpoint that cannot be written is an error that ``StepCheckpoint`` raises on all ranks; it waits in
    ``failure``, and from then on nothing is removed.
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
        if self.failure is None:
            Path(path).unlink(missing_ok=True)


class StepCheckpoint(ModelCheckpoint):
    """step_NNNNNN.ckpt every so many optimiser steps, before every validation and at the end, however it comes.

    ``ModelCheckpoint`` alone writes none at an end that is no multiple of its interval. last.ckpt links to the newest.

    Args:
        dirpath: folder.  every: optimiser steps; what is no number, such as the "DD:HH:MM:SS" between validations,
            means before validations and at the end alone.  keep: how many of the newest stay, None for all.
    """

    def __init__(self, dirpath: str | Path, every: int | str | None, keep: int | None = None):
        if (isinstance(every, int | float) and (every < 1 or every % 1)) or (keep is not None and keep < 1):
            raise ValueError(f"callbacks.checkpoint: every={every}, keep={keep}: 1 or more")
        super().__init__(
            dirpath,
            "step_{step:06d}",
            monitor="step",
            mode="max",
            save_top_k=-1 if keep is None else keep,
            save_last="link",
            every_n_train_steps=1,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self.every = int(every) if isinstance(every, int | float) else None
        self._first_step = 0  # the step that the run goes on from

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Takes over what is in the folder, whatever the run that it goes on from knew or kept."""
        super().on_train_start(trainer, module)
        self._first_step = trainer.global_step
        folder, paths = Path(self.dirpath), []
        if trainer.is_global_zero and folder.is_dir():
            for path in folder.glob(UNFINISHED.format("*")):  # of processes that were killed
                path.unlink(missing_ok=True)
            paths = [str(path) for path in step_files(folder)]
            kept = len(paths) if self.save_top_k < 0 else self.save_top_k
            for path in paths[: max(0, len(paths) - kept)]:
                if path != str(trainer.ckpt_path):
                    trainer.strategy.remove_checkpoint(path)
            paths = paths[max(0, len(paths) - kept) :]
        paths = trainer.strategy.broadcast(paths)
        self.best_k_models = {path: torch.tensor(step_of(Path(path))) for path in paths}
        if paths:
            self.kth_best_model_path, self.best_model_path = paths[0], paths[-1]
            self.kth_value, self.best_model_score = self.best_k_models[paths[0]], self.best_k_models[paths[-1]]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        due = self.every is not None and trainer.global_step % self.every == 0
        due = due or trainer.global_step == trainer.max_steps
        if due or trainer.should_stop:
            self._save(trainer, module)

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._save(trainer, module)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Nothing: there is one of this step."""

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._raise_failure(trainer)  # of another callback's checkpoint

    def _save(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.global_step == self._first_step:
            return
        super().on_train_batch_end(trainer, module, None, None, 0)  # unless there is one of this step
        self._raise_failure(trainer)

    def _raise_failure(self, trainer: lightning.Trainer) -> None:
        """On all ranks, or the others would wait for the first one."""
        io = trainer.strategy.checkpoint_io
        failure = trainer.strategy.broadcast(io.failure if isinstance(io, WholeFiles) else None)
        if failure is None:
            return
        if trainer.is_global_zero:
            link_last(Path(self.dirpath))
        raise UserError(failure)


def step_of(path: Path) -> int:
    """After which optimiser step a step_NNNNNN.ckpt was written."""
    return int(path.stem.removeprefix("step_"))


def step_files(folder: Path) -> list[Path]:
    """The checkpoints of a folder by their steps."""
    return sorted((path for path in folder.glob("step_*.ckpt") if path.stem[5:].isdigit()), key=step_of)


def link_last(folder: Path) -> None:
    """Let last.ckpt be the newest checkpoint that is there; a copy where links are not allowed."""
    last, paths = folder / "last.ckpt", step_files(folder)
    last.unlink(missing_ok=True)
    if not paths:
        return
    try:
        last.symlink_to(paths[-1].name)
    except OSError:
        shutil.copyfile(paths[-1], last)
