"""The demo corpus: spoken strings of digits in many synthetic voices, made in under a minute.

Small models learn to speak it within minutes and Whisper understands it, while the voices of validation and test are
never heard in training: each of espeak's variants (its timbres) belongs to one split only, and so do near copies of it.
Half of the training voices have timbres drawn at random, which are none of espeak's.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from melle.data.corpora.espeak import Voice
from melle.data.corpora.synthetic import DESCRIPTION, Line, check_replaceable, make_corpus
from melle.data.corpora.timbres import draw_timbre
from melle.errors import UserError

VERSION = 3  # raise it when the same settings come to make another corpus
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LENGTHS = (0.06, 0.20, 0.28, 0.26, 0.20)  # probability of 1, 2, … 5 digits
SECONDS_PER_DIGIT = 0.67  # on average over the voices, pauses included

# How voices were chosen: Whisper base heard each variant of espeak-ng 1.52 say 20 digits in four accents. Those with 3
# errors or more are left out (Andy, AnxiousAndy, Jacky, john, RicishayMax, RicishayMax3), and so are whispers, robots,
# echoes (Marco, RicishayMax2) and other oddities. Of the accents it understood these best: 1 to 4 % of the words wrong,
# against 6 to 9 % in en-gb-x-rp, en-gb-x-gbclan and en-029. Timbres are as far apart as their log-mel bands differ, in
# mean and deviation (root mean square): whatever is nearer than 0.15 to a held-out variant is in the same split, and
# copies (steph2 and steph3 of steph, klatt6 of adam) are left out. The "" is the language's own voice.
ACCENTS = ("en-us", "en-us-nyc", "en-gb", "en-gb-scotland", "en-gb-x-gbcwmd")
TRAIN_FEMALE = ("f1", "f2", "f5", "Alicia", "Andrea", "anika", "aunty", "grandma", "steph", "zac")
TRAIN_MALE = (
    *("", "Alex", "Denis", "Diogo", "Henrique", "Hugo", "Lee", "Mario", "Mike", "Mr serious", "Nguyen", "Reed"),
    *("Storm", "Tweaky", "adam", "announcer", "antonio", "benjamin", "boris", "ed", "edward", "edward2", "grandpa"),
    *("iven", "iven2", "iven3", "iven4", "klatt", "klatt2", "klatt3", "klatt4", "klatt5", "m1", "m2", "m3", "m4"),
    *("m5", "m6", "m7", "marcelo", "max", "michel", "miguel", "mike2", "pablo", "pedro", "quincy", "travis", "victor"),
)
VALIDATION_VARIANTS = ("linda", "david", "belinda", "norbert", "sandro")  # the women's are the least clear of all
TEST_VARIANTS = (
    *("shelby", "robert", "f3", "Gene", "Annie", "Michael", "f4", "paul", "m8"),
    *("rob", "Gene2", "gustave"),  # near robert, Gene and Michael
)


@dataclass
class DigitCorpus:
    """``prepare()`` makes the corpus in ``folder``, unless it is there already with these settings."""

    folder: str | Path = "data/demo"
    seed: int = 0
    hours: float = 2.0  # of training speech, approximately
    train_voices: int = 400
    validation_voices: int = 10
    test_voices: int = 12
    held_out_utterances: int = 20  # per voice of validation and test
    workers: int | None = None  # processes; None: one per core

    def __post_init__(self) -> None:
        for name in ("hours", "train_voices", "validation_voices", "test_voices", "held_out_utterances"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}={getattr(self, name)} of the digit corpus must be above 0")

    def prepare(self) -> Path:
        """Make the corpus if need be; return its folder, which holds train.jsonl, validation.jsonl and test.jsonl."""
        folder = Path(self.folder)
        if self._is_there(folder):
            return folder
        check_replaceable(folder)
        return make_corpus(folder, self._lines(), self.seed, self.workers, self._settings())

    def voices(self) -> dict[str, list[Voice]]:
        """The voices of each split."""
        return {
            "train": self._draw("train", self.train_voices, _interleave(TRAIN_FEMALE, TRAIN_MALE)),
            "validation": self._draw("validation", self.validation_voices, VALIDATION_VARIANTS),
            "test": self._draw("test", self.test_voices, TEST_VARIANTS),
        }

    def _draw(self, split: str, count: int, variants: tuple[str, ...]) -> list[Voice]:
        """``count`` voices that go round the variants; accent, pitch and pace are drawn for each."""
        generator = self._generator(split, "voices")
        voices = []
        for index in range(count):
            accent = ACCENTS[generator.integers(len(ACCENTS))]
            pitch, rate = int(generator.integers(35, 71)), int(generator.integers(105, 126))
            # Sixty timbres are few to learn from: in training, every other voice has one of its own …
            if split == "train" and index % 2:
                timbre = draw_timbre(generator)
                voices.append(Voice(f"{split}-{index:03d}-drawn", accent, timbre=timbre, pitch=pitch, rate=rate))
                continue
            # … and the others differ in the length of their vocal tract, by steps of 1/49 of espeak's 22050 Hz, so that
            # resampling to 16 kHz stays cheap.
            variant = variants[index // 2 % len(variants) if split == "train" else index % len(variants)]
            name = f"{split}-{index:03d}-{(variant or 'plain').replace(' ', '')}"
            tract = int(generator.integers(42, 58)) / 49 if split == "train" else 1.0
            voices.append(Voice(name, accent, variant, pitch=pitch, rate=round(rate / tract), tract=tract))
        return voices

    def _lines(self) -> dict[str, list[Line]]:
        seconds = SECONDS_PER_DIGIT * float(np.dot(LENGTHS, range(1, 6)))  # of an utterance
        in_training = max(1, round(self.hours * 3600 / self.train_voices / seconds))
        splits = {}
        for split, voices in self.voices().items():
            generator = self._generator(split, "texts")
            count = in_training if split == "train" else self.held_out_utterances
            splits[split] = [
                Line(f"{voice.name}-{index:03d}", text, voice)
                for voice in voices
                for index, text in enumerate(_texts(count, generator))
            ]
        return splits

    def _generator(self, *purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *"/".join(purpose).encode()])

    def _settings(self) -> dict:
        settings = {name: value for name, value in asdict(self).items() if name not in ("folder", "workers")}
        voices = {
            voice.name: f"{voice.language}+{voice.variant}, timbre {zlib.crc32(voice.timbre.encode())}, "
            f"pitch {voice.pitch}, {voice.rate} words per minute, tract {voice.tract:.3f}"
            for split in self.voices().values()
            for voice in split
        }
        return {"corpus": "digits", "version": VERSION, **settings, "voices": voices}

    def _is_there(self, folder: Path) -> bool:
        try:
            return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")) == self._settings()
        except (OSError, ValueError):
            return False


def _texts(count: int, generator: np.random.Generator) -> list[str]:
    lengths = generator.choice(np.arange(1, 6), size=count, p=LENGTHS)
    return [" ".join(DIGITS[digit] for digit in generator.integers(0, 10, size=length)) for length in lengths]


def _interleave(female: tuple[str, ...], male: tuple[str, ...]) -> tuple[str, ...]:
    """Two variants of men, then one of women, and again: of women's variants there are few, and so they recur."""
    variants: list[str] = []
    for index, variant in enumerate(male):
        variants.append(variant)
        if index % 2:
            variants.append(female[index // 2 % len(female)])
    return tuple(variants)
