"""What a check looks for: in one line of a manifest with its recording, and in all of them together."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from hashlib import blake2b
from math import nan
from pathlib import Path

import numpy as np

from melle.audio import audio_duration, mix_channels, read_channels
from melle.data import MIN_ALIGNMENT
from melle.data.clipping import clipped_share
from melle.data.index import tokens_of
from melle.data.manifest import Utterance, parse_line
from melle.errors import DataError, UserError
from melle.options import option
from melle.text import Tokenizer

SILENT = 1e-3  # peak, relative to full scale: -60 dB
FULL_SCALE = 1 - 2**-15  # the largest value of 16-bit sound
TOLERANCE = 0.05  # of a duration, and in seconds: both must be exceeded before two lengths differ
ODD_PACE = 3.0  # characters per second: more than this many times the median, or less than its fraction
COLUMNS = {  # what is remembered of every item, and as what
    "number": "q",
    "seconds": "d",
    "characters": "i",
    "clipped": "f",
    "alignment": "d",
    "id_key": "Q",
    "file_key": "Q",
    "sound_key": "Q",
    "text_key": "Q",
}


@dataclass(frozen=True)
class CheckLimits:
    """What a recording may last, in seconds, and how well its transcription has to fit."""

    min_seconds: float = option(0.3, "reject what is shorter")
    max_seconds: float = option(30.0, "reject what is longer")
    min_alignment: float = option(
        MIN_ALIGNMENT, "report what has a lower alignment_score (as `align` writes it), 0 to 1"
    )

    def __post_init__(self):
        if not 0 <= self.min_seconds < self.max_seconds:
            raise UserError(
                f"--min-seconds {self.min_seconds:g}, --max-seconds {self.max_seconds:g}: "
                "give 0 or more, and the smaller one first"
            )
        if not 0 <= self.min_alignment <= 1:
            raise UserError(f"--min-alignment {self.min_alignment:g}: scores go from 0 to 1")


@dataclass(frozen=True)
class CheckedItem:
    """An item that is rejected, with its ``kind`` of fault and the ``reason``; or, without a kind, its measures.

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
    alignment: float = nan  # score, 0 to 1; nan where the manifest has none
    id_key: int = 0
    file_key: int = 0  # of the path with its links resolved
    sound_key: int = 0  # of the samples
    text_key: int = 0


def check_item(
    line: bytes, path: Path, number: int, limits: CheckLimits, tokenizer: Tokenizer | None = None
) -> CheckedItem:
    """Line ``number`` of the manifest ``path`` and its recording. Of several faults the first one counts."""
    utterance = None
    try:
        utterance = parse_line(line, path, number)
        if tokenizer is not None:
            tokens_of(utterance.transcription, utterance.language, tokenizer)
        samples, rate = _read(utterance.audio_path, limits)
        seconds = len(samples) / rate
        _check_sound(samples, seconds, utterance, limits)
    except DataError as error:
        audio_path = str(utterance.audio_path) if utterance else None
        where = f"{audio_path}: " if utterance else f"{path}, line {number}: "
        reason = str(error).removeprefix(where)
        return CheckedItem(number, error.kind, reason, utterance.id if utterance else None, audio_path)
    return CheckedItem(
        number,
        id=utterance.id,
        audio_path=str(utterance.audio_path),
        speaker=utterance.speaker,
        seconds=seconds,
        characters=len(utterance.transcription),
        clipped=clipped_share(samples, FULL_SCALE),
        alignment=nan if utterance.alignment_score is None else utterance.alignment_score,
        id_key=_key(utterance.id.encode()),
        file_key=_key(os.fsencode(os.path.realpath(utterance.audio_path))),
        sound_key=_key(samples.tobytes() + str(rate).encode()),
        text_key=_key(" ".join(utterance.transcription.split()).encode()),
    )


