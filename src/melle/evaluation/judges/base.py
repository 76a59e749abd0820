"""The interface of all judges, and what they share."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from melle.audio import resample
from melle.evaluation.judges.normalisers import make_normaliser
from melle.evaluation.records import package_versions, source_digest
from melle.evaluation.wer import import_jiwer
from melle.files import file_stamp

CODE = ("melle.evaluation.judges", "melle.audio")  # our own source that all scores depend on
FILES = ("model", "checkpoint")  # settings that may name a file or a folder
WITHOUT_EFFECT = ("normaliser", "cpu_threads")  # settings that scores do not depend on: texts are normalised later
SILENCE = 1e-4  # largest sample that counts as silence: less than four steps of 16-bit audio
DIGITS = 6  # decimals kept of an embedding


@dataclass(eq=False)
class Judge(ABC):
    """Scores clips one by one. To add one: a dataclass of a kind below, named in a YAML file of its group.

    Its fields are the keys of that file; ``__post_init__`` loads what it needs.

    Attributes:
        name: as reports show it, such as "whisper base".
        packages: distributions whose versions the scores depend on.
        whole: whether it scores whole clips; else only what a system added to the beginning that it was given.
        revision: commit of a model of the hub.
    """

    kind: ClassVar[str]  # the group of the configuration: asr, speaker or quality
    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    whole: ClassVar[bool] = False
    revision: str | None = field(default=None, init=False)

    @abstractmethod
    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        """Scores of every clip (N samples), in order, as plain values."""

    @property
    def settings(self) -> dict[str, Any]:
        """The fields as plain values; of a device its kind."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value.type if isinstance(value, torch.device) else value for name, value in values.items()}

    def depends_on(self) -> dict[str, Any]:
        """Everything but the clips that the scores depend on: when it changes, clips are scored again."""
        settings = {name: value for name, value in self.settings.items() if name not in WITHOUT_EFFECT}
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


@dataclass(eq=False)
class Recogniser(Judge):
    """Speech to text. ``normalise`` makes its texts and the references comparable."""

    kind = "asr"
    whole = True
    normaliser: str = field(default="english", kw_only=True)  # of ``melle.evaluation.judges.normalisers``

    def __post_init__(self) -> None:
        import_jiwer()
        make_normaliser(self.normaliser)  # raises where it cannot be had

    def normalise(self, text: str) -> str:
        return make_normaliser(self.normaliser)(text)

    @abstractmethod
    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        """Transcripts of waveforms (N,) in float32, in order."""

    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for found in self.transcribe(clips, sample_rate):
            yield {"text": found.text} | ({} if found.plain is None else {"plain": found.plain})


@dataclass(eq=False)
class SpeakerEncoder(Judge):
    """A voice as a vector."""

    kind = "speaker"

    @abstractmethod
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to an embedding (E,) of its voice: of length 1, or zeros where there is no sound."""

    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for clip in clips:
            yield {"embedding": [round(x, DIGITS) for x in self.embed(clip, sample_rate).tolist()]}


@dataclass(eq=False)
class QualityPredictor(Judge):
    """Numbers for one clip, such as a mean opinion score (MOS)."""

    kind = "quality"

    @abstractmethod
    def rate(self, waveform: Tensor, sample_rate: int) -> dict[str, float]:
        """Scores of a waveform (N,) by their names; none where there is nothing that can be rated."""

    def score(self, clips: Sequence[Tensor], sample_rate: int) -> Iterator[dict[str, Any]]:
        for clip in clips:
            yield self.rate(clip, sample_rate)


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
