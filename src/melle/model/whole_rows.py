"""Text and frames that are all there, as rows of one length for a pass over them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from melle.model.attention import Rotation
from melle.model.melle import Melle


class WholeRows(NamedTuple):
    """Fields as the arguments of ``Melle.forward``; ``keep`` as in ``PreNet``, ``tempo`` as in ``Melle.prefill``."""

    text: Tensor
    text_lengths: Tensor
    text_segments: Tensor
    mel: Tensor
    segment_steps: Tensor
    keep: Tensor | None = None
    tempo: Tensor | None = None

    def join(self, network: Melle) -> tuple[Tensor, Rotation | None, Tensor | None]:
        """The blocks' input, rotation and mask, as ``Melle.join`` gives them, with the true frames before each step."""
        rows, frames, _ = self.mel.shape
        steps = network.normalise(self.mel).view(rows, frames // network.reduction_factor, network.group)
        read = network.prenet(steps[:, :-1].to(network.bos.dtype), self.keep)
        segments = (self.text, self.text_lengths, self.text_segments)
        return network.join(*segments, read, self.segment_steps, None, self.tempo)
