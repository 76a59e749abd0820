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
    count: int | None = 120,
    seed: int = 0,
    min_seconds: float = 2.0,
    max_seconds: float = 6.0,
    target_seconds: tuple[float, float] = (0.0, float("inf")),
) -> list[Pair]:
    """Pairs for cross-sentence prompting (paper §4.3): prompt and target share the speaker, never the text.

    At most ``count`` targets of ``target_seconds`` (least, most), spread evenly over the speakers. A target's prompt is
    drawn among the utterances of ``min_seconds`` to ``max_seconds``, or is the one nearest to these lengths; it depends
    on the seed and the target's id only, not on ``count`` or the order of the manifest. Raises UserError where no pair
    can be made.
    """
    candidates, targets = {}, []
    for own in by_speaker([utterance for utterance in utterances if utterance.speaker is not None]):
        levels = defaultdict(list)  # what is said, and the utterance, of those equally far from the wanted lengths
        for one in own:
            levels[_far(one, min_seconds, max_seconds)].append((_words(one), one))
        if len({words for level in levels.values() for words, _ in level}) > 1:
            candidates[own[0].speaker] = [level for _, level in sorted(levels.items())]
            targets += within(own, target_seconds)
    if not targets:
        least, most = target_seconds
        length = f" one of them of {least:g} to {most:g} s," if target_seconds != (0.0, float("inf")) else ""
        raise UserError(f"no speaker of the test manifest has two utterances of different text,{length} add some")
    pairs = []
    for target in spread_over_speakers(targets, count, seed):
        text = _words(target)
        others = ([one for words, one in level if words != text] for level in candidates[target.speaker])
        prompts = next(filter(None, others))
        pairs.append(Pair(target, random.Random(f"{seed}/{target.id}").choice(prompts)))
    return pairs


def by_speaker(utterances: Sequence[Utterance]) -> list[list[Utterance]]:
    """The utterances of each speaker with their durations, in an order that the manifest's does not change."""
    voices = defaultdict(list)
    for utterance in utterances:
        voices[utterance.speaker or ""].append(with_duration(utterance))
    return [sorted(own, key=lambda item: (item.id, str(item.audio_path))) for _, own in sorted(voices.items())]


def within(utterances: Sequence[Utterance], seconds: tuple[float, float]) -> list[Utterance]:
    """Those that last ``seconds`` (least, most)."""
    least, most = seconds
    return [utterance for utterance in utterances if least <= utterance.duration <= most]


def spread_over_speakers(utterances: Sequence[Utterance], count: int | None, seed: int) -> list[Utterance]:
    """At most ``count``, drawn from every speaker in turn; of fewer the first of more."""
    turns = []
    for own in by_speaker(utterances):
        random.Random(f"{seed}/{own[0].speaker}").shuffle(own)
        turns.extend((turn, utterance.speaker or "", utterance) for turn, utterance in enumerate(own))
    turns.sort(key=lambda item: item[:2])
    return [utterance for *_, utterance in turns[:count]]


def _far(utterance: Utterance, least: float, most: float) -> float:
    """Seconds by which it is shorter than ``least`` or longer than ``most``."""
    return max(least - utterance.duration, utterance.duration - most, 0.0)


def _words(utterance: Utterance) -> str:
    return " ".join(utterance.transcription.lower().split())
