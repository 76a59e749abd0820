"""A corpus by a teacher, a synthesizer to learn from: who says what follows from the settings and a seed.

Speakers in training are the teacher's published voices and blends of them, which are new voices.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import numpy as np

from melle.console import did_you_mean
from melle.corpora.generate import FORMATS, Item, Synthesizer
from melle.errors import UserError

BLENDED = 1.5  # concentration of the weights in a blend, before it is drawn apart from the mean voice
# How many times as far from the mean of the voices as the blend itself. Of Kokoro's voices, plain blends lie closer
# together (mean similarity of two 0.63, by Resemblyzer) than the voices do (0.54); drawn apart by 1.4 and 1.8 they have
# 0.58 and 0.54, and Whisper still mishears no more than one word in a hundred.
APART = (1.2, 1.8)
OF_THREE = 0.25  # share of blends of three voices; the others are of two
SPEEDS = (0.9, 1.1)  # of speakers, from and to
BLEND_SHARE = 1.6  # how often a blend speaks, where a published voice of average quality does so 6 times
VERSION = 3  # raised when the same settings come to say something else
JITTER = 0.03  # utterances are faster or slower than their speaker's pace by up to this
HELD_OUT_SPLITS = {"validation": 60, "test": 96, "test_seen": 96}  # utterances, at most


@dataclass(frozen=True)
class PublishedVoice:
    """A voice that the teacher has."""

    name: str
    language: str  # espeak's code, "en-us"
    quality: float = 1.5  # by its makers' grades, 0 to 6: the better ones speak more
    foreign: bool = False  # of another language than it speaks here: in training alone, after the others


@dataclass(frozen=True)
class Speaker:
    """A published voice, or a blend of several, which is a new speaker."""

    name: str
    language: str  # espeak's code
    weights: tuple[tuple[str, float], ...]  # published voices and their weights, which sum to 1
    speed: float = 1.0  # 1: the teacher's own pace
    share: float = 1.0  # how often it speaks, relative to others


class Teacher(Synthesizer, Protocol):
    """Speaks as a ``Speaker``. ``identity`` says which model it is, in plain values: a corpus is spoken by one."""

    identity: dict
    published: Sequence[PublishedVoice]


def draw_speakers(
    published: Sequence[PublishedVoice], count: int, held_out: Collection[str], generator: np.random.Generator
) -> list[Speaker]:
    """``count`` speakers of training: the published voices that are not held out, the best first, then blends of them.

    A blend speaks with the accent of its heaviest voice. It is drawn apart from the mean of all voices, so that all of
    them have a weight in it, most a small negative one.
    """
    voices = [voice for voice in published if voice.name not in held_out]
    voices.sort(key=lambda voice: (voice.foreign, -voice.quality))
    if not voices:
        raise UserError("every voice of the teacher is held out; hold out fewer with --held-out")
    speakers = [
        Speaker(voice.name, voice.language, ((voice.name, 1.0),), _speed(generator), 4 * voice.quality)
        for voice in voices[:count]
    ]
    if count > len(voices) == 1:
        raise UserError(f"{voices[0].name} is the only voice to train on, and blends need two; ask for --voices 1")
    for number in range(count - len(speakers)):
        chosen = generator.choice(len(voices), min(len(voices), 3 if generator.random() < OF_THREE else 2), False)
        weights = generator.dirichlet(np.full(len(chosen), BLENDED))
        apart = generator.uniform(*APART)
        shares = np.full(len(voices), (1 - apart) / len(voices))
        shares[chosen] += apart * weights
        parts = tuple((voice.name, float(share)) for voice, share in zip(voices, shares))
        language = voices[chosen[weights.argmax()]].language
        speakers.append(Speaker(f"blend-{number:04d}", language, parts, _speed(generator), BLEND_SHARE))
    return speakers


def alone(voice: PublishedVoice) -> Speaker:
    """A published voice as a speaker, at the teacher's pace."""
    return Speaker(voice.name, voice.language, ((voice.name, 1.0),))


def blend(styles: Mapping[str, np.ndarray], speaker: Speaker) -> np.ndarray:
    """The weighted mean of the voices' style vectors, float32."""
    return np.sum([weight * styles[name] for name, weight in speaker.weights], axis=0, dtype=np.float32)


def _speed(generator: np.random.Generator) -> float:
    return float(generator.uniform(*SPEEDS))


