"""The random numbers of decoding: each row's own, so that a seed says the same whatever rows are beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 32  # steps that are drawn at once


def kept(uniform: Tensor, dropout: float | Tensor) -> Tensor:
    """Factors of units, 0 or 1 / (1 - dropout), from numbers drawn in [0, 1); ``dropout`` below 1, or of each row."""
    return (uniform >= dropout) / (1 - dropout)


class StepNoise(NamedTuple):
    """What chance decides in one step, or in the reading of K steps of a prompt."""

    # (B, K, hidden units of the pre-net) what each is multiplied by: 1 / (1 - p) with probability 1 - p, else 0
    keep: Tensor
    latent: Tensor  # (B, 1, r·M) ε of eq. 3, standard normal


class RowNoise:
    """Draws for B rows, each from a generator of its own.

    Args:
        seeds: one for each row.
        dropouts: likewise, the probability p below 1 that a unit of the pre-net is dropped.
        units, values: pre-net units that dropout may drop, and latent values r·M, per step.
    """

    def __init__(self, seeds: Sequence[int], dropouts: Sequence[float], units: int, values: int, device: torch.device):
        self._units, self._values, self._device = units, values, device
        self._dropouts = torch.tensor(dropouts, device=device)
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._block: StepNoise | None = None
        self._used = 0

    def prompt(self, steps: Sequence[int]) -> Tensor:
        """``keep`` for prompts of so many steps: (B, longest, units), 1 where a row has none."""
        keep = torch.ones(len(steps), max(steps, default=0), self._units, device=self._device)
        for row, (count, generator) in enumerate(zip(steps, self._generators)):
            drawn = torch.rand(count, self._units, generator=generator, device=self._device)
            keep[row, :count] = kept(drawn, self._dropouts[row])
        return keep

    def next(self) -> StepNoise:
        """Of one step."""
        if self._block is None or self._used == BLOCK:
            self._block, self._used = self._draw(), 0
        at = slice(self._used, self._used + 1)
        self._used += 1
        return StepNoise(self._block.keep[:, at], self._block.latent[:, at])

    def select(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self._generators = [self._generators[row] for row in rows.tolist()]
        self._dropouts = self._dropouts[rows]
        if self._block is not None:
            self._block = StepNoise(*(part[rows] for part in self._block))

    def _draw(self) -> StepNoise:
        keep = torch.empty(len(self._generators), BLOCK, self._units, device=self._device)
        latent = torch.empty(len(self._generators), BLOCK, self._values, device=self._device)
        for row, generator in enumerate(self._generators):
            keep[row].uniform_(generator=generator)
            latent[row].normal_(generator=generator)
        return StepNoise(kept(keep, self._dropouts[:, None, None]), latent)
