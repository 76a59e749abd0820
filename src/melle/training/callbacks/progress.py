"""How far training is: one line, counted in optimiser steps."""

from __future__ import annotations

import io
import math
import sys
from typing import Any

import lightning
from lightning.pytorch.callbacks import TQDMProgressBar
from tqdm import tqdm

from melle.data.batch import Batch
from melle.training.callbacks.speed import Throughput

SHORT = {"total": "loss", "text_gap": "gap", "regression": "reg"}  # and what stands first, where lines are short
RECENT = 50  # batches by which the speed is shown


class ProgressLine(tqdm):
    """A line of progress on stderr: redrawn in place in a terminal, written anew elsewhere, such as in a log file.

    Args:
        seconds: least time between redrawing in a terminal, and between lines elsewhere.
        options: as of tqdm.
    """

    def __init__(self, seconds: tuple[float, float], **options: Any):
        self.note = ""
        self._redrawn = sys.stderr.isatty()
        self._seconds = seconds[0 if self._redrawn else 1]
        count = "{n_fmt} [{elapsed}]"
        if options.get("total") is not None:
            graph = "|{bar:10}|" if self._redrawn else ""
            count = "{percentage:3.0f}%" + graph + " {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
        super().__init__(
            file=sys.stderr if self._redrawn else io.StringIO(),  # so that tqdm sends no control characters to a log
            delay=0 if self._redrawn else math.inf,
            dynamic_ncols=self._redrawn,
            bar_format="{desc} " + count + "{note}",
            **options,
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


class StepProgressBar(TQDMProgressBar):
    """Lightning's bar in optimiser steps: time left, the loss terms and speed, and each validation below.

    A resumed run is counted from its beginning; the time left goes by the speed of this session.

    Args:
        refresh_seconds: least time between looks at the metrics, which may wait for a GPU.
        log_seconds: least time between lines where stderr is not a terminal.
    """

    def __init__(self, refresh_seconds: float = 0.5, log_seconds: float = 30.0):
        super().__init__()
        self.seconds = (refresh_seconds, log_seconds)
        self.throughput = Throughput(last=RECENT)
        self._lines: list[ProgressLine] = []

    def init_train_tqdm(self) -> ProgressLine:
        steps = self.trainer.max_steps
        total, first = steps if steps >= 0 else None, self.trainer.global_step
        return self._line(desc="training", total=total, initial=first, leave=True)

    def init_sanity_tqdm(self) -> ProgressLine:
        return self._line(desc="sanity check", total=int(sum(self.trainer.num_sanity_val_batches)), leave=False)

    def init_validation_tqdm(self) -> ProgressLine:
        batches = sum(self.trainer.num_val_batches)
        total = None if math.isinf(batches) else int(batches)
        return self._line(desc="validation", total=total, position=1, leave=False)

    def get_metrics(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, float]:
        """The metrics by short names, those of ``SHORT`` first."""
        names = {name.rpartition("/")[2]: value for name, value in trainer.progress_bar_metrics.items()}
        shown = [*(name for name in SHORT if name in names), *(name for name in names if name not in SHORT)]
        return {SHORT.get(name, name): names[name] for name in shown}

    def on_train_start(self, *arguments: Any) -> None:
        self.throughput.clear()
        self.throughput.pause()
        super().on_train_start(*arguments)

    def on_train_epoch_start(self, *_: Any) -> None:
        """Nothing: training has no epochs."""

    def on_train_epoch_end(self, *_: Any) -> None:
        """Nothing: training has no epochs."""

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Batch, index: int
    ) -> None:
        self.throughput.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.throughput.end(batch)
        line = self.train_progress_bar
        line.n = trainer.global_step
        if line.due:
            self._note(trainer, module)
            line.show()

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._note(trainer, module)
        self._close()

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.throughput.pause()
        super().on_validation_start(trainer, module)

    def on_validation_batch_start(self, *_: Any) -> None:
        """Nothing: the line says it already."""

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        line = self.val_progress_bar
        line.n += 1
        if line.due:
            line.show()

    def on_validation_end(self, *_: Any) -> None:
        self.val_progress_bar.close()

    def on_save_checkpoint(self, *_: Any) -> None:
        self.throughput.pause()

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        for line in self._lines:
            line.n = trainer.global_step if line.leave else line.n
        self._close()

    def _line(self, **options: Any) -> ProgressLine:
        self._lines.append(ProgressLine(self.seconds, disable=self.is_disabled, **options))
        return self._lines[-1]

    def _note(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Waits for the device."""
        if self.train_progress_bar.disable:
            return
        note = "".join(f" {name} {value:.3g}" for name, value in self.get_metrics(trainer, module).items())
        speed = self.throughput.counts().frames_per_second * trainer.world_size
        self.train_progress_bar.note = f" {tqdm.format_sizeof(speed)} frames/s ·{note}"

    def _close(self) -> None:
        for line in reversed(self._lines):  # a validation's, which stands below, first
            line.close()
        self._lines = []
