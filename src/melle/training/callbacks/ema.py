"""The averaged weights: an exponential moving average that is short while the run is young."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class Ema(WeightAveraging):
    """Averages the weights over optimiser steps; validation, checkpoints and so synthesis use the average.

    The decay after n updates is min(``decay``, (1 + n) / (10 + n)): a constant one of 0.999 would keep the first random
    weights for thousands of steps. A checkpoint holds the average as ``state_dict`` and the weights being trained as
    ``current_model_state``.
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.ema: decay={decay} must be at least 0 and below 1")

        def average(averages: list[Tensor], weights: list[Tensor], updates: Tensor) -> None:
            n = int(updates)
            if torch.is_floating_point(averages[0]):
                torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))
            else:  # batch norms' counters
                torch._foreach_copy_(averages, weights)

        super().__init__(multi_avg_fn=average)

    def on_train_end(self, *_: Any) -> None:
        """Leaves the weights being trained in the module, unlike ``WeightAveraging``: a run may be made longer."""
