"""The judges of an evaluation, by the names that their metrics carry ("wer/whisper")."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from melle.evaluation.judges.base import Judge, QualityPredictor, Recogniser, SpeakerEncoder


@dataclass(frozen=True)
class NamedJudge:
    """A judge under its name in the configuration."""

    name: str
    judge: Judge

    @property
    def kind(self) -> str:
        return self.judge.kind

    @property
    def key(self) -> str:
        """Unlike those of the others: "asr whisper"."""
        return f"{self.kind} {self.name}"

    @cached_property
    def depends_on(self) -> dict[str, Any]:
        """As ``Judge.depends_on``, which looks at files: once in an evaluation."""
        return self.judge.depends_on()


@dataclass(frozen=True)
class Judges:
    """Those of an evaluation, by name."""

    asr: dict[str, Recogniser] = field(default_factory=dict)
    speaker: dict[str, SpeakerEncoder] = field(default_factory=dict)
    quality: dict[str, QualityPredictor] = field(default_factory=dict)

    def all(self) -> list[NamedJudge]:
        return [NamedJudge(*pair) for group in (self.asr, self.speaker, self.quality) for pair in group.items()]

    def titles(self) -> dict[str, str]:
        """As reports show them: "whisper base" for "whisper"."""
        return {name: judge.name for group in (self.asr, self.speaker) for name, judge in group.items()}
