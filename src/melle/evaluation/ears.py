"""Who listens: what each judge hears in a clip, by itself, as plain values that can be kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from melle.evaluation.asr import Asr
from melle.evaluation.prosody import pitch_statistics
from melle.evaluation.quality import Quality
from melle.evaluation.speaker import SpeakerEncoder
from melle.files import file_stamp

FILES = ("model", "weights", "checkpoint")  # settings of judges that may name a file or a folder
DIGITS = 6  # after the point, of what is kept of an embedding, a similarity or a distance


class Ear(Protocol):
    """One judge. ``own``: hears only what a system added to what it was given, else the whole clip."""

    key: str  # such as "asr whisper": tells it apart from the others
    own: bool

    def identity(self) -> Any:
        """What its findings depend on besides the sound, as plain values."""
        ...

    def hear(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        """What it finds in each clip (N,), in order."""
        ...


@dataclass(frozen=True)
class Recogniser:
    """Hears words: "text", and "plain" where it also listened without its hint."""

    name: str
    asr: Asr
    own = False

    @property
    def key(self) -> str:
        return f"asr {self.name}"

    def identity(self) -> Any:
        return _depends_on(self.asr, besides=("normaliser",))  # which is applied to what was heard, at the end

    def hear(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for heard in self.asr.transcribe(clips, sample_rate):
            plain = {} if heard.plain is None else {"plain": heard.plain}
            yield {"text": heard.text, **plain}


@dataclass(frozen=True)
class VoiceEar:
    """Hears a voice: "embedding", by a speaker encoder."""

    name: str
    encoder: SpeakerEncoder
    own = True

    @property
    def key(self) -> str:
        return f"voice {self.name}"

    def identity(self) -> Any:
        return _depends_on(self.encoder)

    def hear(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for clip in clips:
            yield {"embedding": [round(x, DIGITS) for x in self.encoder.embed(clip, sample_rate).tolist()]}


@dataclass(frozen=True)
class QualityEar:
    """Hears how natural a clip is."""

    name: str
    quality: Quality
    own = True

    @property
    def key(self) -> str:
        return f"quality {self.name}"

    def identity(self) -> Any:
        return _depends_on(self.quality)

    def hear(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for clip in clips:
            yield self.quality.rate(clip, sample_rate)


class Prosody:
    """Hears the pitch."""

    key = "prosody"
    own = True

    def identity(self) -> Any:
        return []

    def hear(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for clip in clips:
            yield pitch_statistics(clip, sample_rate)


@dataclass(frozen=True)
class Judges:
    """All that listen in an evaluation, by the names that their metrics carry ("wer/whisper")."""

    asr: dict[str, Asr] = field(default_factory=dict)
    speaker: dict[str, SpeakerEncoder] = field(default_factory=dict)
    quality: dict[str, Quality] = field(default_factory=dict)

    def ears(self) -> list[Ear]:
        return [
            *(Recogniser(name, asr) for name, asr in self.asr.items()),
            *(VoiceEar(name, encoder) for name, encoder in self.speaker.items()),
            *(QualityEar(name, quality) for name, quality in self.quality.items()),
            Prosody(),
        ]

    def names(self) -> dict[str, str]:
        """As people call them."""
        return {name: judge.name for judge_of in (self.asr, self.speaker) for name, judge in judge_of.items()}


def _depends_on(judge: Asr | SpeakerEncoder | Quality, besides: Sequence[str] = ()) -> list[Any]:
    """What a judge finds depends on: its settings but ``besides``, and what is in the files that they name."""
    settings = {name: value for name, value in judge.settings.items() if name not in besides}
    paths = [Path(settings[name]).expanduser() for name in FILES if settings.get(name)]
    return [judge.name, settings, *(file_stamp(path) for path in paths if path.exists())]
