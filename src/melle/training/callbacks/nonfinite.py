"""Optimiser steps without a finite gradient leave no trace, and are listed."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from melle.data.batch import Batch
from melle.errors import UserError

logger = logging.getLogger(__name__)


class SkipNonFinite(lightning.Callback):
    """Drops the gradients of a step where their norm is not finite, as after a loss that is not; all ranks alike.

    Logs ``train/gradient_norm``, before clipping, and ``train/skipped_steps``.

    Args:
        file: JSONL file that gets a line for every such step, with its utterances, or None.
        most: so many in a row end the run.
    """

    def __init__(self, file: str | Path | None = None, most: int = 20):
        self.file, self.most = None if file is None else Path(file), most
        self.skipped = self._in_a_row = 0
        self._ids: list[list[str]] = []  # of the step's batches
        self._losses: list[Tensor] = []
        self._buffers: list[Tensor] = []  # running statistics before the step

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Batch, index: int
    ) -> None:
        if index % trainer.accumulate_grad_batches == 0:
            self._ids, self._losses = [], []
            buffers = list(module.network.buffers())
            if self._buffers:
                _copy(self._buffers, buffers)
            else:
                self._buffers = [buffer.clone() for buffer in buffers]
        self._ids.append([name for row in batch.ids for name in row])

    def on_before_backward(self, trainer: lightning.Trainer, module: lightning.LightningModule, loss: Tensor) -> None:
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        parameters = [parameter for parameter in module.network.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        module.log("train/gradient_norm", norm)
        value = norm.item()  # the one wait for the device in a step
        if math.isfinite(value) and value > 0:
            self._in_a_row = 0
            return
        for parameter in parameters:
            parameter.grad = None  # which optimisers pass over
        _copy(list(module.network.buffers()), self._buffers)
        if value != 0:  # 0: none of the step's batches could be used
            self._skip(trainer, module, value)

    def _skip(self, trainer: lightning.Trainer, module: lightning.LightningModule, norm: float) -> None:
        self._in_a_row += 1
        bad = [ids for ids, loss in zip(self._ids, self._losses) if not torch.isfinite(loss)]
        a_loss = trainer.strategy.reduce_boolean_decision(bool(bad), all=False)
        suspects = [name for ids in (bad if a_loss else self._ids) for name in ids]
        # In half precision gradients overflow now and then, until the scale is lowered: nothing is wrong with that.
        if a_loss or getattr(trainer.precision_plugin, "scaler", None) is None:
            self.skipped += 1
            module.log("train/skipped_steps", torch.tensor(float(self.skipped)))
            self._list(trainer, suspects, norm)
        if self._in_a_row >= self.most:
            last = ", ".join(suspects[:5]) or "utterances of another process"
            raise UserError(
                f"{self._in_a_row} optimiser steps in a row had no finite loss or gradient, the last one with {last}; "
                f"lower optim.optimizer.lr, set trainer.precision=32-true, or look at the recordings that {self.file} "
                "lists. The last checkpoint is sound: the same command goes on from it"
            )

    def _list(self, trainer: lightning.Trainer, suspects: list[str], norm: float) -> None:
        losses = [loss.item() for loss in self._losses]
        if trainer.is_global_zero:
            logger.warning(
                "step %d is skipped: loss %s, gradient %g; its utterances are in %s",
                trainer.global_step,
                ", ".join(f"{loss:g}" for loss in losses),
                norm,
                self.file,
            )
        if self.file is None or not suspects:
            return
        line = {"step": trainer.global_step, "rank": trainer.global_rank, "losses": losses, "gradient_norm": norm}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "utterances": suspects}, ensure_ascii=False) + "\n")
        except OSError as error:  # of one rank: the others would wait for it
            logger.warning("%s could not be written: %s", self.file, error)

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]


def _copy(targets: list[Tensor], values: list[Tensor]) -> None:
    """Copy each value to its target, in one operation for each type of number."""
    for dtype in {target.dtype for target in targets}:
        pairs = [(target, value) for target, value in zip(targets, values) if target.dtype == dtype]
        torch._foreach_copy_([target for target, _ in pairs], [value for _, value in pairs])
