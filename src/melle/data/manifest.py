"""Manifests: one JSON object a line, each an utterance with its transcript.

``{"transcription": "four two", "audio_path": "audio/a.flac"}`` is the reference implementation's form. ``speaker``,
``language``, ``duration`` (seconds) and ``id`` may ride along. A relative audio path counts from the manifest's folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from melle.errors import UserError

FIELDS = ("transcription", "audio_path", "speaker", "language", "duration", "id")


@dataclass(frozen=True)
class Utterance:
    """A recording and what is said in it. ``duration`` is in seconds, None where the manifest does not say."""

    transcription: str
    audio_path: Path
    id: str
    speaker: str | None = None
    language: str | None = None
    duration: float | None = None


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read a manifest. A line that is not an utterance is a UserError that names the file and the line."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; give the path of a JSONL file")
    utterances = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                utterances.append(_parse(line, path, number))
    if not utterances:
        raise UserError(f"{path}: the manifest has no line; add one JSON object per utterance")
    return utterances


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, whole or not at all. Audio below the manifest's folder is named relative to it."""
    path = Path(path)
    folder = path.parent.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for utterance in utterances:
            audio = Path(utterance.audio_path).resolve()
            audio_path = audio.relative_to(folder) if audio.is_relative_to(folder) else audio
            line = {"transcription": utterance.transcription, "audio_path": audio_path.as_posix(), "id": utterance.id}
            for field in ("speaker", "language", "duration"):
                if getattr(utterance, field) is not None:
                    line[field] = getattr(utterance, field)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    os.replace(partial, path)


def with_duration(utterance: Utterance) -> Utterance:
    """The utterance with its duration, read from the audio file's header where the manifest does not say."""
    if utterance.duration is not None:
        return utterance
    try:
        return replace(utterance, duration=soundfile.info(str(utterance.audio_path)).duration)
    except soundfile.LibsndfileError:
        raise UserError(
            f"{utterance.audio_path}: missing or not audio (utterance {utterance.id}); mend the manifest"
        ) from None


def _parse(line: str, path: Path, number: int) -> Utterance:
    where = f"{path}, line {number}"
    try:
        item = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg}); mend or remove the line") from None
    if not isinstance(item, dict):
        raise UserError(f'{where}: expected an object such as {{"transcription": "…", "audio_path": "…"}}')
    for field in ("transcription", "audio_path"):
        if not isinstance(item.get(field), str) or not item[field].strip():
            raise UserError(f'{where}: "{field}" is missing, empty or not a string; add it or remove the line')
    for field in ("speaker", "language", "id"):
        if item.get(field) is not None and not isinstance(item[field], str | int):
            raise UserError(f'{where}: "{field}" must be a string')
    duration = item.get("duration")
    if duration is not None and (isinstance(duration, bool) or not isinstance(duration, int | float)):
        raise UserError(f'{where}: "duration" must be a number of seconds')
    text = {field: str(item[field]) if item.get(field) is not None else None for field in ("speaker", "language", "id")}
    return Utterance(
        transcription=item["transcription"].strip(),
        audio_path=path.parent / item["audio_path"],
        id=text["id"] or f"{path.stem}-{number}",
        speaker=text["speaker"],
        language=text["language"],
        duration=float(duration) if duration is not None else None,
    )
