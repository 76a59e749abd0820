"""A teacher that costs nothing: every word is a tone of 0.2 s, pauses are 0.1 s, and 0.3 s of silence go before."""

import zlib
from pathlib import Path

import numpy as np

from melle.corpora.generate import Spoken
from melle.corpora.teacher import PublishedVoice
from melle.errors import UserError

RATE, BEFORE, WORD, PAUSE = 24000, 0.3, 0.2, 0.1
VOICES = ("af_a", "af_b", "am_c", "bf_d", "bm_e", "bm_f")


class FakeTeacher:
    margin, silence = 0.1, -40.0

    def __init__(self, folder=None, languages=("en",), voices=VOICES):
        self.folder = folder and Path(folder)
        self.identity = {"teacher": "fake"}
        self.published = [PublishedVoice(name, "en-us") for name in voices]

    def speak(self, text, speaker):
        words = text.split()
        if not any(character.isalnum() for character in text):
            raise UserError(f"the text {text!r} has nothing to say")
        assert sum(weight for _, weight in speaker.weights) == 1 or len(speaker.weights) > 1
        pitch = 100 + zlib.crc32(speaker.name.encode()) % 200
        pieces, times, now = [np.zeros(int(BEFORE * RATE))], [], BEFORE
        for word in words:
            time = np.arange(int(WORD * RATE)) / RATE
            pieces += [0.3 * np.sin(2 * np.pi * (pitch + 20 * len(word)) * time), np.zeros(int(PAUSE * RATE))]
            times.append((now, now + WORD))
            now += WORD + PAUSE
        return Spoken(np.concatenate(pieces).astype(np.float32), RATE, tuple(times))
