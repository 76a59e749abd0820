"""The voices of the synthetic corpora: which of espeak's variants are clear enough, and the speakers drawn from them.

Every variant (a timbre) belongs to one split only, and so do near copies of it. espeak's are some sixty, few to learn
from: half of the training voices have timbres drawn at random. These span what espeak's span (formants' places, heights
and widths, pitch, voicing, breath, …) and are as intelligible: of the demo corpus, Whisper base gets 6.9 % of the words
wrong in drawn timbres and 6.7 % in espeak's (90 utterances each).
"""

from __future__ import annotations

import zlib

import numpy as np

from melle.corpora.espeak import ACCENTS, Voice

# How voices were chosen: Whisper base heard each variant of espeak-ng 1.52 say 20 digits in four accents. Those with 3
# errors or more are excluded (Andy, AnxiousAndy, Jacky, john, RicishayMax, RicishayMax3), and so are whispers, robots,
# echoes (Marco, RicishayMax2) and other oddities. Timbres are as far apart as their log-mel bands differ, in mean and
# deviation (root mean square): whatever is nearer than 0.15 to a held-out variant is in the same split, and copies
# (steph2 and steph3 of steph, klatt6 of adam) are excluded. The "" is the language's own voice.
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

# Heights (%) of the nine formants of espeak's synthesizer, from and to; formant 0 is the voice bar below the first one.
_HEIGHTS = ((70, 130), (75, 140), (65, 130), (50, 130), (35, 130), (35, 120), (0, 120), (0, 110), (0, 110))


RATE = (105, 126)  # words per minute, from the first to below the second
WORD_GAP = 10  # pause between words, in units of 10 ms
PITCH = (35, 71)  # 0 to 99, from the first to below the second


def train_voices(count: int, generator: np.random.Generator) -> list[Voice]:
    """``count`` voices: by turns one of espeak's variants, of another vocal tract, and one of a drawn timbre."""
    variants = _interleave(TRAIN_FEMALE, TRAIN_MALE)
    voices = []
    for index in range(count):
        accent, pitch, rate = _draw(generator)
        # Every other voice has a timbre of its own …
        if index % 2:
            timbre = draw_timbre(generator)
            name = f"train-{index:03d}-drawn"
            voices.append(Voice(name, accent, timbre=timbre, pitch=pitch, rate=rate, word_gap=WORD_GAP))
            continue
        # … and the others differ in the length of their vocal tract, by steps of 1/49 of espeak's 22050 Hz, so that
        # resampling to 16 kHz stays cheap.
        variant = variants[index // 2 % len(variants)]
        tract = int(generator.integers(42, 58)) / 49
        rate = round(rate / tract)
        voices.append(_of_variant("train", index, variant, accent, pitch, rate, tract))
    return voices


def held_out_voices(split: str, count: int, generator: np.random.Generator) -> list[Voice]:
    """``count`` voices of "validation" or "test": espeak's variants that are kept for it, one after the other."""
    variants = VALIDATION_VARIANTS if split == "validation" else TEST_VARIANTS
    voices = []
    for index in range(count):
        accent, pitch, rate = _draw(generator)
        variant = variants[index % len(variants)]
        voices.append(_of_variant(split, index, variant, accent, pitch, rate))
    return voices


def draw_timbre(generator: np.random.Generator) -> str:
    """Lines of an espeak voice file, for ``Voice.timbre``. Nearly half of the timbres are women's."""
    uniform = generator.uniform
    female = generator.random() < 0.45
    size = uniform(1.02, 1.2) if female else uniform(0.88, 1.04)  # of all formants' frequencies: the vocal tract
    low = np.exp(uniform(np.log(140), np.log(210)) if female else uniform(np.log(65), np.log(120)))  # Hz
    lines = [f"gender {'female' if female else 'male'}", f"pitch {low:.0f} {low * uniform(1.2, 1.7):.0f}"]
    for number, (least, most) in enumerate(_HEIGHTS):
        place = 100 * size * uniform(0.94, 1.06) if number else 100 * uniform(0.9, 1.15)
        lines.append(f"formant {number} {place:.0f} {uniform(least, most):.0f} {uniform(65, 160):.0f}")
    lines.append(f"voicing {uniform(60, 150):.0f}")
    lines.append(f"consonants {uniform(60, 120):.0f} {uniform(60, 120):.0f}")
    lines.append(f"roughness {generator.integers(0, 4)}")
    lines.append(f"flutter {generator.integers(0, 9)}")
    if generator.random() < 0.5:  # loudness over frequency: 255 is full, at the Hz before it
        lines.append(f"tone 600 255 1200 {uniform(100, 255):.0f} 2200 {uniform(20, 255):.0f}")
    if generator.random() < 0.25:
        lines.append(f"klatt {generator.integers(1, 6)}")  # another model of the voice's source
    if generator.random() < 0.3:
        breath = uniform(1, 5)
        lines.append("breath " + " ".join(f"{breath * uniform(0.3, 1.5):.0f}" for _ in range(8)))
    if generator.random() < 0.5:
        lines.append(f"intonation {generator.integers(1, 4)}")
    if generator.random() < 0.5:  # pitch of stressed and unstressed syllables
        stress = uniform(0, 3) * np.array([0, 0, -10, -10, 0, 0, 20, 40])
        lines.append("stressAdd " + " ".join(str(int(value)) for value in stress))
    return "\n".join(lines)


def describe(voices: list[Voice]) -> dict[str, str]:
    """What a corpus notes of its voices, to know whether it was made with the same ones."""
    return {
        voice.name: f"{voice.language}+{voice.variant}, timbre {zlib.crc32(voice.timbre.encode())}, "
        f"pitch {voice.pitch}, {voice.rate} words per minute, tract {voice.tract:.3f}"
        for voice in voices
    }


def _draw(generator: np.random.Generator) -> tuple[str, int, int]:
    """Accent, pitch and rate."""
    accent = list(ACCENTS)[generator.integers(len(ACCENTS))]
    return accent, int(generator.integers(*PITCH)), int(generator.integers(*RATE))


def _of_variant(split: str, index: int, variant: str, accent: str, pitch: int, rate: int, tract: float = 1.0) -> Voice:
    name = f"{split}-{index:03d}-{(variant or 'plain').replace(' ', '')}"
    return Voice(name, accent, variant, pitch=pitch, rate=rate, word_gap=WORD_GAP, tract=tract)


def _interleave(female: tuple[str, ...], male: tuple[str, ...]) -> tuple[str, ...]:
    """Two variants of men, then one of women, and again: of women's variants there are few, and so they recur."""
    variants: list[str] = []
    for index, variant in enumerate(male):
        variants.append(variant)
        if index % 2:
            variants.append(female[index // 2 % len(female)])
    return tuple(variants)
