"""The interface of all judges, and what they share."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from melle.audio import resample
from melle.errors import Unavailable, UserError, reason
from melle.evaluation.records import package_versions, source_digest
from melle.files import file_stamp
from melle.hub import is_offline

CODE = ("melle.evaluation.judges", "melle.audio")  # our own source that all scores depend on
FILES = ("model", "checkpoint")  # settings that may name a file or a folder
SILENCE = 1e-4  # largest sample that counts as silence: less than four steps of 16-bit audio
DIGITS = 6  # decimals kept of an embedding


class Judge(ABC):
    """Scores clips one by one. To add one: subclass a kind below and name the class in a YAML file of its group.

    Attributes:
        name: as reports show it, such as "whisper base".
        settings: what the scores depend on besides files and versions, as plain values: the kind of device and the
            revision on the hub, too.
        packages: distributions whose versions the scores depend on.
        whole: whether it scores whole clips; else only what a system added to the beginning that it was given.
    """

    kind: ClassVar[str]  # the group of the configuration: asr, speaker or quality
    packages: ClassVar[tuple[str, ...]] = ()
    whole: ClassVar[bool] = False
    name: str
    settings: dict[str, Any]

    @abstractmethod
    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        """Scores of every clip (N samples), in order, as plain values."""

    def depends_on(self) -> dict[str, Any]:
        """Everything but the clips that the scores depend on: when it changes, clips are scored again."""
        # The normaliser is applied to the texts when the scores are compared.
        settings = {name: value for name, value in self.settings.items() if name != "normaliser"}
        paths = [Path(settings[name]).expanduser() for name in FILES if settings.get(name)]
        own = [inspect.getsourcefile(base) for base in type(self).__mro__ if issubclass(base, Judge)]
        return {
            "judge": self.name,
            "settings": settings,
            "files": [file_stamp(path) for path in paths if path.exists()],
            "packages": package_versions(*self.packages),
            "code": source_digest(*CODE, *filter(None, own)),
        }


@dataclass(frozen=True)
class Transcript:
    """What a recogniser understood: with its initial prompt, and without it (``plain``; None: it has none)."""

    text: str
    plain: str | None = None


class Recogniser(Judge):
    """Speech to text. ``normalise`` makes its texts and the references comparable."""

    kind = "asr"
    whole = True
    normalise: Callable[[str], str]

    @abstractmethod
    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        """Transcripts of waveforms (N,) in float32, in order."""

    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for found in self.transcribe(clips, sample_rate):
            yield {"text": found.text} | ({} if found.plain is None else {"plain": found.plain})


class SpeakerEncoder(Judge):
    """A voice as a vector."""

    kind = "speaker"

    @abstractmethod
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to an embedding (E,) of its voice."""

    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for clip in clips:
            yield {"embedding": [round(x, DIGITS) for x in self.embed(clip, sample_rate).tolist()]}


class QualityPredictor(Judge):
    """Numbers for one clip, such as a mean opinion score (MOS)."""

    kind = "quality"

    @abstractmethod
    def rate(self, waveform: Tensor, sample_rate: int) -> dict[str, float]:
        """Scores of a waveform (N,) by their names; none where there is nothing that can be rated."""

    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for clip in clips:
            yield self.rate(clip, sample_rate)


@contextmanager
def packages_of(extra: str, judge: str) -> Iterator[None]:
    """For imports: where one fails, ``Unavailable`` names the command that installs the extra."""
    try:
        yield
    except ImportError as error:
        message = f'{judge} needs a package ({reason(error)}): python -m pip install -e ".[{extra}]"'
        raise Unavailable(message) from None


@contextmanager
def loading(option: str, hint: str) -> Iterator[None]:
    """For models: whatever another library raises becomes one sentence, ``Unavailable`` where there is no network."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many kinds: broken JSON and weights, other models, the hub's
        kind = Unavailable if is_offline(error) else UserError
        raise kind(f"{option}: cannot be loaded ({reason(error)}); {hint}") from None


def similarities(embeddings: Tensor, voices: Tensor) -> Tensor:
    """Cosine of every embedding (A, E) with every voice (B, E): (A, B)."""
    return F.normalize(embeddings, dim=1) @ F.normalize(voices, dim=1).T


def samples_at(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """Waveform (N,) at ``rate`` to float32 on the CPU at ``new_rate``."""
    samples = waveform.detach().cpu().float()
    return resample(samples, rate, new_rate) if len(samples) else samples


def audible(waveform: Tensor, sample_rate: int, rate: int, shortest: float = 0.0) -> Tensor | None:
    """``samples_at``; None for silence, for values that are not numbers, and for less than ``shortest`` seconds."""
    samples = samples_at(waveform, sample_rate, rate)
    loud = len(samples) and bool(samples.abs().max() >= SILENCE)  # False for NaN
    return samples if loud and len(samples) >= shortest * rate else None


def pad_to(samples: Tensor, length: int) -> Tensor:
    """(N,) with zeros after it where it is shorter than ``length``."""
    return F.pad(samples, (0, max(0, length - len(samples))))


def receptive_field(kernels: Sequence[int], strides: Sequence[int], frames: int) -> int:
    """Samples that a stack of convolutions, given from the first to the last, needs for so many frames."""
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        frames = (frames - 1) * stride + kernel
    return frames


def unit(embedding: Tensor) -> Tensor:
    """(E,) scaled to length 1, on the CPU; zeros stay."""
    return torch.nan_to_num(F.normalize(embedding.float(), dim=0)).cpu()


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
