"""Which cases can be spoken at all: what cannot is known before the work begins, and costs nothing but itself."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from pathlib import Path

from melle.audio import MelSpec
from melle.checkpoint import load_description
from melle.errors import UserError
from melle.evaluation.protocols import Case
from melle.evaluation.systems import voice_given, voice_key
from melle.synthesis.prompt import hear_voice
from melle.text.base import is_speakable


def usable_cases(protocol: str, cases: Sequence[Case]) -> list[Case]:
    """The cases with something to say, in a voice that can be heard; of each other one a line on stderr says why not.

    Raises UserError where none is left.
    """
    found, voices, why = [], {}, None
    for case in cases:
        why = _missing(case, voices)
        if why is None:
            found.append(case)
        else:
            print(f"{case.target.id} is left out of {protocol}: {why}", file=sys.stderr)
    if cases and not found:
        raise UserError(f"protocol={protocol}: no utterance can be spoken ({why})")
    return found


def speakable(cases: Sequence[Case], checkpoint: Path) -> list[Case]:
    """The cases whose texts the model's tokenizer can express; others are told. UserError where there is none."""
    tokenizer = load_description(checkpoint).tokenizer
    kept, reason = [], ""
    for case in cases:
        utterance = case.target
        try:
            for utterance in filter(None, (case.target, case.prompt)):
                tokenizer.encode(utterance.transcription, strict=True)
            kept.append(case)
        except UserError as error:
            reason = reason or f"utterance {utterance.id}: {error}"
    if not kept:
        raise UserError(f"{checkpoint} can speak none of {len(cases)} utterances; {reason}")
    if reason:
        print(f"{len(cases) - len(kept)} of {len(cases)} utterances are not spoken; {reason}", file=sys.stderr)
    return kept


def _missing(case: Case, voices: dict[Hashable, str | None]) -> str | None:
    """What a model would refuse the case for. ``voices``: the same of voices that were heard before."""
    for whose, one in (("", case.target), ("prompt's ", case.prompt)):
        if one is not None and not is_speakable(one.transcription):
            return f"the {whose}text {one.transcription[:40]!r} holds nothing to say"
    key = voice_key(case)
    if key is None:
        return None
    if key not in voices:
        voices[key] = None
        try:
            _hear(case)
        except UserError as error:
            voices[key] = str(error)
    return voices[key]


def _hear(case: Case) -> None:
    rate = MelSpec().sample_rate
    if case.prompt is not None:
        hear_voice(case.prompt.audio_path, rate)
    else:
        hear_voice(voice_given(case, rate), rate, f"{case.target.audio_path}, its first {case.given:g} s")
