"""Classifier-free guidance: what the text changes in a prediction, taken more than once (arXiv 2207.12598).

In training some rows read no text (``drop_text``), so that the network also learns what follows without it. While
speaking every row is there twice, with its text and without it, one right after the other, and goes on from

    μ = μ_without + scale (μ_with - μ_without)

A scale of 1 is the prediction as it is, for which no row has to be there twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_TEXT = 0  # the id that stands for every token where no text is read: the padding's, which nothing else looks at


def drop_text(text: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Token ids (B, S) of which some rows are drawn to read none, and which rows (B,) read theirs."""
    reads = torch.rand(len(text), device=text.device) >= probability
    return torch.where(reads[:, None], text, NO_TEXT), reads


def with_and_without(text: Tensor) -> Tensor:
    """Token ids (B, S) → (2 B, S): each row, then the same without its text."""
    return torch.stack((text, torch.full_like(text, NO_TEXT)), dim=1).flatten(0, 1)


def ways(scale: float) -> int:
    """How often every row has to be there."""
    return 1 if scale == 1 else 2


def twice(part: Tensor) -> Tensor:
    """What both rows of a pair share: (B, …) → (2 B, …)."""
    return part.repeat_interleave(2, dim=0)


def guided(predictions: Tensor, scale: float) -> Tensor:
    """Of each pair, (2 B, …), one prediction (B, …)."""
    read, unread = predictions[0::2], predictions[1::2]
    return unread + scale * (read - unread)
