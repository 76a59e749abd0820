"""Manifests: one JSON object a line, each an utterance with its transcript.

``{"transcription": "four two", "audio_path": "audio/a.flac"}`` is the reference implementation's form. ``speaker``,
``language``, ``duration`` (seconds), ``id``, ``words`` and ``alignment_score`` may ride along: ``words`` are the begin
and end in seconds of every word, ``[[0.15, 0.4], …]``, which guided attention follows; the score, from 0 to 1, says how
well what is written fits what is said. A relative audio path counts from the manifest's folder.
"""

from __future__ import annotations

import codecs
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from melle.audio import audio_duration
from melle.errors import DataError, UserError
from melle.files import written_whole

UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of surrogate pairs


@dataclass(frozen=True)
class Utterance:
    """A recording and what is said in it; None where the manifest does not say.

    ``duration`` is in seconds. ``words``: begin and end of every word in seconds, in order. ``alignment_score``: how
    well the transcription fits the sound, 0 to 1, as ``python -m melle align`` finds it.
    """

    transcription: str
    audio_path: Path
    id: str
    speaker: str | None = None
    language: str | None = None
    duration: float | None = None
    words: tuple[tuple[float, float], ...] | None = None
    alignment_score: float | None = None


@dataclass
class Totals:
    """How much a manifest holds, in words: "940 utterances, 1.32 hours, 12 speakers"."""

    utterances: int = 0
    timed: int = 0  # how many say how long they last
    seconds: float = 0.0  # of these
    speakers: set[str] = dataclasses.field(default_factory=set)

    @staticmethod
    def of(utterances: Iterable[Utterance]) -> Totals:
        totals = Totals()
        for utterance in utterances:
            totals.add(utterance)
        return totals

    def add(self, utterance: Utterance) -> None:
        self.utterances += 1
        if utterance.duration is not None:
            self.timed += 1
            self.seconds += utterance.duration
        if utterance.speaker is not None:
            self.speakers.add(utterance.speaker)

    def __str__(self) -> str:
        hours = f"{self.seconds / 3600:.2f} hours" if self.timed else "hours not known"
        if 0 < self.timed < self.utterances:
            hours += f" and {self.utterances - self.timed} without a duration"
        count = len(self.speakers)
        return f"{self.utterances} utterances, {hours}, {count or 'no'} speaker{'' if count == 1 else 's'}"


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read a manifest. A line that is not an utterance is a DataError that names the file and the line."""
    return [parse_line(line, Path(path), number) for number, _, line in read_lines(path)]


def read_valid(path: str | Path) -> list[Utterance]:
    """The utterances of a manifest with their durations, without those that are broken or unreadable."""
    utterances = []
    for number, _, line in read_lines(path):
        try:
            utterances.append(with_duration(parse_line(line, Path(path), number)))
        except DataError:
            continue
    return utterances


def read_lines(path: str | Path) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a manifest that are not blank: number from 1, place in the file in bytes, and what stands there.

    Raises UserError where there is no manifest, or none of its lines is more than blank.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; give the path of a JSONL file")
    place, empty = 0, True
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.removeprefix(codecs.BOM_UTF8).strip():  # joined files have such marks amid them
                    yield number, place, line
                    empty = False
                place += len(line)
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    if empty:
        raise UserError(f"{path}: the manifest has no line; add one JSON object per utterance")


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, whole or not at all. Audio below the manifest's folder is named relative to it."""
    folder = Path(path).parent.resolve()
    with written_whole(path, sync=False) as partial, partial.open("w", encoding="utf-8") as file:
        for utterance in utterances:
            line = {
                "transcription": utterance.transcription,
                "audio_path": audio_from(folder, utterance.audio_path),
                "id": utterance.id,
            }
            for field in ("speaker", "language", "duration", "words", "alignment_score"):
                if getattr(utterance, field) is not None:
                    line[field] = getattr(utterance, field)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def audio_from(folder: Path, audio: Path) -> str:
    """What a manifest in ``folder``, a resolved path, calls a recording: below the folder relative to it."""
    audio = Path(audio).resolve()
    return (audio.relative_to(folder) if audio.is_relative_to(folder) else audio).as_posix()


def portable(folder: Path, name: str) -> Path:
    """The file ``name`` of a list in ``folder``; backslashes, as lists from Windows have, lead to the same file."""
    path = folder / name
    if os.sep == "/" and "\\" in name and not os.path.exists(path):
        return folder / name.replace("\\", "/")
    return path


def with_duration(utterance: Utterance) -> Utterance:
    """The utterance with its duration, read from the audio file's header where the manifest does not say."""
    if utterance.duration is not None:
        return utterance
    return replace(utterance, duration=audio_duration(utterance.audio_path))


def parse_line(line: bytes, path: Path, number: int) -> Utterance:
    """One line of the manifest ``path``. Raises DataError for what is not an utterance."""
    where = f"{path}, line {number}"
    try:
        item = json.loads(line.decode("utf-8-sig"))  # joined files have a byte order mark amid them
    except UnicodeDecodeError:
        raise DataError("not UTF-8", f"{where}: not UTF-8; save the manifest in that encoding") from None
    except (ValueError, RecursionError) as error:  # JSON's own, a number too long, too many brackets
        reason = getattr(error, "msg", str(error))
        raise DataError("not JSON", f"{where}: not JSON ({reason}); fix or remove the line") from None
    if not isinstance(item, dict):
        example = '{"transcription": "…", "audio_path": "…"}'
        raise DataError("not an object", f"{where}: expected an object such as {example}")
    for field in ("transcription", "audio_path"):
        if not is_text(item.get(field)):
            message = f'{where}: "{field}" is missing, empty or not a string; add it or remove the line'
            raise DataError(f"no {field}", message)
    for field in ("speaker", "language", "id"):
        if item.get(field) is not None and not _is_name(item[field]):
            raise DataError("wrong field", f'{where}: "{field}" must be a string')
    duration = item.get("duration")
    if duration is not None and not _is_duration(duration):
        raise DataError("wrong field", f'{where}: "duration" must be a number of seconds')
    words = item.get("words")
    if words is not None and not _is_words(words):
        message = f'{where}: "words" must be a list of [begin, end] in seconds, in order'
        raise DataError("wrong field", message)
    score = item.get("alignment_score")
    if score is not None and not (_is_number(score) and 0 <= score <= 1):
        raise DataError("wrong field", f'{where}: "alignment_score" must be a number from 0 to 1')
    text = {field: str(item[field]) if item.get(field) is not None else None for field in ("speaker", "language", "id")}
    return Utterance(
        transcription=item["transcription"].strip(),
        audio_path=portable(path.parent, item["audio_path"]),
        id=text["id"] or f"{path.stem}-{number}",
        speaker=text["speaker"],
        language=text["language"],
        duration=float(duration) if duration is not None else None,
        words=None if words is None else tuple((float(begin), float(end)) for begin, end in words),
        alignment_score=float(score) if score is not None else None,
    )


def is_text(value: object) -> bool:
    """A string with something in it that a file name or a text can hold."""
    return isinstance(value, str) and bool(value.strip()) and not UNWRITABLE.search(value)


def _is_name(value: object) -> bool:
    if isinstance(value, str):
        return not UNWRITABLE.search(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_duration(value: object) -> bool:
    return _is_number(value) and 0 < value < 1e9


def _is_words(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(word, list) and len(word) == 2 for word in value):
        return False
    times = [time for word in value for time in word]
    if not all(_is_number(time) and 0 <= time < 1e9 for time in times):
        return False
    return all(begin <= end for begin, end in value) and all(a[0] <= b[0] for a, b in pairwise(value))
