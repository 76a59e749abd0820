"""Speech from the espeak-ng synthesizer, through its C library as the wheel ``espeakng-loader`` carries it."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melle.corpora.generate import Spoken
from melle.corpora.postprocess import Words
from melle.errors import UserError

# Values of the C interface (espeak-ng/speak_lib.h).
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT_ON_ERROR = 0x8000
_POSITION_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7
_LIST_END, _WORD = 0, 1  # types of events

# espeak's codes of accents, and its files of them. Whisper base understood digits best in these: 1 to 4 % of the words
# wrong, against 6 to 9 % in en-gb-x-rp, en-gb-x-gbclan and en-029.
ACCENTS = {
    "en-us": "gmw/en-US",
    "en-us-nyc": "gmw/en-US-nyc",
    "en-gb": "gmw/en",
    "en-gb-scotland": "gmw/en-GB-scotland",
    "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd",
}
_OWN = "own"  # the variant's name for a timbre of one's own

QUIET = 0.003  # samples below this are the pause after a word: espeak's own, or the end of an echo


class _Event(ctypes.Structure):
    """espeak_EVENT of the C interface."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Voice:
    """A speaker: an accent, a timbre and a manner of speaking."""

    name: str  # our speaker id, also a folder's name
    language: str  # espeak's language code, the accent: "en-us", "en-gb-scotland"
    variant: str = ""  # the timbre: a file of espeak's voices/!v, "f2", "Andy"; "" is the language's own voice
    timbre: str = ""  # or a timbre of one's own: what such a file would hold, "formant 1 105 90 120\nvoicing 80"
    pitch: int = 50  # 0 to 99
    rate: int = 115  # words per minute
    pitch_range: int = 50  # 0 (monotonous) to 99
    word_gap: int = 10  # pause between words, in units of 10 ms
    # All frequencies times this, as from a shorter vocal tract, by playing faster; the corpus does it, not espeak.
    tract: float = 1.0


class Espeak:
    """Synthesizes text in memory. What it says depends on the text and the voice alone.

    espeak-ng carries phases, flutter and echo from one utterance into the next in static variables that nothing in its
    interface resets. So the library is loaded afresh for every utterance, which costs about 1 ms, and from a copy of
    its own: whoever else in the process holds the original, as phonemizer does, would keep it from being unloaded.
    Voices with a ``timbre`` of their own are written into a copy of espeak's data (19 MB), made for the first of them.
    """

    margin, silence = 0.05, -55.0  # seconds, dB: as ``postprocess`` trims what is said

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise UserError(
                'espeak-ng is missing, which makes the demo corpus; run: python -m pip install -e ".[demo]"'
            ) from None
        self._folder = tempfile.TemporaryDirectory(prefix="melle-espeak-", ignore_cleanup_errors=True)
        self._library = shutil.copy(espeakng_loader.get_library_path(), self._folder.name)
        self._data = self._original = espeakng_loader.get_data_path()
        _unload(self._open())

    def speak(self, text: str, voice: Voice) -> Spoken:
        """``text`` as mono float32 samples (N,) in [-1, 1], and the times of its words as they are spoken.

        ``voice.tract`` is not applied: the sample rate says how fast the samples are to be played.
        """
        name = self._voice_name(voice)
        chunks: list[np.ndarray] = []
        begins: set[int] = set()  # samples at which a word begins

        def collect(samples, count: int, events) -> int:
            if count > 0:
                chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
            number = 0
            while events and events[number].type != _LIST_END:
                event = events[number]
                if event.type == _WORD:
                    begins.add(event.sample)
                number += 1
            return 0  # go on

        callback = _CALLBACK(collect)  # must outlive the library, which holds a pointer to it
        library = self._open()
        try:
            library.espeak_SetSynthCallback(callback)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # initialisation seeds its own generator by the clock,
            if sys.platform != "win32":
                library.srand(1)  # and the breath of some voices comes from C's
            _check(library.espeak_SetVoiceByName(name.encode()), f"the voice {name}")
            parameters = {
                _RATE: voice.rate,
                _VOLUME: 100,
                _PITCH: voice.pitch,
                _RANGE: voice.pitch_range,
                _WORDGAP: voice.word_gap,
            }
            for parameter, value in parameters.items():
                _check(library.espeak_SetParameter(parameter, value, 0), f"{voice}")
            data = text.encode() + b"\0"
            result = library.espeak_Synth(
                data, ctypes.c_size_t(len(data)), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
            )
            _check(result, f"the text {text!r}")
        finally:
            _unload(library)
        if not any(chunk.any() for chunk in chunks):
            raise UserError(f"espeak-ng says nothing for the text {text!r}; give it words that can be spoken")
        samples = np.concatenate(chunks).astype(np.float32) / 32768
        rate = round(self.sample_rate * voice.tract)
        return Spoken(samples, rate, _word_times(samples, sorted(begins), rate))

    def _open(self) -> ctypes.CDLL:
        library = ctypes.CDLL(self._library)
        rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(self._data), _DONT_EXIT_ON_ERROR)
        if rate <= 0:
            _unload(library)
            raise UserError(f"espeak-ng finds no data in {self._data}; reinstall espeakng-loader")
        self.sample_rate: int = rate  # samples per second, 22050
        return library

    def _voice_name(self, voice: Voice) -> str:
        """espeak's own name of the voice. It ignores an unknown variant without a word, so that is checked here."""
        if voice.language not in ACCENTS:
            raise UserError(f'no voice of language "{voice.language}"; choose one of {", ".join(ACCENTS)}')
        identifier = ACCENTS[voice.language]
        if voice.timbre:
            if self._data == self._original:
                self._data = shutil.copytree(self._original, Path(self._folder.name) / "data")
            own = Path(self._data) / "voices" / "!v" / _OWN
            own.write_text(f"language variant\n{voice.timbre}\n", encoding="utf-8")
            return f"{identifier}+{_OWN}"
        if not voice.variant:
            return identifier
        if not (Path(self._data) / "voices" / "!v" / voice.variant).is_file():
            raise UserError(f'espeak-ng has no voice variant "{voice.variant}"; choose a file of its voices/!v folder')
        return f"{identifier}+{voice.variant}"


def _word_times(samples: np.ndarray, begins: list[int], rate: int) -> Words:
    """Begin and end of words in seconds: of what is audible between one word's event and the next."""
    words = []
    for begin, end in zip(begins, [*begins[1:], len(samples)]):
        loud = np.flatnonzero(np.abs(samples[begin:end]) > QUIET)
        if len(loud):
            words.append(((begin + int(loud[0])) / rate, (begin + int(loud[-1]) + 1) / rate))
    return tuple(words)


def _check(status: int, what: str) -> None:
    if status != 0:
        raise UserError(f"espeak-ng refuses {what} (status {status}); give it another")


def _unload(library: ctypes.CDLL) -> None:
    """Take the library, with its static variables, out of the process."""
    import _ctypes  # what ctypes itself loads with; the only way to unload

    library.espeak_Terminate()
    close = _ctypes.FreeLibrary if sys.platform == "win32" else _ctypes.dlclose
    close(library._handle)
