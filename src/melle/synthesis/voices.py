"""Named voices that an exported model has of its own: recordings with what is said in them, in its folder ``voices``.

``voices/voices.json`` holds ``{"anna": {"audio": "anna.flac", "text": "What is said in it."}, …}``; the first is the
model's default.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from melle.errors import UserError

FOLDER, LISTING = "voices", "voices.json"


class NamedVoice(NamedTuple):
    """A prompt: its recording and what is said in it."""

    audio: Path
    text: str


def read_voices(model: Path) -> dict[str, NamedVoice]:
    """The voices of an exported model, by name and in order; none for a checkpoint, or a folder without any.

    Raises UserError where the listing or a recording cannot be used.
    """
    listing = model / FOLDER / LISTING
    if not listing.is_file():
        return {}
    try:
        entries = json.loads(listing.read_text(encoding="utf-8"))
        voices = {name: NamedVoice(listing.parent / voice["audio"], voice["text"]) for name, voice in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        form = '{"anna": {"audio": "anna.flac", "text": "…"}}'
        raise UserError(f"{listing}: damaged; it should hold {form}") from None
    for name, voice in voices.items():
        if not voice.audio.resolve().is_relative_to(listing.parent.resolve()):
            raise UserError(f"{listing}: the recording of {name} lies outside this folder; put it there")
        if not voice.audio.is_file():
            raise UserError(f"{listing}: the recording of {name}, {voice.audio.name}, is missing; put it there")
    return voices


def find_voice(model: Path, name: str) -> NamedVoice:
    """The voice of that name. Raises UserError, with the names that there are, where there is none."""
    voices = read_voices(model)
    if name not in voices:
        known = f"it has {', '.join(voices)}" if voices else "it has none; give a recording by --prompt"
        raise UserError(f"{model} has no voice {name!r}: {known}")
    return voices[name]


def copy_voices(source: Path, model: Path) -> int:
    """Give an exported model the voices of the folder ``source``, or none; returns how many it has."""
    voices = read_voices(source.parent if source.name == FOLDER else source)
    target = model / FOLDER
    if target.resolve() == (source if source.name == FOLDER else source / FOLDER).resolve():
        return len(voices)
    if target.is_dir():
        shutil.rmtree(target)
    if voices:
        target.mkdir(parents=True)
        for voice in voices.values():
            shutil.copyfile(voice.audio, target / voice.audio.name)
        entries = {name: {"audio": voice.audio.name, "text": voice.text} for name, voice in voices.items()}
        (target / LISTING).write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(voices)
