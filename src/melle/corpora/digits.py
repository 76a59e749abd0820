"""The demo corpus: spoken strings of digits in many synthetic voices, made in under a minute.

Small models learn to speak it within minutes and Whisper understands it, while the voices of validation and test are
never heard in training.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from melle.corpora.espeak import Voice
from melle.corpora.synthetic import Line, description_of, make_corpus
from melle.corpora.voices import Manner, describe, held_out_voices, train_voices
from melle.errors import UserError

VERSION = 4  # raised when the same settings come to make another corpus
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LENGTHS = (0.06, 0.20, 0.28, 0.26, 0.20)  # probability of 1, 2, … 5 digits
SECONDS_PER_DIGIT = 0.67  # on average over the voices, pauses included
# Of the accents, Whisper base understood digits best in these: 1 to 4 % of the words wrong, against 6 to 9 % in
# en-gb-x-rp, en-gb-x-gbclan and en-029.
MANNER = Manner(
    accents=("en-us", "en-us-nyc", "en-gb", "en-gb-scotland", "en-gb-x-gbcwmd"), rate=(105, 126), word_gap=10
)


@dataclass
class DigitCorpus:
    """One to five digits an utterance, slowly spoken. ``prepare()`` makes it, unless it is there with these settings.

    It lies in a folder of its own in ``folder``, named by a hash of the settings: with others it is made beside, and
    nothing is removed that a run may be using.
    """

    folder: str | Path = "data/demo"
    seed: int = 0
    hours: float = 2.0  # of training speech, approximately
    train_voices: int = 400
    validation_voices: int = 10
    test_voices: int = 12
    held_out_utterances: int = 20  # per voice of validation and test
    workers: int | None = None  # processes; None: one per core

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name not in ("folder", "seed", "workers") and not value > 0:
                raise UserError(f"{name}={value} of the corpus of digits must be above 0")
        self._settings = self._describe()

    @property
    def path(self) -> Path:
        """The folder of train.jsonl, validation.jsonl and test.jsonl."""
        text = json.dumps(self._settings, sort_keys=True)
        return Path(self.folder) / hashlib.sha256(text.encode()).hexdigest()[:8]

    def prepare(self) -> Path:
        """Make the corpus if need be; return its folder."""
        if description_of(self.path) == self._settings:
            return self.path
        return make_corpus(self.path, self._lines(), self.seed, self.workers, self._settings)

    def voices(self) -> dict[str, list[Voice]]:
        """The voices of each split."""
        counts = {"validation": self.validation_voices, "test": self.test_voices}
        return {
            "train": train_voices(self.train_voices, MANNER, self._generator("train", "voices")),
            **{
                split: held_out_voices(split, count, MANNER, self._generator(split, "voices"))
                for split, count in counts.items()
            },
        }

    def _lines(self) -> dict[str, list[Line]]:
        seconds = SECONDS_PER_DIGIT * float(np.dot(LENGTHS, range(1, 6)))  # of an utterance, on average
        in_training = max(1, round(self.hours * 3600 / self.train_voices / seconds))
        splits = {}
        for split, voices in self.voices().items():
            count = in_training if split == "train" else self.held_out_utterances
            generator = self._generator(split, "texts")
            splits[split] = [
                Line(f"{voice.name}-{index:03d}", text, voice)
                for voice in voices
                for index, text in enumerate(_texts(count, generator))
            ]
        return splits

    def _generator(self, *purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *"/".join(purpose).encode()])

    def _describe(self) -> dict:
        settings = {name: value for name, value in asdict(self).items() if name not in ("folder", "workers")}
        voices = describe([voice for split in self.voices().values() for voice in split])
        return {"corpus": "digits", "version": VERSION, **settings, "voices": voices}


def _texts(count: int, generator: np.random.Generator) -> list[str]:
    lengths = generator.choice(np.arange(1, 6), size=count, p=LENGTHS)
    return [" ".join(DIGITS[digit] for digit in generator.integers(0, 10, size=length)) for length in lengths]
