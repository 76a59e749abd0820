"""A run that is asked to end saves first: Ctrl-C, a machine that is taken back, the end of a job's time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import Any

import lightning
import torch
import torch.distributed as dist

from melle.training.checkpoints import Checkpoints

QUEUED_AGAIN = getattr(signal, "SIGUSR1", None)  # Windows has none
SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, QUEUED_AGAIN) if number is not None]


class Stopped(Exception):
    """Training ended at a signal, and what it had learned is saved."""

    def __init__(self, number: int, step: int):
        super().__init__(f"{signal.Signals(number).name} after step {step}")
        self.number, self.step = number, step


class StopSignals(lightning.Callback):
    """At SIGINT (Ctrl-C), SIGTERM or SIGUSR1 to any rank, all ranks finish the step, save and end with ``Stopped``.

    In a validation they end after its batch; ``Checkpoints`` has saved before it. A second Ctrl-C ends at once, without
    saving. At SIGUSR1 a job of SLURM is put back into the queue (``#SBATCH --signal=SIGUSR1@120 --requeue``).
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._earlier: dict[int, Any] = {}

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        def receive(number: int, _frame: FrameType | None) -> None:
            if self.received == number == signal.SIGINT:
                raise KeyboardInterrupt
            self.received = number
            module.step.stop = True
            module.step.requeue = number == QUEUED_AGAIN
            if trainer.is_global_zero:
                again = "; Ctrl-C once more ends at once" if number == signal.SIGINT else ""
                # Not by print, whose buffer the signal may have found half written.
                os.write(2, f"\n{signal.Signals(number).name}: saving after this step{again}\n".encode())

        # Lightning's own handlers, set before, would end a step halfway, and wait for other ranks inside a handler.
        self._earlier = {number: signal.signal(number, receive) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if module.result is None or not module.result.stop or (index + 1) % trainer.accumulate_grad_batches:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints):
                callback.save(trainer)
        self._stop(trainer, module.result.requeue)

    def on_validation_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        if trainer.sanity_checking:
            return
        asked = torch.tensor([float(module.step.stop), float(module.step.requeue)], device=module.device)
        if trainer.world_size > 1:
            dist.all_reduce(asked)
        stop, requeue = asked.tolist()
        if stop:
            self._stop(trainer, requeue > 0)

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._restore()

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        self._restore()

    def _stop(self, trainer: lightning.Trainer, queue_again: bool) -> None:
        if queue_again and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()  # SLURM may end the job at once
            requeue()
        number = QUEUED_AGAIN if queue_again else self.received or signal.SIGTERM
        raise Stopped(number, trainer.global_step)

    def _restore(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}


def requeue() -> None:
    """Put this job of SLURM back into the queue, if it is one."""
    job = os.environ.get("SLURM_JOB_ID")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if job is None or shutil.which("scontrol") is None:
        return
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    print(f"job {job} is queued again" if not done.returncode else f"job {job}: {done.stderr.strip()}", file=sys.stderr)
