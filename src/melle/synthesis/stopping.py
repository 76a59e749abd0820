"""When speech ends: at the model's stop, at a length that no such text has, or where it degenerates."""

from __future__ import annotations

import torch
from torch import Tensor

from melle.audio import loudness
from melle.synthesis.options import DecodingOptions

REASONS = ("stop", "length", "degenerate", "empty")  # the worst last
SILENT = 2.0  # log10: a frame 40 dB below loud speech is silent
# Deviation over time of a second's bands, each averaged over SMOOTH seconds, in log10, below which it is no speech but
# one sound held. Of 6,000 seconds of recorded and synthetic speech 99.9 % have 0.25 or more, and all have 0.18.
STILL = 0.15
SMOOTH = 0.128  # seconds; evens out the noise of sampling
ROWS = ("first", "last", "level", "steps", "reason", "silent_frames", "had_sound")  # of each row


class Stopping:
    """Says which of B rows that are decoded together end, when and why; without waiting for a GPU.

    Args:
        options: thresholds.
        first, last: (B,) steps before which a row may not stop, and after which it goes no further.
        level: (B,) log10, how loud each row's speech should be (``audio.speech_level``).
        frame_rate: frames per second.  reduction_factor: frames per step.
    """

    def __init__(
        self,
        options: DecodingOptions,
        first: Tensor,
        last: Tensor,
        level: Tensor,
        frame_rate: float,
        reduction_factor: int,
    ):
        self.options, self.r = options, reduction_factor
        self.first, self.last, self.level = first, last, level
        self._silence = options.max_silence * frame_rate  # frames, perhaps infinitely many
        self._smooth = max(1, round(SMOOTH * frame_rate))  # frames
        self._still = max(2, round(min(options.max_still, 1e6) * frame_rate / self._smooth))  # times so many
        self.window = max(self.r, self._still * self._smooth)  # frames that ``update`` looks at
        self.steps = torch.zeros_like(first)  # at which each row ended; 0: it has not
        self.reason = torch.zeros_like(first)  # index into REASONS
        self.silent_frames = torch.zeros_like(first)  # frames since the last that was not silent
        self.had_sound = torch.zeros_like(first, dtype=torch.bool)  # whether there was one

    def update(self, count: int | Tensor, stop: Tensor, mel: Tensor) -> None:
        """After step number ``count`` (from 1), or (B,) each row's own.

        ``stop`` (B,): its stop probabilities.  ``mel`` (B, n, M): the last ``window`` frames in log10, or all.
        """
        audible = loudness(mel[:, -self.r :]) >= self.level[:, None] - SILENT  # (B, r)
        since = self.r - 1 - torch.where(audible, torch.arange(self.r, device=mel.device), -1).amax(dim=1)
        self.silent_frames = torch.where(audible.any(dim=1), since, self.silent_frames + self.r)
        self.had_sound |= audible.any(dim=1)
        degenerate = self.silent_frames >= self._silence
        if mel.shape[1] >= self._still * self._smooth:
            recent = mel[:, -self._still * self._smooth :].unflatten(1, (self._still, self._smooth)).mean(dim=2)
            degenerate |= recent.std(dim=1).mean(dim=1) < STILL
        wants = (stop >= self.options.stop_threshold) & (count >= self.first)
        late = count >= self.last
        ends = (self.steps == 0) & (wants | late | degenerate)
        reason = torch.where(wants, 0, torch.where(degenerate, 2, 1))
        reason = torch.where(self.had_sound, reason, 3)
        self.reason = torch.where(ends, reason, self.reason)
        self.steps = torch.where(ends, count, self.steps)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        for name in ROWS:
            setattr(self, name, getattr(self, name)[rows])

    def extend(self, other: Stopping) -> None:
        """Go on with another's rows, too."""
        for name in ROWS:
            setattr(self, name, torch.cat((getattr(self, name), getattr(other, name))))
