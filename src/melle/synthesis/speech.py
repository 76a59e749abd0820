"""What synthesis returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from melle.audio import save_audio


@dataclass(frozen=True)
class Timings:
    """Seconds since the call, or since the batch began that an utterance was part of."""

    first: float  # until its first frames were final
    mel: float  # until all were, less what the vocoder took meanwhile for others
    vocoder: float  # that the vocoder took, by itself


class Word(NamedTuple):
    """A word as it is written, and when it begins and ends, in seconds."""

    word: str
    start: float
    end: float


def shifted(words: Iterable[Word], by: float, speed: float = 1.0) -> tuple[Word, ...]:
    """The words ``speed`` times as fast, and then ``by`` seconds later."""
    return tuple(Word(word, start / speed + by, end / speed + by) for word, start, end in words)


@dataclass(frozen=True)
class Chunk:
    """The next part of an utterance that is streamed."""

    waveform: Tensor  # (N,) samples
    sample_rate: int  # samples per second
    mel: Tensor  # (T, M) log10: the frames that have come since the last chunk, ahead of the samples
    elapsed: float  # seconds since the call
    finish_reason: str | None = None  # of the last chunk, as in ``Speech``
    parts: tuple[str, ...] = ()  # of the last chunk, as in ``Speech``
    words: tuple[Word, ...] = ()  # where asked for, of the part that ends with this chunk


@dataclass(frozen=True)
class Speech:
    """One utterance.

    ``finish_reason`` is "stop" (the model ended it), "unfinished" (it ended before the end of the text, by its guided
    attention, where it has one), or how it was cut off: "length" (longer than any such text),
    "degenerate" (it fell silent, or held one sound, for long), or "empty" (it ended without any audible sound). A text
    that was spoken in parts has the worst of theirs, which are in ``parts``.
    """

    waveform: Tensor  # (N,) samples
    sample_rate: int  # samples per second
    mel: Tensor  # (T, M) log10
    stop: Tensor  # (K,) each step's probability to be the last
    finish_reason: str
    seed: int  # says it again; of a text in parts with as many retries
    timings: Timings
    parts: tuple[str, ...] = ()  # finish reasons of the parts of a long text
    words: tuple[Word, ...] = ()  # where asked for

    def save(self, path: str | Path) -> None:
        """Write the waveform, in the format that the name ends in. Raises UserError where that cannot be."""
        save_audio(path, self.waveform, self.sample_rate)

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing per second of speech; of a batch, as if it had been all for this one."""
        return (self.timings.mel + self.timings.vocoder) / max(self.seconds, 1e-9)
