"""The demo corpus: spoken strings of digits in many synthetic voices, made in under a minute.

Small models learn to speak it within minutes and Whisper understands it, while the voices of validation and test are
never in training.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from melle.corpora.espeak import Espeak, Voice
from melle.corpora.generate import Item, description_of, speak_corpus
from melle.corpora.voices import describe, held_out_voices, train_voices
from melle.errors import UserError

VERSION = 4  # raised when the same settings come to make another corpus
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LENGTHS = (0.06, 0.20, 0.28, 0.26, 0.20)  # probability of 1, 2, … 5 digits
SECONDS_PER_DIGIT = 0.67  # on average over the voices, pauses included


@dataclass
class DigitCorpus:
    """One to five digits an utterance, slowly spoken. ``prepare()`` makes it, unless it is there with these settings.

    It lies in a folder of its own in ``folder``, named by a hash of the settings: with others it is made beside, and
    nothing is removed that a run may be using. An interrupted one goes on where it was.
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
        """Speak the corpus, or what is missing of it; return its folder."""
        if description_of(self.path) != self._settings or not (self.path / "train.jsonl").is_file():
            Espeak()  # which may be missing: before anything is written
            speak_corpus(self.path, Espeak, self._items(), self._settings, seed=self.seed, workers=self.workers)
        return self.path

    def voices(self) -> dict[str, list[Voice]]:
        """The voices of each split."""
        counts = {"validation": self.validation_voices, "test": self.test_voices}
        held_out = {
            split: held_out_voices(split, count, self._generator(split, "voices")) for split, count in counts.items()
        }
        return {**held_out, "train": train_voices(self.train_voices, self._generator("train", "voices"))}

    def _items(self) -> dict[str, list[Item]]:
        seconds = SECONDS_PER_DIGIT * float(np.dot(LENGTHS, range(1, 6)))  # of an utterance, on average
        in_training = max(1, round(self.hours * 3600 / self.train_voices / seconds))
        splits = {}
        for split, voices in self.voices().items():
            count = in_training if split == "train" else self.held_out_utterances
            generator = self._generator(split, "texts")
            said = [(voice, index, text) for voice in voices for index, text in enumerate(_texts(count, generator))]
            splits[split] = [
                Item(split, number, f"{voice.name}-{index:03d}", text, voice, voice.language)
                for number, (voice, index, text) in enumerate(said)
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
