"""Classifier-free guidance: the difference that text and prompt make to a prediction, multiplied (arXiv 2207.12598).

In training some rows read no text (``drop_text``), so that the network also learns what follows sound alone. While
speaking every request has two rows, one right after the other: one reads text and prompt, the other neither, only what
has been spoken so far. Both go on from

    μ = μ_without + scale (μ_with - μ_without)

A scale of 1 is the prediction as it is, for which one row is enough.
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_TEXT = 0  # the id in the place of every token where no text is read: the padding's, which nothing else looks at


def drop_text(text: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Token ids (B, S) of which some rows are drawn to read none, and which rows (B,) read theirs."""
    reads = torch.rand(len(text), device=text.device) >= probability
    return torch.where(reads[:, None], text, NO_TEXT), reads


def rows_per_request(scale: float) -> int:
    """Rows of a batch, and of its caches, for each request."""
    return 1 if scale == 1 else 2


def pair(first: Tensor, second: Tensor) -> Tensor:
    """(B, …) twice → (2 B, …), the rows of a request one right after the other."""
    return torch.stack((first, second), dim=1).flatten(0, 1)


def twice(part: Tensor) -> Tensor:
    """(B, …) → (2 B, …): the same for both rows of a request."""
    return part.repeat_interleave(2, dim=0)


def pair_prefixes(
    text: Tensor, text_lengths: Tensor, text_segments: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What ``Melle.prefill`` reads, with the second rows: ids (B, S), lengths (B,), segments (B, S), prompt steps (B,).

    The second row has as many tokens as are to be spoken, none of which is to be read, and no prompt; frames that are
    the beginning of what the text says, for rows of one segment, stay.
    """
    last = text_segments.amax(dim=1)
    own = (text_segments == last[:, None]).sum(dim=1)
    spoken = torch.arange(text.shape[1], device=text.device) < own[:, None]
    return (
        pair(text, torch.full_like(text, NO_TEXT)),
        pair(text_lengths, own),
        pair(text_segments, spoken.to(text_segments.dtype) - 1),
        pair(steps, torch.where(last > 0, 0, steps)),
    )


def guided(predictions: Tensor, scale: float) -> Tensor:
    """Of the two rows of each request, (2 B, …), one prediction (B, …)."""
    informed, blind = predictions[0::2], predictions[1::2]
    return blind + scale * (informed - blind)
