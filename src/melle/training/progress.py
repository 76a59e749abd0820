"""How far training is: one line, counted in optimiser steps."""

from __future__ import annotations

import io
import math
import sys
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from melle.data.batch import Batch
from melle.training.speed import Throughput

SHORT = {"total": "loss", "text_gap": "gap", "regression": "reg"}  # and what stands first, where lines are short
RECENT = 50  # batches by which the speed is told


class Line(tqdm):
    """A line of progress on stderr: redrawn in place in a terminal, written anew elsewhere, such as in a log file.

    Args:
        name: what is under way.  total: how many steps there are, None where there is no end.
        first: steps done before.  below: lines above this one.  keep: whether it stays.
        refresh_seconds, log_seconds: least time between redrawing, and between lines written.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        refresh_seconds: float,
        log_seconds: float,
        first: int = 0,
        below: int = 0,
        keep: bool = False,
    ):
        self.note = ""
        self._redrawn = sys.stderr.isatty()
        self._seconds = refresh_seconds if self._redrawn else log_seconds
        count = "{n_fmt} [{elapsed}]"
        if total is not None:
            graph = "|{bar:10}|" if self._redrawn else ""
            count = "{percentage:3.0f}%" + graph + " {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
        super().__init__(
            desc=name,
            total=total,
            initial=first,
            position=below,
            leave=keep,
            file=sys.stderr if self._redrawn else io.StringIO(),  # so that tqdm sends no control characters to a log
            delay=0 if self._redrawn else math.inf,
            dynamic_ncols=self._redrawn,
            bar_format="{desc} " + count + "{note}",
        )
        self._shown = getattr(self, "start_t", 0.0)  # not there where TQDM_DISABLE is set

    @property
    def format_dict(self) -> dict[str, Any]:
        return {**super().format_dict, "note": self.note}

    @property
    def due(self) -> bool:
        """Whether it is time to show it again."""
        return not self.disable and self._time() - self._shown >= self._seconds

    def show(self) -> None:
        self._shown = self._time()
        if self._redrawn:
            self.refresh()
        else:
            print(self, file=sys.stderr, flush=True)

    def close(self) -> None:
        if not self.disable and self.leave and not self._redrawn:
            self.show()
        super().close()


class TrainingBar(ProgressBar):
    """Shows optimiser steps, time left, the loss terms and speed, and the progress of each validation below it.

    A resumed run is counted from its beginning; the time left goes by the speed of this session.

    Args:
        refresh_seconds: least time between looks at the metrics, which may wait for a GPU.
        log_seconds: least time between lines where stderr is not a terminal.
    """

    def __init__(self, refresh_seconds: float = 0.5, log_seconds: float = 30.0):
        super().__init__()
        self.refresh_seconds, self.log_seconds = refresh_seconds, log_seconds
        self.is_enabled = True
        self.throughput = Throughput(last=RECENT)
        self._training: Line | None = None
        self._validation: Line | None = None

    def disable(self) -> None:
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Python's print, above the lines of progress."""
        if self.is_enabled:
            with tqdm.external_write_mode(file=kwargs.get("file")):
                print(*args, **kwargs)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.throughput.clear()
        self.throughput.pause()
        if self.is_enabled:
            total = trainer.max_steps if trainer.max_steps >= 0 else None
            self._training = self._line("training", total, first=trainer.global_step, keep=True)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Batch, index: int
    ) -> None:
        if self._training is not None:
            self.throughput.begin()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        line = self._training
        if line is None:
            return
        self.throughput.end(batch)
        line.n = trainer.global_step
        if line.due:
            line.note = self._note(trainer)
            line.show()

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self._training is not None:
            self._training.note = self._note(trainer)
        self._close()

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.throughput.pause()
        if self.is_enabled:
            batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
            total = sum(batches)
            below = 0 if self._training is None else 1
            self._validation = self._line("validation", None if math.isinf(total) else int(total), below=below)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        line = self._validation
        if line is not None:
            line.n += 1
            if line.due:
                line.show()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self._validation is not None:
            self._validation.close()
            self._validation = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.throughput.pause()

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        if self._training is not None:
            self._training.n = trainer.global_step
        self._close()

    def _line(self, name: str, total: int | None, **options: Any) -> Line:
        return Line(name, total, self.refresh_seconds, self.log_seconds, **options)

    def _note(self, trainer: lightning.Trainer) -> str:
        """The metrics, by short names, and the speed; waits for the device."""
        names = {name.rpartition("/")[2]: value for name, value in trainer.progress_bar_metrics.items()}
        shown = [*(name for name in SHORT if name in names), *(name for name in names if name not in SHORT)]
        note = "".join(f" {SHORT.get(name, name)} {names[name]:.3g}" for name in shown)
        speed = self.throughput.counts().frames_per_second * trainer.world_size
        return f" {tqdm.format_sizeof(speed)} frames/s ·{note}"

    def _close(self) -> None:
        for line in (self._validation, self._training):
            if line is not None:
                line.close()
        self._training = self._validation = None
