"""A run that is asked to end saves first: Ctrl-C, a machine that is taken back, the end of a job's time."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
from types import FrameType
from typing import Any

import lightning

QUEUED_AGAIN = getattr(signal, "SIGUSR1", None)  # Windows has none
SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, QUEUED_AGAIN) if number is not None]

logger = logging.getLogger(__name__)


class Stopped(Exception):
    """Training ended at a signal, and what it had learned is saved."""

    def __init__(self, number: int, step: int):
        super().__init__(f"{signal.Signals(number).name} after step {step}")
        self.number, self.step = number, step


class StopSignals(lightning.Callback):
    """At SIGINT (Ctrl-C), SIGTERM or SIGUSR1 to any rank, all ranks end after the step, without another validation.

    ``StepCheckpoint``, which comes later, saves that step. In a validation they end by ``Stopped`` after its batch; the
    step before it has been saved. A second Ctrl-C ends at once, without saving. At SIGUSR1 a job of SLURM is put back
    into the queue (``#SBATCH --signal=SIGUSR1@120 --requeue``).
    """

    def __init__(self) -> None:
        self.received: int | None = None  # by this rank
        self.stopped: Stopped | None = None  # what all ranks agreed on
        self._earlier: dict[int, Any] = {}

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        def receive(number: int, _frame: FrameType | None) -> None:
            if self.received == number == signal.SIGINT:
                raise KeyboardInterrupt
            self.received = number
            if trainer.is_global_zero:
                again = "; Ctrl-C once more ends at once" if number == signal.SIGINT else ""
                # Not by print, whose buffer the signal may have found half written.
                os.write(2, f"\n{signal.Signals(number).name}: saving after this step{again}\n".encode())

        # Lightning's own handlers, set before, would end a step halfway, and wait for other ranks inside a handler.
        self._earlier = {number: signal.signal(number, receive) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if (index + 1) % trainer.accumulate_grad_batches == 0 and self._asked(trainer):
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # else Lightning validates before it ends

    def on_validation_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        if not trainer.sanity_checking and self._asked(trainer):
            raise self.stopped

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.teardown(trainer, module, "fit")

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}
        if self.stopped is not None and self.stopped.number == QUEUED_AGAIN and trainer.is_global_zero:
            for one in trainer.loggers:
                one.save()  # SLURM may end the job at once
            requeue()

    def _asked(self, trainer: lightning.Trainer) -> bool:
        """Whether any rank is asked to end; all ranks must ask together."""
        decide = trainer.strategy.reduce_boolean_decision
        if not decide(self.received is not None, all=False):
            return False
        again = decide(self.received is not None and self.received == QUEUED_AGAIN, all=False)
        number = QUEUED_AGAIN if again else self.received or signal.SIGTERM
        self.stopped = Stopped(number, trainer.global_step)
        return True


def requeue() -> None:
    """Put this job of SLURM back into the queue, if it is one."""
    job = os.environ.get("SLURM_JOB_ID")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if job is None or shutil.which("scontrol") is None:
        return
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    logger.warning("job %s %s", job, "is queued again" if not done.returncode else done.stderr.strip())
