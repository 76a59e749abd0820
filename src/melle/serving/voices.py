"""The voices that a server speaks in: the model's own, and those that were saved or uploaded."""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path
from typing import Any, Literal

import soundfile

from melle.audio import UNREADABLE
from melle.console import did_you_mean
from melle.errors import UserError
from melle.serving.errors import ApiError
from melle.synthesis.prompt import Prompt, load_voice
from melle.synthesis.request import check_positions
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.voices import NAME, RATE, NamedVoice, keep_voice, read_voices, remove_voice, user_folder
from melle.text import marks_of
from melle.text.languages import check_script
from melle.text.normalise import check_text

MAX_TEXT = 1000  # characters of what is said in a recording
MAX_VALUES = 2**25  # samples of all channels that a recording may have: they are decoded at once
ADDED_AT_ONCE = 2
OPENAI_VOICES = (  # all that some clients offer; in an order that stays, as each is the name of one of the model's own
    *("alloy", "echo", "fable", "onyx", "nova", "shimmer"),
    *("ash", "ballad", "coral", "sage", "verse", "marin", "cedar"),
)

logger = logging.getLogger(__name__)


class Voices:
    """Prompts by name, each read once.

    Args:
        model: an exported model's folder, whose voices cannot be removed; anything else has none.
        folder: where saved voices are, and uploaded ones are kept; None: those of ``python -m melle voice``.
        seconds, most: longest recording, and most voices, that are taken.

    Raises UserError where a listing is damaged; when that happens later, requests get an ApiError without a path.
    """

    def __init__(
        self, tts: Synthesizer, model: Path, folder: Path | None = None, seconds: float = 30.0, most: int = 1000
    ):
        self._tts, self._folder, self._seconds, self._most = tts, folder or user_folder(), seconds, most
        self._own = read_voices(model)
        read_voices(self._folder, "skip")
        self._read: dict[tuple[NamedVoice, int], Prompt] = {}
        self._lock, self._adding = threading.Lock(), threading.BoundedSemaphore(ADDED_AT_ONCE)

    def list(self) -> list[dict[str, Any]]:
        """Every voice as the API shows it, the model's own first."""
        owners = {**dict.fromkeys(self._own, "model"), **dict.fromkeys(self._saved(), "user")}
        return [{"id": name, "object": "voice", "owned_by": owner} for name, owner in owners.items()]

    def find(self, name: str | None) -> Prompt | None:
        """The prompt of a voice; of the first one for None, and None where there is none at all.

        A name of OpenAI's that no voice has means one of the model's own, always the same. Raises ApiError.
        """
        with self._lock:
            voices = {**self._own, **self._saved()}
            self._forget(voices)
            if name is None:
                name = next(iter(voices), None)
            if name is None:
                return None
            if name not in voices and name in OPENAI_VOICES:
                if not voices:
                    return None
                names = [*(self._own or voices)]
                name = names[OPENAI_VOICES.index(name) % len(names)]
            if name not in voices:
                raise _not_found(voices, did_you_mean(name, voices))
            try:
                return self._prompt(voices[name])
            except (OSError, UserError) as error:
                if not voices[name].audio.is_file():  # another process has removed it
                    raise _not_found({other: voice for other, voice in voices.items() if other != name}) from None
                raise _own_fault(error) from None

    def add(self, name: str, recording: bytes, text: str) -> dict[str, Any]:
        """Keep a recording as a voice. Raises ApiError where it cannot be one."""
        if not NAME.fullmatch(name):
            message = "a name has at most 64 of the characters a to z, 0 to 9, - and _, the first a letter or digit"
            raise ApiError(400, message, "invalid_name", "name")
        if not text.strip() or len(text) > MAX_TEXT:
            message = f"say what is spoken in the recording, in at most {MAX_TEXT} characters"
            raise ApiError(400, message, "invalid_text", "text")
        text = " ".join(text.split())
        warnings = self._check_transcript(text)
        if not self._adding.acquire(blocking=False):  # each decodes a recording
            raise ApiError(503, f"{ADDED_AT_ONCE} voices are being added; try again later", "server_busy")
        try:
            warnings += self._add(name, recording, text)
        finally:
            self._adding.release()
        return {"id": name, "object": "voice", "owned_by": "user", "warnings": warnings}

    def _check_transcript(self, text: str) -> list[str]:
        """What the model leaves out of it. Raises ApiError where it cannot read it."""
        tokenizer = self._tts.tokenizer
        try:
            check_text(text)
            check_script(text, tokenizer)
            _, unknown = tokenizer.encode_known(text)
        except UserError as error:
            raise ApiError(400, str(error), "invalid_text", "text") from None
        return [f"the model does not know {' '.join(unknown)!r}, and reads the rest"] if unknown else []

    def _add(self, name: str, recording: bytes, text: str) -> list[str]:
        """What makes it a bad prompt."""
        saved = self._saved("keep")
        if name in self._own or name in saved:
            raise _exists()
        if len(saved) >= self._most:
            raise ApiError(409, f"there are {self._most} voices already; remove one", "too_many_voices")
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "recording"
            path.write_bytes(recording)
            try:
                self._check_sound(path)
                prompt = self._tts.read_prompt(path, text)
                check_positions(
                    marks_of(self._tts.tokenizer).count + len(prompt.tokens) + 1,
                    len(prompt.mel) // self._tts.network.reduction_factor,
                    self._tts.network,
                )
                samples = load_voice(path, RATE)
            except UserError as error:
                message = str(error).replace(str(path), "the recording")
                raise ApiError(400, message, "invalid_recording", "audio") from None
        try:
            keep_voice(name, samples, text, self._folder)
        except (OSError, UserError) as error:
            raise _exists() if name in self._saved("keep") else _own_fault(error) from None
        return [f"the recording: {note}" for note in prompt.notes]

    def remove(self, name: str) -> None:
        """Forget a saved voice and its recording."""
        with self._lock:  # nobody reads it meanwhile
            if name in self._saved("keep"):
                try:
                    remove_voice(name, self._folder)
                except (OSError, UserError) as error:
                    if name in self._saved("keep"):
                        raise _own_fault(error) from None
                self._forget({**self._own, **self._saved()})
            elif name in self._own:
                raise ApiError(403, "this voice is the model's own", "not_removable", "name")
            else:
                raise ApiError(404, "there is no such voice", "voice_not_found", "name")

    def _saved(self, missing: Literal["skip", "keep"] = "skip") -> dict[str, NamedVoice]:
        """Voices of the folder, by name."""
        try:
            return read_voices(self._folder, missing)
        except (OSError, UserError) as error:
            raise _own_fault(error) from None

    def _prompt(self, voice: NamedVoice) -> Prompt:
        key = (voice, voice.audio.stat().st_mtime_ns)  # one of the same name may have been saved since
        if key not in self._read:
            self._read = {other: read for other, read in self._read.items() if other[0] != voice}
            self._read[key] = self._tts.read_prompt(voice.audio, voice.text)
        return self._read[key]

    def _forget(self, voices: dict[str, NamedVoice]) -> None:
        """Prompts of all but these."""
        listed = {*voices.values()}
        self._read = {key: read for key, read in self._read.items() if key[0] in listed}

    def _check_sound(self, path: Path) -> None:
        """By its header, before anything is decoded; by libsndfile alone, which reads no playlists."""
        try:
            header = soundfile.info(str(path))
        except UNREADABLE:
            raise UserError("the recording is not readable; give a WAV, FLAC, Ogg or MP3 file") from None
        if header.frames > self._seconds * header.samplerate:
            raise UserError(f"the recording is longer than {self._seconds:g} s; cut out three to ten seconds")
        if header.frames * header.channels > MAX_VALUES:
            raise UserError("the recording has too many samples; convert it to one channel at 48,000 a second")


def _not_found(voices: dict[str, NamedVoice], guess: str = "") -> ApiError:
    known = ", ".join([*voices][:20]) or "none; add one"
    return ApiError(400, f"there is no such voice{guess}; there are {known}", "voice_not_found", "voice")


def _exists() -> ApiError:
    return ApiError(409, "there is a voice of this name; remove it, or take another name", "exists", "name")


def _own_fault(error: Exception) -> ApiError:
    """Of the server's files, whose paths are nobody else's."""
    logger.error("voices: %s", error)
    return ApiError(500, "the server cannot use its voices; its log says why", "internal_error")