@dataclass(frozen=True)
class Settings:
    """All that decides what is said by whom. ``hours`` of training speech, which may be raised later, is no part."""

    voices: int = 400  # speakers in training, published voices and blends of them
    held_out: tuple[str, ...] = ()  # published voices for the test alone
    seed: int = 0
    format: str = "flac"
    held_out_utterances: int = 96  # of each of the other splits, at most

    def __post_init__(self) -> None:
        if self.voices < 1 or self.held_out_utterances < 1:
            raise UserError("a corpus needs a voice and an utterance at least; give larger numbers")
        if self.format not in FORMATS:
            raise UserError(f"format {self.format}: choose {' or '.join(FORMATS)}")


class TeacherPlan:
    """The items of every split: ``train``; ``validation`` and ``test_seen`` in published voices of training,
    saying other sentences; ``test`` in voices that nothing else has.

    Args:
        held_out_texts: for "validation" and "test"; one half of the latter is said by held-out voices, the other by
            voices of training.
    """

    def __init__(
        self,
        teacher: Teacher,
        texts: Sequence[str],
        held_out_texts: Mapping[str, Sequence[str]],
        settings: Settings,
    ):
        self.settings, self.held_out_texts = settings, held_out_texts
        self._identity = {**teacher.identity, "published_voices": len(teacher.published)}
        held_out = [voice for voice in teacher.published if voice.name in settings.held_out]
        if unknown := {*settings.held_out} - {voice.name for voice in held_out}:
            known = ", ".join(voice.name for voice in teacher.published)
            guess = did_you_mean(min(unknown), [voice.name for voice in teacher.published])
            raise UserError(f"--held-out {','.join(sorted(unknown))}{guess}: the teacher's voices are {known}")
        draw = np.random.default_rng([settings.seed, 1])
        train = draw_speakers(teacher.published, settings.voices, settings.held_out, draw)
        names = {speaker.name for speaker in train}
        trained = [alone(voice) for voice in teacher.published if voice.name in names and not voice.foreign]
        self.speakers = {
            "train": train,
            "validation": trained,
            "test": [alone(voice) for voice in held_out],
            "test_seen": trained,
        }
        self.texts = training_texts(texts, held_out_texts)
        if not self.texts:
            raise UserError("there is no text to speak in training; give --texts a file with a sentence a line")
        shares = np.array([speaker.share for speaker in train])
        self._shares = shares / shares.sum()

    def splits(self) -> dict[str, Iterator[Item]]:
        """The items of every split, in order; those of training without end."""
        return {**{split: self._held_out_items(split) for split in HELD_OUT_SPLITS}, "train": self._train_items()}

    def _held_out_items(self, split: str) -> Iterator[Item]:
        speakers = self.speakers[split]
        for number, text in enumerate(self._held_out(split)):
            yield _item(split, number, text, speakers[number % len(speakers)])

    def _train_items(self) -> Iterator[Item]:
        """Every text once before any comes again, said by speakers drawn by their shares."""
        for turn in itertools.count():
            order = np.random.default_rng([self.settings.seed, 3, turn]).permutation(len(self.texts))
            for number, place in enumerate(order, start=turn * len(order)):
                draw = np.random.default_rng([self.settings.seed, 2, number])
                speaker = self.speakers["train"][draw.choice(len(self._shares), p=self._shares)]
                speed = speaker.speed * float(draw.uniform(1 - JITTER, 1 + JITTER))
                yield _item("train", number, self.texts[place], replace(speaker, speed=speed))

    def describe(self) -> dict:
        """What the corpus notes, to know whether it was spoken by the same plan."""
        described = {
            "version": VERSION,
            **self._identity,
            "texts": digest_of(self.texts, self.held_out_texts),
            **asdict(self.settings),
        }
        return json.loads(json.dumps(described))

    def _held_out(self, split: str) -> Sequence[str]:
        texts = self.held_out_texts["test" if split == "test_seen" else split]
        if split.startswith("test"):
            texts = texts[split == "test_seen" :: 2] if self.speakers["test"] else texts
        most = min(self.settings.held_out_utterances, HELD_OUT_SPLITS[split])
        return texts[:most] if self.speakers[split] else ()


def _item(split: str, number: int, text: str, speaker: Speaker) -> Item:
    return Item(split, number, f"{split}-{number:06d}", text, speaker, speaker.language.split("-")[0])


def training_texts(texts: Sequence[str], held_out_texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Each text once, without those that are held out."""
    unwanted = {_key(text) for split in held_out_texts.values() for text in split}
    return [text for text in dict.fromkeys(texts) if _key(text) not in unwanted]


def digest_of(texts: Sequence[str], held_out_texts: Mapping[str, Sequence[str]]) -> str:
    """Identifies the texts of training (``training_texts``) and of the other splits."""
    every_text = "\n".join([*texts, "", *itertools.chain.from_iterable(held_out_texts.values())])
    return hashlib.sha256(every_text.encode()).hexdigest()[:16]


def _key(text: str) -> str:
    """By which texts are the same: their words."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
