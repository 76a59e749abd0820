"""Which utterances are spoken with which prompts."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from melle.data.manifest import Utterance, with_duration
from melle.errors import UserError


@dataclass(frozen=True)
class Pair:
    """An utterance to speak, and another one of the same speaker to take the voice from."""

    target: Utterance
    prompt: Utterance


def cross_sentence_pairs(
    utterances: Sequence[Utterance],
    count: int = 120,
    seed: int = 0,
    min_seconds: float = 2.0,
    max_seconds: float = 6.0,
) -> list[Pair]:
    """Pairs for cross-sentence prompting (paper §4.3): prompt and target share the speaker, never the text.

    At most ``count`` targets, spread evenly over the speakers. A target's prompt is drawn among the utterances of
    ``min_seconds`` to ``max_seconds``, or is the one nearest to these lengths; it depends on the seed and the target's
    id only, not on ``count`` or the order of the manifest. Raises UserError where no pair can be made.
    """
    voices = defaultdict(list)
    for utterance in utterances:
        if utterance.speaker is not None:
            voices[utterance.speaker].append(utterance)
    turns = []
    for speaker, own in sorted(voices.items()):
        own = sorted(own, key=lambda utterance: (utterance.id, str(utterance.audio_path)))
        seconds = [with_duration(utterance).duration for utterance in own]
        outside = [max(min_seconds - length, length - max_seconds, 0.0) for length in seconds]
        pairs = []
        for target in own:
            choice = [(far, other) for far, other in zip(outside, own) if _words(other) != _words(target)]
            if choice:
                nearest = min(far for far, _ in choice)
                pool = [other for far, other in choice if far == nearest]
                pairs.append(Pair(target, random.Random(f"{seed}/{target.id}").choice(pool)))
        random.Random(f"{seed}/{speaker}").shuffle(pairs)
        turns.extend((turn, speaker, pair) for turn, pair in enumerate(pairs))
    if not turns:
        raise UserError("no speaker of the test manifest has two utterances of different text; add some")
    turns.sort(key=lambda item: item[:2])
    return [pair for _, _, pair in turns[:count]]


def _words(utterance: Utterance) -> list[str]:
    return utterance.transcription.lower().split()
