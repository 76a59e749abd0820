"""Speech recognition: what a listener understands, and what is asked of a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Transcript:
    """What was understood: with the recogniser's hint on what to expect, and without it (None: it has no hint)."""

    text: str
    plain: str | None = None


class Asr(Protocol):
    """What scoring asks of a recogniser."""

    name: str  # shown to people
    settings: dict  # what else its scores depend on
    normalise: Callable[[str], str]  # makes its texts and the references comparable

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        """Listen to waveforms (N,) in float32, in order."""
        ...
