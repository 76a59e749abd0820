"""Longer texts than a corpus has: utterances that share a row become one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from melle.data.batch import Batch
from melle.errors import UserError


class LongTexts(nn.Module):
    """Lets utterances of a row count as one with those before them, as sentences of a longer text.

    What a network knows of a pace, and where in the text it is to begin, it then knows of the first alone. A network
    that only ever learned texts of a few words loses its way in those of thirty. (``Synthesizer`` still speaks texts
    longer than any recording of the corpus in parts.)

    Args:
        probability: that an utterance continues the one before it in its row.

    Raises UserError for a number that is none.
    """

    def __init__(self, probability: float = 0.3):
        super().__init__()
        if not 0 <= probability <= 1:
            raise UserError(f"augment.long_texts.probability={probability}: give a number from 0 to 1")
        self.probability = probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with other segments for the network; drawn by torch's global random numbers.

        ``recorded`` keeps the old ones: losses go by them, as the guide does, for which tokens follow the sound evenly
        within an utterance where no times are known.
        """
        text, steps = batch.text_segments, batch.segment_steps
        begins = torch.rand(steps.shape, device=steps.device) >= self.probability
        begins[:, :1] = True
        number = begins.cumsum(1) - 1  # (B, U) which segment each becomes part of
        return replace(
            batch,
            text_segments=torch.where(text < 0, text, number.gather(1, text.clamp(min=0))),
            segment_steps=torch.zeros_like(steps).scatter_add(1, number, steps),
            recorded=batch.recorded or (text, steps),
        )