class Filters:
    """What is remembered of all items, each in some sixty bytes; and, once ``apply`` has run, which are kept.

    Attributes:
        faulty, kept, clipped, misfit, odd: (items,) bool.
        same_id, same_file, same_sound: (items,) place of the first kept item with the same, -1 for none.
        pace: (items,) characters per second.  speaker: (items,) place in ``speakers``, -1 where unnamed.
    """

    def __init__(self, min_alignment: float = 0.0):
        self.min_alignment = min_alignment
        self._columns = {name: array(code) for name, code in COLUMNS.items()}
        self._faulty, self._speaker = array("b"), array("i")
        self._speakers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._faulty)

    def add(self, item: CheckedItem) -> None:
        for name, column in self._columns.items():
            column.append(getattr(item, name))
        self._faulty.append(item.kind is not None)
        known = self._speakers
        self._speaker.append(-1 if item.speaker is None else known.setdefault(item.speaker, len(known)))

    def apply(self, strict: bool) -> None:
        """Decide which items are kept. ``strict``: without those that are clipped, fit badly or have an odd pace."""
        values = {name: np.frombuffer(column, column.typecode) for name, column in self._columns.items()}
        self.number, self.seconds, self.characters = values["number"], values["seconds"], values["characters"]
        self.clip_share, self.alignment, self.text_key = values["clipped"], values["alignment"], values["text_key"]
        self.faulty = np.frombuffer(self._faulty, np.int8).astype(bool)
        self.speaker, self.speakers = np.frombuffer(self._speaker, np.int32), list(self._speakers)
        kept = ~self.faulty
        self.clipped = kept & (self.clip_share > 0)
        self.misfit = kept & (self.alignment < self.min_alignment)  # false where there is no score
        if strict:
            kept &= ~self.clipped & ~self.misfit
        self.same_id = _repeats(values["id_key"], kept)
        kept &= self.same_id < 0
        self.same_file = _repeats(values["file_key"], kept)
        kept &= self.same_file < 0
        self.same_sound = _repeats(values["sound_key"], kept)
        kept &= self.same_sound < 0
        self.pace = self.characters / np.maximum(self.seconds, 1e-9)
        self.median_pace = float(np.median(self.pace[kept])) if kept.any() else 0.0
        slow, fast = self.pace < self.median_pace / ODD_PACE, self.pace > self.median_pace * ODD_PACE
        self.odd = kept & (slow | fast)
        self.kept = kept & ~self.odd if strict else kept

    def fault(self, place: int) -> tuple[str, str] | None:
        """Kind and reason of what is wrong with an item beside others, or None. A kept item's is a warning."""
        if self.same_id[place] >= 0:
            return "duplicate id", f"the id of line {self.number[self.same_id[place]]}; give it another"
        for first, what in ((self.same_file[place], "the file"), (self.same_sound[place], "the samples")):
            if first >= 0:
                text = "the same" if self.text_key[place] == self.text_key[first] else "another"
                return "duplicate audio", f"{what} of line {self.number[first]}, with {text} transcript"
        if self.clipped[place]:
            return "clipped", f"{100 * self.clip_share[place]:.1f} % of its samples stand at full scale"
        if self.misfit[place]:
            score = f"alignment score {self.alignment[place]:.2f}, below {self.min_alignment:g}"
            return "poor alignment", f"{score}; is this what is said?"
        if self.odd[place]:
            usual = f"{self.median_pace:.1f} is the median"
            return "odd pace", f"{self.pace[place]:.1f} characters per second, where {usual}; is this what is said?"
        return None


def _read(path: Path, limits: CheckLimits) -> tuple[np.ndarray, int]:
    """Samples (N,), mono, and their rate in Hz. What is too long by its header is not decoded."""
    seconds = audio_duration(path)
    if seconds > limits.max_seconds:
        raise DataError("too long", f"{path}: {seconds:.2f} s, more than {limits.max_seconds:g} s; cut it")
    channels, rate = read_channels(path)
    samples = mix_channels(channels, path).numpy()
    if _differ(len(samples) / rate, seconds):
        message = f"{path}: ends after {len(samples) / rate:.2f} of {seconds:.2f} s; fetch it again"
        raise DataError("cut short", message)
    return samples, rate


def _check_sound(samples: np.ndarray, seconds: float, utterance: Utterance, limits: CheckLimits) -> None:
    path, claimed = utterance.audio_path, utterance.duration
    if seconds < limits.min_seconds:
        raise DataError("too short", f"{path}: {seconds:.3f} s, less than {limits.min_seconds:g} s")
    if np.abs(samples).max() < SILENT:
        raise DataError("silent", f"{path}: nowhere louder than -60 dB of full scale; record it again")
    if claimed is not None and _differ(claimed, seconds):
        raise DataError("wrong duration", f"{path}: lasts {seconds:.3f} s, not {claimed:.3f} s as the manifest says")


def _differ(seconds: float, truth: float) -> bool:
    return abs(seconds - truth) > max(TOLERANCE * truth, TOLERANCE)


def _key(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def _repeats(keys: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For every item of the mask ``among``, the place of the first there with the same key; -1 for the first itself."""
    places = np.flatnonzero(among)
    _, first, inverse = np.unique(keys[places], return_index=True, return_inverse=True)
    firsts = places[first[inverse]]
    repeats = np.full(len(keys), -1)
    repeats[places] = np.where(firsts == places, -1, firsts)
    return repeats
