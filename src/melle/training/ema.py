"""The averaged weights: an exponential moving average that is short while the run is young."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor

from melle.training.sharding import assign, own_part, whole_on_first


class Ema(lightning.Callback):
    """Averages the weights over optimiser steps; validation, checkpoints and so synthesis use the average.

    The decay after n updates is min(``decay``, (1 + n) / (10 + n)): a constant one of 0.999 would keep the first random
    weights for thousands of steps. A checkpoint holds the average as ``state_dict`` and the weights being trained as
    ``current_model_state``. Works on shards as well (FSDP).
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.ema: decay={decay} must be at least 0 and below 1")
        self.decay = decay
        self._updates = 0  # also the optimiser steps seen
        self._average: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] | None = None
        self._swapped = False

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        weights = _weights(module)
        self._average = {name: weight.detach().clone() for name, weight in weights.items()}
        if self._loaded is not None:
            for name, value in self._loaded.items():
                assign(self._average[name], value)
            self._loaded = None
        self._step = trainer.global_step
        # Floating point numbers and the batch norms' counters are averaged and copied in one operation each.
        pairs = [(own_part(self._average[name]), own_part(weights[name].detach())) for name in weights]
        self._floats = _sides([pair for pair in pairs if torch.is_floating_point(pair[0])])
        self._counts = _sides([pair for pair in pairs if not torch.is_floating_point(pair[0])])

    @torch.no_grad()
    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self._step:  # gradients are being accumulated
            return
        self._step = trainer.global_step
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(*self._floats, 1 - decay)
        if self._counts[0]:
            torch._foreach_copy_(*self._counts)
        self._updates += 1

    def on_validation_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self._average:
            self._swap()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self._average:
            self._swap()

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not self._average:
            return
        average = {name: whole_on_first(value, trainer.is_global_zero) for name, value in self._average.items()}
        current = checkpoint["state_dict"]
        if self._swapped:
            average, current = current, average
        checkpoint["state_dict"], checkpoint["current_model_state"] = average, current
        checkpoint["ema_updates"] = self._updates

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # The module has put the weights being trained in the place of the average.
        self._loaded = checkpoint.get("average")
        self._updates = checkpoint.get("ema_updates", 0)

    @torch.no_grad()
    def _swap(self) -> None:
        for average, current in (self._floats, self._counts):
            for a, b in zip(average, current):
                kept = a.clone()
                a.copy_(b)
                b.copy_(kept)
        self._swapped = not self._swapped


def _sides(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def _weights(module: lightning.LightningModule) -> dict[str, Tensor]:
    """Parameters and buffers by the names of the state dict."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
