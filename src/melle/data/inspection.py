"""One line of a manifest with its recording: what is wrong with it, or what it measures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import soundfile

from melle.audio import audio_duration, load_audio
from melle.data.index import tokens_of
from melle.data.manifest import Utterance, parse_line
from melle.errors import DataError, UserError
from melle.text import Tokenizer

SILENT = 1e-3  # peak, relative to full scale: -60 dB
FULL_SCALE = 1 - 2**-15  # the largest value of 16-bit sound
CLIPPED_RUN = 3  # samples at full scale in a row; fewer are loud speech
CLIPPED_SHARE = 1e-3  # of a recording's samples in such runs: more than that is heard
TOLERANCE = 0.05  # of a duration, and in seconds: both must be exceeded before two lengths differ


@dataclass(frozen=True)
class Limits:
    """What a recording may last, in seconds."""

    min_seconds: float = 0.3
    max_seconds: float = 30.0

    def __post_init__(self):
        if not 0 <= self.min_seconds < self.max_seconds:
            raise UserError(
                f"--min-seconds {self.min_seconds:g}, --max-seconds {self.max_seconds:g}: "
                "give 0 or more, and the smaller one first"
            )


@dataclass(frozen=True)
class Finding:
    """An item that is left out, with its ``kind`` of fault and the ``reason``; or, without a kind, its measures.

    The keys are 64-bit hashes: among ten million items, two that differ share one in about 3 of a million manifests.
    """

    number: int  # of the line, from 1
    kind: str | None = None
    reason: str = ""
    id: str | None = None  # None where the line cannot be read
    audio_path: str | None = None
    speaker: str | None = None
    seconds: float = 0.0
    characters: int = 0
    clipped: float = 0.0  # share of samples in runs at full scale, 0 where it is too small to matter
    id_key: int = 0
    file_key: int = 0  # of the path with its links resolved
    sound_key: int = 0  # of the samples
    text_key: int = 0


def inspect(line: bytes, path: Path, number: int, limits: Limits, tokenizer: Tokenizer | None = None) -> Finding:
    """Line ``number`` of the manifest ``path`` and its recording. An item has one finding: the first that applies."""
    utterance = None
    try:
        utterance = parse_line(line, path, number)
        _check_text(utterance, tokenizer)
        samples, rate = _listen(utterance.audio_path, limits)
        seconds = len(samples) / rate
        _check_sound(samples, seconds, utterance, limits)
    except DataError as error:
        audio_path = str(utterance.audio_path) if utterance else None
        where = f"{audio_path}: " if utterance else f"{path}, line {number}: "
        reason = str(error).removeprefix(where)
        return Finding(number, error.kind, reason, utterance.id if utterance else None, audio_path)
    return Finding(
        number,
        id=utterance.id,
        audio_path=str(utterance.audio_path),
        speaker=utterance.speaker,
        seconds=seconds,
        characters=len(utterance.transcription),
        clipped=_clipped(samples),
        id_key=_key(utterance.id.encode()),
        file_key=_key(os.fsencode(os.path.realpath(utterance.audio_path))),
        sound_key=_key(samples.tobytes() + str(rate).encode()),
        text_key=_key(" ".join(utterance.transcription.split()).encode()),
    )


def _check_text(utterance: Utterance, tokenizer: Tokenizer | None) -> None:
    if tokenizer is None:
        return
    tokens_of(utterance.transcription, utterance.language, tokenizer)


def _listen(path: Path, limits: Limits) -> tuple[np.ndarray, int]:
    """Samples (N,), mono, and their rate in Hz. What is too long by its header is not decoded."""
    seconds = audio_duration(path)
    if seconds > limits.max_seconds:
        raise DataError("too long", f"{path}: {seconds:.2f} s, more than {limits.max_seconds:g} s; cut it")
    rate = soundfile.info(str(path)).samplerate
    samples = load_audio(path, rate).numpy()
    if _differ(len(samples) / rate, seconds):
        message = f"{path}: ends after {len(samples) / rate:.2f} of {seconds:.2f} s; fetch it again"
        raise DataError("cut short", message)
    return samples, rate


def _check_sound(samples: np.ndarray, seconds: float, utterance: Utterance, limits: Limits) -> None:
    path, claimed = utterance.audio_path, utterance.duration
    if seconds < limits.min_seconds:
        raise DataError("too short", f"{path}: {seconds:.3f} s, less than {limits.min_seconds:g} s")
    if np.abs(samples).max() < SILENT:
        raise DataError("silent", f"{path}: nowhere louder than -60 dB of full scale; record it again")
    if claimed is not None and _differ(claimed, seconds):
        raise DataError("wrong duration", f"{path}: lasts {seconds:.3f} s, not {claimed:.3f} s as the manifest says")


def _differ(seconds: float, truth: float) -> bool:
    return abs(seconds - truth) > max(TOLERANCE * truth, TOLERANCE)


def _clipped(samples: np.ndarray) -> float:
    """The share of samples (N,) that stand at full scale in runs, or 0 where it does not matter."""
    loud = np.abs(samples) >= FULL_SCALE
    if np.count_nonzero(loud) <= CLIPPED_SHARE * len(samples):
        return 0.0
    edges = np.flatnonzero(np.diff(loud.astype(np.int8), prepend=0, append=0))
    runs = edges[1::2] - edges[::2]
    share = float(runs[runs >= CLIPPED_RUN].sum()) / len(samples)
    return share if share > CLIPPED_SHARE else 0.0


def _key(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
