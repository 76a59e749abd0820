"""Where guided attention may look while the network speaks: near the token that was due last.

Trained with the times of words, head 0 of the guided blocks looks at the token that is due. Reading its own frames it
may go astray, back or over what is still to be said, and the words with it. A window that only moves on keeps it in
the text (arXiv 1710.08969, §4.2, so forces the attention of every step on). The first step, right after text and prompt
are read, has none yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from melle.model.guidance import NO_GUIDANCE, Guidance

SURE = 0.3  # of the attention must be on the text to say where it is: the rest is on frames


class TextWindow(NamedTuple):
    """Of B rows, whose text fills the slots before ``end``."""

    first: Tensor  # (B,) the slot of the first token that is to be spoken, behind those of the prompt
    end: Tensor  # (B,) tokens of the row
    at: Tensor  # (B,) float: the token that is due; it moves in place, as CUDA graphs want it
    ahead: float  # tokens that the window reaches on from there; half as many back

    @classmethod
    def begin(cls, text_lengths: Tensor, text_segments: Tensor, ahead: float) -> TextWindow | None:
        """Before the first step, at the first token of each row's last segment (see ``Melle.prefill``); inf: none."""
        if ahead == math.inf:
            return None
        segments = text_segments.amax(dim=1, keepdim=True)
        first = ((text_segments >= 0) & (text_segments < segments)).sum(dim=1)
        return cls(first, text_lengths, first.float(), ahead)

    def mask(self, mask: Tensor | None, heads: int, keys: int, guidance: Guidance = NO_GUIDANCE) -> Tensor:
        """(B, heads, 1, keys), True where a head may look: ``mask`` (B, 1, 1, keys), and head 0 within the window.

        ``guidance``: all its rows are in ``mask`` and in what comes back. The one that lacks the prompt has the same
        window, or more than the prompt would make the difference; the one that lacks the text, too, has none.
        """
        head = alone = self._seen(keys)
        if guidance.prompt != 0:
            less = (self.first - guidance.begin).clamp(min=0)
            alone = self._replace(first=self.first - less, end=self.end - less, at=self.at - less)._seen(keys)
        if guidance.rows > 1:
            head = guidance.stack(head, torch.ones_like(head), alone)
        head = head[:, None, None]
        allowed = torch.cat((head, torch.ones_like(head).expand(-1, heads - 1, -1, -1)), dim=1)
        return allowed if mask is None else allowed & mask

    def _seen(self, keys: int) -> Tensor:
        """(B, keys), True where a head in the window may look."""
        slots = torch.arange(keys, device=self.at.device)
        place = slots - self.at[:, None]
        near = (place >= -self.ahead / 2) & (place <= self.ahead) & (slots >= self.first[:, None])
        return near | (slots >= self.end[:, None])

    def advance(self, weights: Sequence[Tensor], sure: float = SURE, rows: Tensor | None = None) -> None:
        """Move on to where the guided heads look, by their weights (B, keys) each, and never back.

        ``sure``: of the weights must be on the text, or the window stays where it is.  ``rows`` (B,): True where it may
        move; None: everywhere.
        """
        mean = torch.stack(list(weights)).mean(dim=0)
        slots = torch.arange(mean.shape[1], device=self.at.device)
        on_text = mean * (slots < self.end[:, None])
        mass = on_text.sum(dim=1)
        moves = mass > sure if rows is None else rows & (mass > sure)
        centre = (on_text * slots).sum(dim=1) / mass.clamp(min=1e-6)
        self.at.copy_(torch.where(moves, torch.maximum(self.at, centre), self.at))

    def select(self, rows: Tensor) -> TextWindow:
        """Of these rows only, (N,) indices."""
        return self._replace(first=self.first[rows], end=self.end[rows], at=self.at[rows])
