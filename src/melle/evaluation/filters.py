"""Filters of cases: those that no model, or a given one, can speak are left out before the work, with a warning."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence

from melle.audio import MelSpec
from melle.data.index import tokens_of
from melle.errors import UserError
from melle.evaluation.protocols import Case
from melle.synthesis.prompt import load_voice
from melle.text import Tokenizer
from melle.text.normalise import is_speakable

log = logging.getLogger(__name__)


def filter_cases(protocol: str, cases: Sequence[Case]) -> list[Case]:
    """The cases with something to say, in a voice that is audible; a warning says why each other one is left out.

    Raises UserError where none is left.
    """
    kept, fault = [], None
    voices: dict[Hashable, str | None] = {None: None}  # faults of those that were read
    for case in cases:
        if case.voice_key not in voices:
            voices[case.voice_key] = _voice_fault(case)
        fault = _text_fault(case) or voices[case.voice_key]
        if fault is None:
            kept.append(case)
        else:
            log.warning("%s is left out of %s: %s", case.target.id, protocol, fault)
    if cases and not kept:
        raise UserError(f"protocol={protocol}: no utterance can be spoken ({fault})")
    return kept


def filter_by_tokenizer(cases: Sequence[Case], tokenizer: Tokenizer) -> list[Case]:
    """The cases whose texts the tokenizer can express, in its language; one warning counts the others.

    Raises UserError where there is none.
    """
    kept, reason = [], ""
    for case in cases:
        utterance = case.target
        try:
            for utterance in filter(None, (case.target, case.prompt)):
                tokens_of(utterance.transcription, utterance.language, tokenizer)
            kept.append(case)
        except UserError as error:
            reason = reason or f"utterance {utterance.id}: {error}"
    if cases and not kept:
        raise UserError(f"the model can speak none of {len(cases)} utterances; {reason}")
    if reason:
        log.warning("%d of %d utterances are not spoken; %s", len(cases) - len(kept), len(cases), reason)
    return kept


def _text_fault(case: Case) -> str | None:
    for whose, one in (("", case.target), ("prompt's ", case.prompt)):
        if one is not None and not is_speakable(one.transcription):
            return f"the {whose}text {one.transcription[:40]!r} holds nothing to say"
    return None


def _voice_fault(case: Case) -> str | None:
    """What a model would refuse the voice for that is given."""
    rate = MelSpec().sample_rate
    try:
        if case.prompt is not None:
            load_voice(case.prompt.audio_path, rate)
        else:
            load_voice(case.voice(rate), rate, f"{case.target.audio_path}, its first {case.given:g} s")
    except UserError as error:
        return str(error)
    return None
