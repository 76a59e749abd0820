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
from melle.text.base import is_speakable

log = logging.getLogger(__name__)


def filter_cases(protocol: str, cases: Sequence[Case]) -> list[Case]:
    """The cases with something to say, in a voice that is audible; a warning says why each other one is left out.

    Raises UserError where none is left.
    """
    found, voices, why = [], {}, None
    for case in cases:
        why = _missing(case, voices)
        if why is None:
            found.append(case)
        else:
            log.warning("%s is left out of %s: %s", case.target.id, protocol, why)
    if cases and not found:
        raise UserError(f"protocol={protocol}: no utterance can be spoken ({why})")
    return found


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


def _missing(case: Case, voices: dict[Hashable, str | None]) -> str | None:
    """What a model would refuse the case for. ``voices``: the same of voices that were read before."""
    for whose, one in (("", case.target), ("prompt's ", case.prompt)):
        if one is not None and not is_speakable(one.transcription):
            return f"the {whose}text {one.transcription[:40]!r} holds nothing to say"
    key = case.voice_key
    if key is None:
        return None
    if key not in voices:
        voices[key] = None
        try:
            _read(case)
        except UserError as error:
            voices[key] = str(error)
    return voices[key]


def _read(case: Case) -> None:
    rate = MelSpec().sample_rate
    if case.prompt is not None:
        load_voice(case.prompt.audio_path, rate)
    else:
        load_voice(case.voice(rate), rate, f"{case.target.audio_path}, its first {case.given:g} s")
