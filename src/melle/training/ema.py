"""The averaged weights: an exponential moving average that is short while the run is young."""

from __future__ import annotations

import torch
from torch import Tensor


class WarmEma:
    """For ``WeightAveraging(multi_avg_fn=…)``: decay min(``decay``, (1 + n) / (10 + n)) after n updates.

    A constant decay of 0.999 would keep the first random weights in the average for thousands of steps.
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.ema: decay={decay} must be at least 0 and below 1")
        self.decay = decay

    @torch.no_grad()
    def __call__(self, averages: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        decay = min(self.decay, (1 + int(updates)) / (10 + int(updates)))
        # Tensors come grouped by type; those of whole numbers are the batch norms' counters.
        if torch.is_floating_point(averages[0]):
            torch._foreach_lerp_(averages, current, 1 - decay)
        else:
            torch._foreach_copy_(averages, current)
