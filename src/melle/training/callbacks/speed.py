"""How fast training goes, how much of it is waiting and padding, and what memory it takes."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor

from melle.data.batch import Batch
from melle.devices import seeded
from melle.model.compiled import compiled_graphs
from melle.model.flops import training_flops
from melle.training.module import MelleModule
from melle.training.peak_flops import matmul_peak

GIB = 2**30


class Counts(NamedTuple):
    """What this rank trained on, and for how long."""

    seconds: float
    waited: float  # seconds of them, for the loader
    text_lengths: Tensor  # (N,) tokens of every row
    steps: Tensor  # (N,) mel steps of every row
    frames: int
    room: int  # positions of the batches, padding included

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0


class Throughput:
    """Counts batches and their time: ``start`` and ``end`` around each, ``pause`` before whatever is not training.

    A batch's time is that since the end of the batch before it, or since its own start after a pause.

    Args:
        last: how many batches to look back on; None: all since ``clear``.
        clock: seconds from anywhere.
    """

    def __init__(self, last: int | None = None, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._batches: deque[tuple[float, float, Tensor | None]] = deque(maxlen=last)
        self._ended: float | None = None  # when the batch before did
        self._started = self._waited = 0.0

    def start(self) -> None:
        self._started = self._clock()
        self._waited = 0.0 if self._ended is None else self._started - self._ended

    def end(self, batch: Batch) -> None:
        self._ended = self._clock()
        lengths = None
        if batch.ids:  # else a stand-in
            # Kept on the device, so that counting does not wait for it; and copied, as what came from a loader's
            # process holds a file open.
            lengths = torch.stack((batch.text_lengths, batch.segment_steps.sum(1), batch.mel_lengths))
        self._batches.append((self._waited + self._ended - self._started, self._waited, lengths))

    def pause(self) -> None:
        self._ended = None

    def clear(self) -> None:
        self._batches.clear()

    def counts(self) -> Counts:
        """Their sums; waits for the device."""
        lengths = [part for _, _, part in self._batches if part is not None]
        together = torch.cat(lengths, dim=1).cpu() if lengths else torch.zeros(3, 0, dtype=torch.long)
        text_lengths, steps, frames = together
        rows = (text_lengths + steps).split([part.shape[1] for part in lengths]) if lengths else ()
        return Counts(
            seconds=sum(seconds for seconds, _, _ in self._batches),
            waited=sum(waited for _, waited, _ in self._batches),
            text_lengths=text_lengths,
            steps=steps,
            frames=int(frames.sum()),
            room=sum(len(row) * int(row.max()) for row in rows),
        )


class SpeedMonitor(lightning.Callback):
    """Logs speed, padding, the wait for the loader, model FLOPs utilisation and memory, by optimiser step.

    Validation and the writing of checkpoints do not count. Ranks are taken to be alike: the first one's counts are
    multiplied by their number. It should be the last callback, so that what others do counts as training.

    Args:
        every_n_steps: optimiser steps between entries; None: ``trainer.log_every_n_steps``.
    """

    def __init__(self, every_n_steps: int | None = None):
        self.every_n_steps = every_n_steps
        self.throughput = Throughput()
        self._every = self._step = 0
        self._peak = 1.0  # FLOP/s
        self._graphs = (0, 0)  # compiled before this run: one process may train several

    def on_train_start(self, trainer: lightning.Trainer, module: MelleModule) -> None:
        self._every = trainer.log_every_n_steps if self.every_n_steps is None else self.every_n_steps
        self._step = trainer.global_step
        self._graphs = compiled_graphs()
        self.throughput.clear()
        self.throughput.pause()
        if not self._entries(trainer):
            self._every = 0
            return
        with seeded(0, module.device):  # training draws the numbers that it would draw without this
            self._peak = matmul_peak(module.device, compute_dtype(trainer.precision))
        if module.device.type == "cuda":  # the peak is to be training's
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(module.device)

    def on_train_batch_start(self, trainer: lightning.Trainer, module: MelleModule, batch: Batch, index: int) -> None:
        if self._every:
            self.throughput.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: MelleModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        if not self._every:
            return
        self.throughput.end(batch)
        steps = trainer.global_step - self._step
        if not steps or trainer.global_step % self._every:
            return
        metrics = self._speed(trainer, module, steps) | memory(module.device)
        graphs, again = (now - before for now, before in zip(compiled_graphs(), self._graphs))
        if graphs:  # a number that keeps growing says that compile=true costs more than it gives
            metrics |= {"speed/compiled_graphs": graphs, "speed/recompilations": again}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        self.throughput.clear()
        self._step = trainer.global_step

    def on_validation_start(self, trainer: lightning.Trainer, module: MelleModule) -> None:
        self.throughput.pause()

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: MelleModule, checkpoint: dict[str, Any]) -> None:
        self.throughput.pause()

    def _entries(self, trainer: lightning.Trainer) -> bool:
        """Whether there will be any; a short run is spared the measurement of the peak."""
        if not (self._every and trainer.is_global_zero and trainer.loggers):
            return False
        return trainer.max_steps < 0 or trainer.max_steps // self._every > self._step // self._every

    def _speed(self, trainer: lightning.Trainer, module: MelleModule, steps: int) -> dict[str, float]:
        counts = self.throughput.counts()
        frames_per_second = counts.frames_per_second * trainer.world_size
        flops = float(training_flops(module.network, counts.text_lengths, counts.steps))
        metrics = {
            "speed/frames_per_second": frames_per_second,
            "speed/audio_seconds_per_second": frames_per_second / module.description.mel.frame_rate,
            "speed/steps_per_second": steps / counts.seconds,
            "speed/loader_wait": counts.waited / counts.seconds,
            "speed/model_flops_utilisation": flops / counts.seconds / self._peak,
        }
        if counts.room:
            metrics["speed/padding"] = 1 - int((counts.text_lengths + counts.steps).sum()) / counts.room
        return metrics


def compute_dtype(precision: str) -> torch.dtype:
    """What matrix products are computed in under Lightning's name of a precision, such as "bf16-mixed"."""
    return {"bf16": torch.bfloat16, "16": torch.float16}.get(precision.split("-")[0], torch.float32)


def memory(device: torch.device) -> dict[str, float]:
    """GiB that tensors take on a GPU, now and at most; elsewhere, the process in main memory, where it is known."""
    if device.type == "cuda":
        return {
            "memory/allocated_gib": torch.cuda.memory_allocated(device) / GIB,
            "memory/peak_gib": torch.cuda.max_memory_allocated(device) / GIB,
        }
    if sys.platform == "win32":
        return {}
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    metrics = {"memory/peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB}
    pages = Path("/proc/self/statm")  # Linux alone has it
    if pages.is_file():
        metrics["memory/allocated_gib"] = int(pages.read_text().split()[1]) * resource.getpagesize() / GIB
    return metrics
