"""Longer texts than a corpus has: utterances that share a row become one."""

from __future__ import annotations

from dataclasses import replace

import torch

from melle.data.batch import Batch
from melle.errors import UserError


class LongTexts:
    """Lets utterances of a row count as one utterance with those before them, as sentences of a longer text.

    What a network knows of a pace, and where in the text it is to begin, it then knows of the first alone. A network
    that only ever learned texts of a few words loses its way in those of thirty.

    Args:
        share: probability that an utterance goes on what comes before it in its row.

    Raises UserError for no probability.
    """

    def __init__(self, share: float = 0.3):
        if not 0 <= share <= 1:
            raise UserError(f"augment.long_texts.share={share}: give a probability, 0 to 1")
        self.share = share

    def __call__(self, batch: Batch) -> Batch:
        """The batch with other segments; drawn by torch's global random numbers."""
        rows, segments = batch.segment_steps.shape
        begins = torch.rand(rows, segments) >= self.share
        begins[:, 0] = True
        number = (begins.cumsum(1) - 1).to(batch.segment_steps.device)  # (B, U) which segment each becomes part of
        own = number.gather(1, batch.text_segments.clamp(min=0))
        return replace(
            batch,
            text_segments=torch.where(batch.text_segments < 0, batch.text_segments, own),
            segment_steps=torch.zeros_like(batch.segment_steps).scatter_add(1, number, batch.segment_steps),
        )
