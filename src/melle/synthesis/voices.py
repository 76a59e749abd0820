"""Named voices: recordings with what is said in them, in a folder ``voices`` of an exported model or of the user.

``voices/voices.json`` holds ``{"anna": {"audio": "anna.flac", "text": "What is said in it."}, …}``; the first is the
model's default.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs
import torch

from melle.audio import LogMel, save_audio
from melle.checkpoint import ModelDescription
from melle.console import did_you_mean, shell_command
from melle.errors import UserError
from melle.files import check_writable, write_text
from melle.locks import locked
from melle.synthesis.prompt import Prompt, load_voice, read_prompt
from melle.text.languages import check_script
from melle.text.normalise import check_text

logger = logging.getLogger(__name__)

FOLDER, LISTING = "voices", "voices.json"
VARIABLE = "MELLE_VOICES"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RATE = 24000  # samples a second that are kept of a recording: more than any model's mel has use for


class NamedVoice(NamedTuple):
    """A prompt: its recording and what is said in it."""

    audio: Path
    text: str


def read_voices(model: Path, missing: Literal["raise", "skip", "keep"] = "raise") -> dict[str, NamedVoice]:
    """The voices of an exported model, by name and in order; none for a checkpoint, or a folder without any.

    ``missing``: what becomes of voices whose recording is gone. Raises UserError where the listing or a recording
    cannot be used.
    """
    listing = model / FOLDER / LISTING
    if not listing.is_file():
        return {}
    try:
        entries = json.loads(listing.read_text(encoding="utf-8-sig"))
        voices = {name: NamedVoice(listing.parent / voice["audio"], voice["text"]) for name, voice in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        form = '{"anna": {"audio": "anna.flac", "text": "…"}}'
        raise UserError(f"{listing}: damaged; it should hold {form}") from None
    place = listing.parent.resolve()
    for name, voice in voices.items():
        if not voice.audio.resolve().is_relative_to(place):
            raise UserError(f"{listing}: the recording of {name} lies outside this folder; put it there")
        if missing == "raise":
            _check_present(name, voice)
    return {name: voice for name, voice in voices.items() if missing == "keep" or voice.audio.is_file()}


def user_folder() -> Path:
    """Where the user's own voices are kept: the environment's MELLE_VOICES, else where the system keeps such files."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else Path(platformdirs.user_data_dir("melle", appauthor=False))


def find_voice(model: str | Path | None, name: str) -> NamedVoice:
    """The user's voice of that name, else the model's; as ``tts(text, *find_voice(None, "anna"))`` a prompt.

    ``model``: an exported model's folder; None: the user's voices alone. Raises UserError, with the names that there
    are, where there is none.
    """
    own = {} if model is None else read_voices(Path(model))
    voices = {**own, **read_voices(user_folder(), missing="keep")}
    if name in own and voices[name] != own[name]:
        logger.warning("voice %s: the saved one is taken, not that of %s", name, model)
    if name not in voices:
        known = f"it has {', '.join(own)}" if own else "it has none; give a recording by --prompt"
        saved = [other for other in voices if other not in own]
        more = f"; saved are {', '.join(saved)}" if saved else ""
        raise UserError(f"{model or user_folder()} has no voice {name!r}{did_you_mean(name, voices)}: {known}{more}")
    _check_present(name, voices[name])
    return voices[name]


def check_name(name: str) -> None:
    """Raises UserError for a name that cannot be a voice's, which is a file's, too."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name[:80]!r}: a voice's name has at most 64 of a to z, 0 to 9, - and _, first a letter or digit"
        )


def add_voice(
    name: str,
    recording: str | Path,
    text: str,
    folder: Path | None = None,
    replace: bool = False,
    model: ModelDescription | None = None,
) -> NamedVoice:
    """Keep a recording as a voice of the user. Raises UserError where it cannot be one, or there is one of the name.

    Args:
        folder: where, if not in ``user_folder``.
        replace: whether it takes the place of one of the name.
        model: that is to speak in it, for which it is checked as a prompt is: what is bad in it is warned of.
    """
    check_name(name)
    check_text(text)
    text = " ".join(text.split())
    if not text:
        raise UserError("a voice needs its transcript: say what is spoken in the recording")
    if model is not None:
        check_script(text, model.tokenizer)
        read_prompt(Prompt(recording, text), model, LogMel(model.mel))
    return keep_voice(name, load_voice(recording, RATE), text, folder or user_folder(), replace)


def keep_voice(name: str, samples: torch.Tensor, text: str, folder: Path, replace: bool = False) -> NamedVoice:
    """As ``add_voice``, of what was checked: ``samples`` (N,) at ``RATE``. Every UserError is of ``folder``."""
    with locked(folder / "lock"):
        voices = read_voices(folder, missing="keep")
        if name in voices and not replace:
            remove = shell_command("python", "-m", "melle", "voice", "remove", name)
            raise UserError(f"there is a voice {name!r} already; add --replace, or remove it by `{remove}`")
        voice = NamedVoice(folder / FOLDER / f"{name}.flac", text)
        check_writable(voice.audio)
        voice.audio.parent.mkdir(parents=True, exist_ok=True)
        save_audio(voice.audio, samples, RATE)
        _write(folder / FOLDER, {**voices, name: voice})
    return voice


def remove_voice(name: str, folder: Path | None = None) -> None:
    """Forget a voice of the user, and its recording. Raises UserError where there is none of the name."""
    folder = folder or user_folder()
    with locked(folder / "lock"):
        voices = read_voices(folder, missing="keep")  # one whose recording is gone can be removed, too
        if name not in voices:
            known = f"saved are {', '.join(voices)}" if voices else "none is saved"
            guess = did_you_mean(name, voices)
            raise UserError(f"{folder} has no voice {name!r}{guess}: {known}; a model's own voices cannot be removed")
        voice = voices.pop(name)
        _write(folder / FOLDER, voices)
        voice.audio.unlink(missing_ok=True)


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
        _write(target, voices)
    return len(voices)


def _check_present(name: str, voice: NamedVoice) -> None:
    if not voice.audio.is_file():
        listing = voice.audio.parent / LISTING
        raise UserError(f"{listing}: the recording of {name}, {voice.audio.name}, is missing; put it there")


def _write(folder: Path, voices: dict[str, NamedVoice]) -> None:
    entries = {name: {"audio": voice.audio.name, "text": voice.text} for name, voice in voices.items()}
    write_text(folder / LISTING, json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
