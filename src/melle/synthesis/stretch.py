"""Faster and slower speech without another pitch: mel frames are taken at other times, between two of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Stretch:
    """Frames that come piece by piece, ``speed`` times as fast, by linear interpolation in log10.

    A band of a mel frame is a frequency, whatever the time: the vocoder then speaks faster at the same pitch. At speed
    1 frames pass as they are.
    """

    def __init__(self, speed: float):
        self.speed = speed
        self._left: Tensor | None = None  # frames from which the next one is taken
        self._at = 0.0  # where between them

    def __call__(self, mel: Tensor, last: bool) -> Tensor:
        """The next frames (T', M), given the next (T, M); ``last``: there are no more."""
        if self.speed == 1:
            return mel
        if self._left is not None:
            mel = torch.cat((self._left, mel))
        if not len(mel):
            return mel
        # All places up to the last frame that is known; at the end that frame stands for what would follow.
        end = len(mel) - (0 if last else 1)
        count = max(0, math.ceil((end - self._at) / self.speed))
        places = self._at + self.speed * torch.arange(count, dtype=torch.float64)
        low = places.floor().long().clamp(max=len(mel) - 1)
        high = (low + 1).clamp(max=len(mel) - 1)
        made = torch.lerp(mel[low], mel[high], (places - low).to(mel.dtype)[:, None])
        following = self._at + self.speed * len(places)
        drop = min(int(following), len(mel))
        self._left, self._at = mel[drop:], following - drop
        return made
