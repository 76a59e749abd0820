"""The voices that a server speaks in: the model's own, and those that were uploaded."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import soundfile

from melle.audio import UNREADABLE, load_audio, save_audio
from melle.errors import UserError
from melle.files import write_text
from melle.serving.errors import ApiError
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.voices import FOLDER, LISTING, NAME, NamedVoice, read_voices

MOST_TEXT = 1000  # characters of what is said in a recording
MOST_VALUES = 2**25  # samples of all channels that a recording may have: they are decoded at once


class Voices:
    """Prompts by name, each read once.

    Args:
        model: an exported model's folder, whose voices cannot be removed; anything else has none.
        folder: where uploaded voices are kept, in its folder ``voices`` as a model has them; None: none can be added.
        seconds, most: longest recording, and most voices, that are taken.
    """

    def __init__(self, tts: Synthesizer, model: Path, folder: Path | None, seconds: float = 30.0, most: int = 1000):
        self._tts, self._folder, self._seconds, self._most = tts, folder, seconds, most
        self._own = read_voices(model)
        self._added = {} if folder is None else read_voices(folder)
        self._read: dict[NamedVoice, Prompt] = {}
        self._lock = threading.Lock()

    def list(self) -> list[dict[str, Any]]:
        """Every voice as the API shows it, the model's own first."""
        with self._lock:
            voices = {**dict.fromkeys(self._own, "model"), **dict.fromkeys(self._added, "user")}
        return [{"id": name, "object": "voice", "owned_by": owner} for name, owner in voices.items()]

    def find(self, name: str | None) -> Prompt | None:
        """The prompt of a voice; of the first one for None, and None where there is none at all. Raises ApiError."""
        with self._lock:
            voices = {**self._added, **self._own}
            if name is None and voices:
                name = next(iter(self._own or voices))
            if name is None:
                return None
            if name not in voices:
                known = ", ".join([*self._own, *self._added][:20]) or "none; add one"
                raise ApiError(400, f"there is no such voice; there are {known}", "voice_not_found", "voice")
            voice = voices[name]
            if voice not in self._read:
                self._read[voice] = self._tts.read_prompt(voice.audio, voice.text)
            return self._read[voice]

    def add(self, name: str, recording: bytes, text: str) -> dict[str, Any]:
        """Keep a recording as a voice. Raises ApiError where it cannot be one."""
        folder = self._check(name, text)
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "recording"
            path.write_bytes(recording)
            try:
                self._check_sound(path)
                samples = load_audio(path, self._tts.spec.sample_rate)
                prompt = self._tts.read_prompt(samples, " ".join(text.split()))
            except UserError as error:
                raise ApiError(
                    400, str(error).replace(str(path), "the recording"), "invalid_recording", "audio"
                ) from None
        with self._lock:
            if name in self._own or name in self._added:
                raise ApiError(409, "there is a voice of this name; remove it, or take another name", "exists", "name")
            if len(self._added) >= self._most:
                raise ApiError(409, f"there are {self._most} voices already; remove one", "too_many_voices")
            voice = NamedVoice(folder / f"{name}.flac", prompt.text)
            save_audio(voice.audio, samples, self._tts.spec.sample_rate)
            self._write({**self._added, name: voice})
            self._read[voice] = prompt
        return {"id": name, "object": "voice", "owned_by": "user"}

    def remove(self, name: str) -> None:
        """Forget an uploaded voice and its recording."""
        with self._lock:
            if name in self._own:
                raise ApiError(403, "this voice is the model's own", "not_removable", "name")
            if name not in self._added:
                raise ApiError(404, "there is no such voice", "voice_not_found", "name")
            voice = self._added[name]
            self._write({other: kept for other, kept in self._added.items() if other != name})
            self._read.pop(voice, None)
            voice.audio.unlink(missing_ok=True)

    def _check(self, name: str, text: str) -> Path:
        """Where recordings are kept; ApiError for a name or a text that cannot be."""
        if self._folder is None:
            raise ApiError(403, "this server takes no voices; start it with --voices FOLDER", "no_voices_taken")
        if not NAME.fullmatch(name):
            message = "a name has at most 64 of the characters a to z, 0 to 9, - and _, the first a letter or digit"
            raise ApiError(400, message, "invalid_name", "name")
        if not text.strip() or len(text) > MOST_TEXT:
            message = f"say what is spoken in the recording, in at most {MOST_TEXT} characters"
            raise ApiError(400, message, "invalid_text", "text")
        return self._folder / FOLDER

    def _check_sound(self, path: Path) -> None:
        """By its header, before anything is decoded; by libsndfile alone, which reads no playlists."""
        try:
            header = soundfile.info(str(path))
        except UNREADABLE:
            raise UserError("the recording is not readable; give a WAV, FLAC, Ogg or MP3 file") from None
        if header.frames > self._seconds * header.samplerate:
            raise UserError(f"the recording is longer than {self._seconds:g} s; cut out three to ten seconds")
        if header.frames * header.channels > MOST_VALUES:
            raise UserError("the recording has too many samples; convert it to one channel at 48,000 a second")

    def _write(self, voices: dict[str, NamedVoice]) -> None:
        entries = {name: {"audio": voice.audio.name, "text": voice.text} for name, voice in voices.items()}
        listing = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
        write_text(self._folder / FOLDER / LISTING, listing)
        self._added = voices
