"""What keeps decoding from never ending, or from going on without speech, and how it says so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from melle.audio import loudness
from melle.errors import UserError

REASONS = ("stop", "length", "stuck", "empty")  # the gravest last
SILENT = 2.0  # log10: a frame 40 dB below loud speech is silent
# Deviation over time of a second's bands, each averaged over SMOOTH seconds, in log10, below which it is no speech but
# one sound held. Of 6,000 seconds of recorded and synthetic speech 99.9 % have 0.25 or more, and all have 0.18.
STILL = 0.15
SMOOTH = 0.128  # seconds; evens out the noise of sampling


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode, and when not to go on. Raises UserError for values out of range."""

    temperature: float = 1.0  # scales σ of the latent; 0 takes the mean
    stop_threshold: float = 0.5  # stop at this probability
    # Multiples of the length that the text should have at the prompt's pace, or the corpus's without one; None: what
    # the training data's utterances had of it, with some allowance.
    min_length: float | None = None  # before it a stop is not heeded
    max_length: float | None = None  # at it speech is cut off (finish reason "length")
    max_silence: float = 1.5  # seconds of silence that end an utterance (finish reason "stuck")
    max_still: float = 1.0  # seconds of one unchanging sound that end it (finish reason "stuck")

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"temperature={self.temperature} must be a number from 0 on")
        if not 0 < self.stop_threshold <= 1:
            raise UserError(f"stop_threshold={self.stop_threshold} must be above 0 and at most 1")
        for name in ("max_silence", "max_still"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}={getattr(self, name)} must be above 0 seconds; inf turns the guard off")
        if self.min_length is not None and not 0 <= self.min_length < math.inf:
            raise UserError(f"min_length={self.min_length} must be a number from 0 on")
        if self.max_length is not None and not (self.min_length or 0) < self.max_length < math.inf:
            least = "0" if self.min_length is None else f"min_length={self.min_length}"
            raise UserError(f"max_length={self.max_length} must be a number above {least}")


class Guards:
    """Watches B rows that are decoded together, and says which end, when and why; without waiting for a GPU.

    Args:
        options: thresholds.
        earliest, latest: (B,) steps before which a row may not stop, and after which it goes no further.
        level: (B,) log10, how loud each row's speech should be (``audio.speech_level``).
        frame_rate: frames per second.  reduction_factor: frames per step.
    """

    def __init__(
        self,
        options: DecodingOptions,
        earliest: Tensor,
        latest: Tensor,
        level: Tensor,
        frame_rate: float,
        reduction_factor: int,
    ):
        self.options, self.r = options, reduction_factor
        self.earliest, self.latest, self.level = earliest, latest, level
        self._silence = options.max_silence * frame_rate  # frames, perhaps infinitely many
        self._smooth = max(1, round(SMOOTH * frame_rate))  # frames
        self._still = max(2, round(min(options.max_still, 1e6) * frame_rate / self._smooth))  # times so many
        self.window = max(self.r, self._still * self._smooth)  # frames that ``watch`` looks at
        self.steps = torch.zeros_like(earliest)  # at which each row ended; 0: it has not
        self.reason = torch.zeros_like(earliest)  # index into REASONS
        self.quiet = torch.zeros_like(earliest)  # frames since the last that was not silent
        self.heard = torch.zeros_like(earliest, dtype=torch.bool)  # whether there was one

    def watch(self, count: int, stop: Tensor, mel: Tensor) -> None:
        """After step number ``count`` (from 1).

        ``stop`` (B,): its stop probabilities.  ``mel`` (B, n, M): the last ``window`` frames in log10, or all.
        """
        audible = loudness(mel[:, -self.r :]) >= self.level[:, None] - SILENT  # (B, r)
        since = self.r - 1 - torch.where(audible, torch.arange(self.r, device=mel.device), -1).amax(dim=1)
        self.quiet = torch.where(audible.any(dim=1), since, self.quiet + self.r)
        self.heard |= audible.any(dim=1)
        stuck = self.quiet >= self._silence
        if mel.shape[1] >= self._still * self._smooth:
            recent = mel[:, -self._still * self._smooth :].unflatten(1, (self._still, self._smooth)).mean(dim=2)
            stuck |= recent.std(dim=1).mean(dim=1) < STILL
        wants = (stop >= self.options.stop_threshold) & (count >= self.earliest)
        late = count >= self.latest
        ends = (self.steps == 0) & (wants | late | stuck)
        reason = torch.where(wants, 0, torch.where(stuck, 2, 1))
        reason = torch.where(self.heard, reason, 3)
        self.reason = torch.where(ends, reason, self.reason)
        self.steps = torch.where(ends, count, self.steps)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        for name in ("earliest", "latest", "level", "steps", "reason", "quiet", "heard"):
            setattr(self, name, getattr(self, name)[rows])
