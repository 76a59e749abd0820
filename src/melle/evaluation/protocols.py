"""What is spoken, and what is given for it: the protocols of zero-shot synthesis (paper §4.3).

A protocol gives at most ``count`` cases (None: all) whose recordings last ``seconds`` (least, most), the same for the
same seed, whatever the order of the utterances. It raises UserError where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from melle.audio import load_audio
from melle.data.manifest import Utterance, read_manifest, with_duration, write_manifest
from melle.data.pairs import by_speaker, cross_sentence_pairs, spread_over_speakers, within
from melle.errors import UserError

MIN_REST = 0.5  # seconds that a continuation has to go on for, at least
Seconds = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """An utterance to speak, with the voice of ``prompt``, or from its own first ``given`` seconds on, or freely."""

    target: Utterance
    prompt: Utterance | None = None
    given: float | None = None

    @property
    def voice_key(self) -> tuple[Path, float | None] | None:
        """Unlike that of other voices, and the same however its path is spelled; None: no voice is given."""
        if self.prompt is not None:
            return self.prompt.audio_path.resolve(), None
        return None if self.given is None else (self.target.audio_path.resolve(), self.given)

    def voice(self, sample_rate: int) -> Tensor:
        """The samples (N,) whose voice is given: the prompt, or the beginning of the recording."""
        if self.prompt is not None:
            return load_audio(self.prompt.audio_path, sample_rate)
        if self.given is None:
            raise ValueError(f"no voice is given for {self.target.id}")
        return load_audio(self.target.audio_path, sample_rate)[: round(self.given * sample_rate)]


def cross_sentence(
    utterances: Sequence[Utterance],
    seconds: Seconds,
    count: int | None,
    seed: int,
    min_prompt_seconds: float = 2.0,
    max_prompt_seconds: float = 6.0,
    prompts: str | Path | None = None,
) -> list[Case]:
    """The voice comes from another utterance of the same speaker, given with its text.

    Args:
        min_prompt_seconds, max_prompt_seconds: prompts are drawn among recordings of this length, or are the nearest.
        prompts: manifest whose lines are the prompts of the test manifest's lines, one for each in order (the
            reference implementation's pair of lists): nothing is drawn, and lengths do not matter.
    """
    if prompts is not None:
        return _listed(utterances, prompts, count, seed)
    if all(utterance.speaker is None for utterance in utterances):
        raise UserError(
            'no line of the test manifest names its "speaker", whose other utterances are prompts; add it, or give '
            "protocol=plain,continuation"
        )
    pairs = cross_sentence_pairs(utterances, count, seed, min_prompt_seconds, max_prompt_seconds, seconds)
    return [Case(pair.target, pair.prompt) for pair in pairs]


def continuation(
    utterances: Sequence[Utterance], seconds: Seconds, count: int | None, seed: int, prompt_seconds: float = 3.0
) -> list[Case]:
    """The first seconds of the recording are given with the text of all of it, and the model goes on."""
    if not 0 < prompt_seconds < math.inf:
        raise UserError(f"protocol.continuation.prompt_seconds={prompt_seconds} must be a number above 0")
    least = max(seconds[0], prompt_seconds + MIN_REST)
    chosen = _spread_within(utterances, (least, seconds[1]), count, seed)
    return [Case(target, None, prompt_seconds) for target in chosen]


def plain(utterances: Sequence[Utterance], seconds: Seconds, count: int | None, seed: int) -> list[Case]:
    """Nothing but the text is given; the model takes a voice of its own choosing."""
    return [Case(target) for target in _spread_within(utterances, seconds, count, seed)]


def write_lists(folder: Path, name: str, cases: Sequence[Case]) -> None:
    """``folder``/NAME_targets.jsonl, and NAME_prompts.jsonl where there are prompts: the same lists for others."""
    write_manifest(folder / f"{name}_targets.jsonl", [case.target for case in cases])
    prompts = [case.prompt for case in cases if case.prompt is not None]
    if prompts:
        write_manifest(folder / f"{name}_prompts.jsonl", prompts)


def _spread_within(utterances: Sequence[Utterance], seconds: Seconds, count: int | None, seed: int) -> list[Utterance]:
    chosen = [utterance for own in by_speaker(utterances) for utterance in within(own, seconds)]
    if not chosen:
        least, most = seconds
        raise UserError(
            f"the test manifest has no utterance of {least:g} to {most:g} s; give other lengths by data.test_seconds="
        )
    return spread_over_speakers(chosen, count, seed)


def _listed(targets: Sequence[Utterance], path: str | Path, count: int | None, seed: int) -> list[Case]:
    prompts = read_manifest(path)
    if len(prompts) != len(targets):
        raise UserError(f"{path}: has {len(prompts)} prompts for {len(targets)} test utterances; give one for each")
    cases = []
    for line, (target, prompt) in enumerate(zip(targets, prompts), 1):
        if target.audio_path.resolve() == prompt.audio_path.resolve():
            raise UserError(f"{path}: prompt {line} is the recording that is to be spoken; give another of the voice")
        if None not in (target.speaker, prompt.speaker) and target.speaker != prompt.speaker:
            raise UserError(f"{path}: prompt {line} is of {prompt.speaker}, its utterance of {target.speaker}")
        cases.append(Case(with_duration(target), prompt))
    chosen = {id(target) for target in spread_over_speakers([case.target for case in cases], count, seed)}
    return [case for case in cases if id(case.target) in chosen]
