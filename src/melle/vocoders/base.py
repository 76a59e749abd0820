"""What every vocoder offers: a whole utterance at once, or in chunks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from melle.audio import MelSpec

Stream = Callable[[Tensor, bool], Tensor]  # the next frames (n, M), and whether they are the last, to samples


class Vocoder(nn.Module):
    """Log10 mel (T, M) to samples (T · hop_length,).

    ``context`` is the number of frames to each side of a frame that its samples depend on. A vocoder may depend on all
    frames before them besides, and then has a stream of its own.
    """

    context: int
    title: str  # as people call it

    def __init__(self, spec: MelSpec):
        super().__init__()
        self.spec = spec

    def forward(self, mel: Tensor) -> Tensor:
        raise NotImplementedError

    def stream(self) -> Stream:
        """For one utterance: takes its frames as they come, and gives samples as soon as they are final."""
        return WindowedStream(self)


class WindowedStream:
    """Runs a vocoder over windows that reach as far as it sees, and keeps their middles: the samples of the whole."""

    def __init__(self, vocoder: Vocoder):
        self._vocoder = vocoder
        self._known: Tensor | None = None  # frames from ``context`` before the first whose samples were not given
        self._before = 0  # how many of them are context

    def __call__(self, mel: Tensor, last: bool) -> Tensor:
        context, hop = self._vocoder.context, self._vocoder.spec.hop_length
        self._known = mel if self._known is None else torch.cat((self._known, mel))
        ready = len(self._known) - self._before - (0 if last else context)
        if ready <= 0:
            return mel.new_zeros(0)
        samples = self.samples(self._known, self._before, ready)[self._before * hop : (self._before + ready) * hop]
        kept = min(context, self._before + ready)
        self._known = self._known[self._before + ready - kept :]
        self._before = kept
        return samples

    def samples(self, mel: Tensor, before: int, ready: int) -> Tensor:
        """Of the frames (T, M) of a window, of which ``ready`` ones after the first ``before`` are to be given away."""
        return self._vocoder(mel)
