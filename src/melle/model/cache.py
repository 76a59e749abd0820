"""What decoding carries from step to step: keys and values in memory taken beforehand, and where each row stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from melle.model.guidance import NO_GUIDANCE, Guidance
from melle.model.window import TextWindow


class KVCache:
    """Keys and values of one layer, room for ``capacity`` positions of B rows, filled from the left.

    All rows write to the same slots; which slots a row may read is the attention mask's business. There is room for a
    few more than asked for: a GPU's attention would copy, in every layer, a mask whose rows are not multiples of 8.
    """

    def __init__(self, rows: int, heads: int, capacity: int, head_width: int, device, dtype):
        capacity = -(-capacity // 8) * 8
        # Not set to zero: memory that no step reaches is then never taken.
        self.keys = torch.empty(rows, heads, capacity, head_width, device=device, dtype=dtype)
        self.values = torch.empty_like(self.keys)
        self.capacity, self.length = capacity, 0
        self.place: Tensor | None = None

    def fix(self, place: Tensor) -> None:
        """From now on write one position at a time where ``place`` (1,) says, and return the whole capacity."""
        for part in (self.keys, self.values):
            part[:, :, self.length :] = 0  # a mask hides what was never written, but it must be numbers
        self.place = place

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (B, H, n, head_width) and return all that is stored so far, without copying it."""
        if self.place is not None:
            self.keys.index_copy_(2, self.place, keys.to(self.keys.dtype))
            self.values.index_copy_(2, self.place, values.to(self.values.dtype))
            return self.keys, self.values
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        filled = self.length if self.place is None else self.capacity
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(len(rows), *old.shape[1:])
            torch.index_select(old[:, :, :filled], 0, rows, out=new[:, :, :filled])
            setattr(self, name, new)


class DecodingState(NamedTuple):
    """Where each row of a decoding loop stands; keys and values are in the caches beside it.

    With ``guidance`` a request has further rows (see ``Guidance``), in the caches, too; the window is the first's.
    """

    prefix: Tensor  # (B,) filled slots of each row before the first new step
    prefix_size: int | Tensor  # slots that the longest row fills; new steps follow there; (B, 1) each row's own
    steps: Tensor  # (B,) number of mel steps in the prompt
    even: bool  # whether all rows fill those slots, so that there is nothing to mask
    # (1,) the slot that the next step fills, where all steps have the same shapes; or (B,) each row's own
    place: Tensor | None = None
    window: TextWindow | None = None  # to which guided attention keeps
    guidance: Guidance = NO_GUIDANCE

    def fix(self, caches: list[KVCache]) -> DecodingState:
        """From now on all steps have the same shapes, as CUDA graphs and compiled blocks want them.

        Their attention goes over the whole cache, and a mask hides what is not there yet.
        """
        place = torch.tensor([caches[0].length], device=self.prefix.device)
        for cache in caches:
            cache.fix(place)
        return self._replace(place=place)

    def select(self, rows: Tensor, caches: Sequence[KVCache]) -> DecodingState:
        """Go on with these requests only, (N,) indices, in the caches, too."""
        window = None if self.window is None else self.window.select(rows)
        each = self.guidance.rows
        rows = (each * rows[:, None] + torch.arange(each, device=rows.device)).flatten()
        for cache in caches:
            cache.select(rows)
        return self._replace(prefix=self.prefix[rows], steps=self.steps[rows], window=window)

    def mask(self, count: int) -> Tensor | None:
        """Which of the first ``count`` slots each row may read, (B, 1, 1, count); None: all."""
        if self.place is None and self.even:
            return None
        slots = torch.arange(count, device=self.prefix.device)
        filled = (slots < self.prefix[:, None]) | (slots >= self.prefix_size)
        return (filled if self.place is None else filled & (slots <= self.place[:, None]))[:, None, None]
