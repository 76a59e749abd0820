"""What synthesis returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Timings:
    """Seconds since the call, or since the batch began that an utterance was part of."""

    first: float  # until its first frames were final
    mel: float  # until all were, less what the vocoder took meanwhile for others
    vocoder: float  # that the vocoder took, by itself


@dataclass(frozen=True)
class Chunk:
    """The next part of an utterance that is streamed."""

    waveform: Tensor  # (N,) samples
    sample_rate: int  # samples per second
    mel: Tensor  # (T, M) log10: the frames that have come since the last chunk, ahead of the samples
    elapsed: float  # seconds since the call
    finish_reason: str | None  # of the last chunk, as in ``Speech``
    parts: tuple[str, ...] = ()  # of the last chunk, as in ``Speech``


@dataclass(frozen=True)
class Speech:
    """One utterance.

    ``finish_reason`` is "stop" (the model ended it), or how it was cut off: "length" (longer than any such text),
    "degenerate" (it fell silent, or held one sound, for long), or "empty" (it ended without any audible sound). A text
    that was spoken in parts has the gravest of theirs, which are in ``parts``.
    """

    waveform: Tensor  # (N,) samples
    sample_rate: int  # samples per second
    mel: Tensor  # (T, M) log10
    stop: Tensor  # (K,) each step's probability to be the last
    finish_reason: str
    seed: int  # says it again; of a text in parts with as many retries
    timings: Timings
    parts: tuple[str, ...] = ()  # finish reasons of the parts of a long text

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing per second of speech; of a batch, as if it had been all for this one."""
        return (self.timings.mel + self.timings.vocoder) / max(self.seconds, 1e-9)
