"""Classifier-free guidance: the difference that text and prompt make to a prediction, multiplied (arXiv 2207.12598).

In training some rows read no text (``drop_text``), so that the network also learns what follows sound alone, and the
first utterance of a row has no prompt. While speaking a request has up to three rows, one right after the other: one
reads text and prompt, one neither, only what has been spoken so far, and one the text without the prompt. All go on
from

    μ = μ_both + (scale - 1) (μ_both - μ_neither) + prompt (μ_both - μ_text)

With a scale of 1 there is no second row, with ``prompt`` 0 no third one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NO_TEXT = 0  # the id in the place of every token where no text is read: the padding's, which nothing else looks at


class Guidance(NamedTuple):
    """How much of the differences that text and prompt make is added to a prediction."""

    scale: float = 1.0  # of what both change together; 1: as it is
    prompt: float = 0.0  # share of what the prompt alone changes that is added
    begin: int = 0  # marks with which every text begins (<BOS>), without a prompt, too

    @property
    def rows(self) -> int:
        """Rows of a batch, and of its caches, for each request."""
        return 1 + (self.scale != 1) + (self.prompt != 0)

    @property
    def weights(self) -> list[float]:
        """Of the differences to the further rows, in their order."""
        return [weight for weight in (self.scale - 1, self.prompt) if weight != 0]

    def stack(self, both: Tensor, neither: Tensor, text: Tensor) -> Tensor:
        """What the rows of each request have, each (B, …) → (G B, …), one right after the other."""
        there = (True, self.scale != 1, self.prompt != 0)
        return torch.stack([part for part, has in zip((both, neither, text), there) if has], dim=1).flatten(0, 1)


NO_GUIDANCE = Guidance()


def drop_text(text: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Token ids (B, S) of which some rows are drawn to read none, and which rows (B,) read theirs."""
    reads = torch.rand(len(text), device=text.device) >= probability
    return torch.where(reads[:, None], text, NO_TEXT), reads


def repeat(part: Tensor, rows: int) -> Tensor:
    """(B, …) → (G B, …): the same for all G ``rows`` of a request."""
    return part.repeat_interleave(rows, dim=0) if rows > 1 else part


def guided_prefixes(
    text: Tensor, text_lengths: Tensor, text_segments: Tensor, steps: Tensor, guidance: Guidance
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What ``Melle.prefill`` reads, with further rows: ids (B, S), lengths (B,), segments (B, S), prompt steps (B,).

    These have as many tokens as are to be spoken, and the mark before, none of which the row with neither is to read,
    and no prompt; frames that are the beginning of what the text says, for rows of one segment, stay.
    """
    last = text_segments.amax(dim=1)
    before = ((text_segments >= 0) & (text_segments < last[:, None])).sum(dim=1)
    left_out = (before - guidance.begin).clamp(min=0)  # the prompt's tokens, behind the mark
    own = text_lengths - left_out
    index = torch.arange(text.shape[1], device=text.device).expand_as(text)
    spoken = index < own[:, None]
    moved = torch.where(index < guidance.begin, index, index + left_out[:, None])
    alone = text.gather(1, moved.clamp(max=text.shape[1] - 1))
    segments, no_prompt = spoken.to(text_segments.dtype) - 1, torch.where(last > 0, 0, steps)
    return (
        guidance.stack(text, torch.full_like(text, NO_TEXT), torch.where(spoken, alone, NO_TEXT)),
        guidance.stack(text_lengths, own, own),
        guidance.stack(text_segments, segments, segments),
        guidance.stack(steps, no_prompt, no_prompt),
    )


def guided(predictions: Tensor, guidance: Guidance) -> Tensor:
    """Of the rows of each request, (G B, …), one prediction (B, …)."""
    both, *others = predictions.unflatten(0, (-1, guidance.rows)).unbind(1)
    result = both
    for weight, other in zip(guidance.weights, others, strict=True):
        result = result + weight * (both - other)
    return result
