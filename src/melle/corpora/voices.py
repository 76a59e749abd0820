"""The voices of the synthetic corpora: which of espeak's variants are clear enough, and the speakers drawn from them.

Every variant (a timbre) belongs to one split only, and so do near copies of it. Half of the training voices have
timbres drawn at random, which are none of espeak's.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from melle.corpora.espeak import Voice
from melle.corpora.timbres import draw_timbre

# How voices were chosen: Whisper base heard each variant of espeak-ng 1.52 say 20 digits in four accents. Those with 3
# errors or more are left out (Andy, AnxiousAndy, Jacky, john, RicishayMax, RicishayMax3), and so are whispers, robots,
# echoes (Marco, RicishayMax2) and other oddities. Timbres are as far apart as their log-mel bands differ, in mean and
# deviation (root mean square): whatever is nearer than 0.15 to a held-out variant is in the same split, and copies
# (steph2 and steph3 of steph, klatt6 of adam) are left out. The "" is the language's own voice.
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


@dataclass(frozen=True)
class Manner:
    """How voices speak."""

    accents: tuple[str, ...]  # espeak's codes; one that occurs twice is drawn twice as often
    rate: tuple[int, int]  # words per minute, from the first to below the second
    word_gap: int  # pause between words, in units of 10 ms
    pitch: tuple[int, int] = (35, 71)  # 0 to 99, from the first to below the second


def train_voices(count: int, manner: Manner, generator: np.random.Generator) -> list[Voice]:
    """``count`` voices: by turns one of espeak's variants, of another vocal tract, and one of a drawn timbre."""
    variants = _interleave(TRAIN_FEMALE, TRAIN_MALE)
    voices = []
    for index in range(count):
        accent, pitch, rate = _draw(manner, generator)
        # Sixty timbres are few to learn from: in training, every other voice has one of its own …
        if index % 2:
            timbre = draw_timbre(generator)
            name = f"train-{index:03d}-drawn"
            voices.append(Voice(name, accent, timbre=timbre, pitch=pitch, rate=rate, word_gap=manner.word_gap))
            continue
        # … and the others differ in the length of their vocal tract, by steps of 1/49 of espeak's 22050 Hz, so that
        # resampling to 16 kHz stays cheap.
        variant = variants[index // 2 % len(variants)]
        tract = int(generator.integers(42, 58)) / 49
        rate = round(rate / tract)
        voices.append(_of_variant("train", index, variant, accent, pitch, rate, manner.word_gap, tract))
    return voices


def held_out_voices(split: str, count: int, manner: Manner, generator: np.random.Generator) -> list[Voice]:
    """``count`` voices of "validation" or "test": espeak's variants that are kept for it, one after the other."""
    variants = VALIDATION_VARIANTS if split == "validation" else TEST_VARIANTS
    voices = []
    for index in range(count):
        accent, pitch, rate = _draw(manner, generator)
        variant = variants[index % len(variants)]
        voices.append(_of_variant(split, index, variant, accent, pitch, rate, manner.word_gap))
    return voices


def describe(voices: list[Voice]) -> dict[str, str]:
    """What a corpus notes of its voices, to know whether it was made with the same ones."""
    return {
        voice.name: f"{voice.language}+{voice.variant}, timbre {zlib.crc32(voice.timbre.encode())}, "
        f"pitch {voice.pitch}, {voice.rate} words per minute, tract {voice.tract:.3f}"
        for voice in voices
    }


def _draw(manner: Manner, generator: np.random.Generator) -> tuple[str, int, int]:
    """Accent, pitch and rate."""
    accent = manner.accents[generator.integers(len(manner.accents))]
    return accent, int(generator.integers(*manner.pitch)), int(generator.integers(*manner.rate))


def _of_variant(
    split: str, index: int, variant: str, accent: str, pitch: int, rate: int, gap: int, tract: float = 1.0
) -> Voice:
    name = f"{split}-{index:03d}-{(variant or 'plain').replace(' ', '')}"
    return Voice(name, accent, variant, pitch=pitch, rate=rate, word_gap=gap, tract=tract)


def _interleave(female: tuple[str, ...], male: tuple[str, ...]) -> tuple[str, ...]:
    """Two variants of men, then one of women, and again: of women's variants there are few, and so they recur."""
    variants: list[str] = []
    for index, variant in enumerate(male):
        variants.append(variant)
        if index % 2:
            variants.append(female[index // 2 % len(female)])
    return tuple(variants)
