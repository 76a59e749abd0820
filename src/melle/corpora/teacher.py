"""A teacher is a synthesizer that speaks a corpus to learn from: text and voice to samples and times of words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from melle.corpora.speaking import Synthesizer
from melle.errors import UserError

BLENDED = 6.0  # concentration of the weights in a blend: most have their voices in shares of a quarter or more
OF_THREE = 0.25  # share of blends of three voices; the others are of two
SPEEDS = (0.9, 1.1)  # of speakers, from and to
BLEND_SHARE = 1.6  # how often a blend speaks, where a published voice of average quality does so 6 times


@dataclass(frozen=True)
class PublishedVoice:
    """A voice that the teacher has."""

    name: str
    language: str  # espeak's code, "en-us"
    quality: float = 1.5  # by its makers' grades, 0 to 6: the better ones speak more


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

    A blend speaks with the accent of its heaviest voice.
    """
    voices = sorted((voice for voice in published if voice.name not in held_out), key=lambda voice: -voice.quality)
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
        parts = tuple((voices[place].name, float(weight)) for place, weight in zip(chosen, weights))
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
