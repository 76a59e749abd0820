"""What the corpora of espeak's voices have in common: settings, splits, and being made once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from melle.corpora.espeak import Voice
from melle.corpora.synthetic import Line, check_replaceable, description_of, make_corpus
from melle.corpora.voices import Manner, describe, held_out_voices, train_voices
from melle.errors import UserError


@dataclass
class SpokenCorpus(ABC):
    """``prepare()`` makes the corpus in ``folder``, unless it is there already with these settings."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int]  # raised when the same settings come to make another corpus
    MANNER: ClassVar[Manner]

    folder: str | Path
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
                raise UserError(f"{name}={value} of the {self.NAME} corpus must be above 0")

    @abstractmethod
    def seconds(self) -> float:
        """Of a training utterance, on average over voices and texts."""

    @abstractmethod
    def texts(self, split: str, voices: int, count: int, generator: np.random.Generator) -> Iterable[list[str]]:
        """For each of so many voices of a split, the ``count`` texts that it speaks."""

    def prepare(self) -> Path:
        """Make the corpus if need be; return its folder, which holds train.jsonl, validation.jsonl and test.jsonl."""
        folder, settings = Path(self.folder), self._settings()
        if description_of(folder) == settings:
            return folder
        check_replaceable(folder)
        return make_corpus(folder, self._lines(), self.seed, self.workers, settings)

    def voices(self) -> dict[str, list[Voice]]:
        """The voices of each split."""
        counts = {"validation": self.validation_voices, "test": self.test_voices}
        return {
            "train": train_voices(self.train_voices, self.MANNER, self._generator("train", "voices")),
            **{
                split: held_out_voices(split, count, self.MANNER, self._generator(split, "voices"))
                for split, count in counts.items()
            },
        }

    def _lines(self) -> dict[str, list[Line]]:
        in_training = max(1, round(self.hours * 3600 / self.train_voices / self.seconds()))
        splits = {}
        for split, voices in self.voices().items():
            count = in_training if split == "train" else self.held_out_utterances
            texts = self.texts(split, len(voices), count, self._generator(split, "texts"))
            splits[split] = [
                Line(f"{voice.name}-{index:03d}", text, voice)
                for voice, own in zip(voices, texts)
                for index, text in enumerate(own)
            ]
        return splits

    def _generator(self, *purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *"/".join(purpose).encode()])

    def _settings(self) -> dict:
        settings = {name: value for name, value in asdict(self).items() if name not in ("folder", "workers")}
        voices = describe([voice for split in self.voices().values() for voice in split])
        return {"corpus": self.NAME, "version": self.VERSION, **settings, "voices": voices}
