"""How a text is spoken: in which parts, each with its tokens, and with which silences around them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from melle.checkpoint import ModelDescription
from melle.errors import UserError
from melle.model import Melle
from melle.synthesis.chunking import Encoded, encode_chunks
from melle.synthesis.crossfade import PAUSE
from melle.synthesis.options import DecodingOptions
from melle.synthesis.pauses import split_pauses, split_sentences
from melle.synthesis.prompt import Prompt
from melle.synthesis.request import check_positions
from melle.text import Tokenizer, marks_of
from melle.text.base import is_speakable
from melle.text.languages import language_code
from melle.text.normalise import check_text
from melle.text.verbalise import language_of

MOST_TOKENS = 300  # of a text spoken at once, where the training data's longest is not known
OTHERWISE = {"cmn": "zh", "nb": "no"}  # codes of espeak, as Whisper and others have them

logger = logging.getLogger(__name__)


class Plan(NamedTuple):
    """The parts of a text, and the seconds of silence before, between and after them."""

    chunks: list[Encoded]
    pauses: list[float]


def make_plan(
    text: str,
    prompt: Prompt | None,
    language: str | None,
    options: DecodingOptions,
    model: ModelDescription,
    network: Melle,
) -> Plan:
    """What is spoken one after the other, between the pauses that the text or the options ask for.

    Its sentences are split as in ``language``; None: as in the model's (``find_language``).

    Raises UserError for a text without anything to say, or a pause that is none.
    """
    pieces, after = split_pauses(text)
    if not pieces:
        raise UserError(f"the text {text[:40]!r} holds nothing to say; give at least one word")
    language = find_language(language, model.tokenizer)
    if options.sentence_gap is not None:
        pieces = split_sentences(pieces, options.sentence_gap, language)
    chunks: list[Encoded] = []
    pauses: list[float] = []
    for piece in pieces:
        parts = _chunk(piece.text, prompt, language, model, network, several=len(pieces) > 1)
        chunks += parts
        pauses += [piece.pause, *([PAUSE] * (len(parts) - 1))]
    return Plan(chunks, [*pauses, after])


def find_language(language: str | None, tokenizer: Tokenizer) -> str:
    """The code of a text's language; None: the tokenizer's, else English. Warns once of one that it reads wrongly."""
    own = getattr(tokenizer, "language", None) or language_of(tokenizer.normaliser or "en")
    if language is None:
        code = language_code(own)
        return OTHERWISE.get(code, code)
    if not tokenizer.speaks(language):
        _warn_language(language, own)
    return language


@cache
def _warn_language(language: str, own: str) -> None:
    logger.warning("language %s: the model reads every text as %s; take a model of that language", language, own)


def list_texts(text: Any) -> list[str]:
    """One text, or several, as a list. Raises UserError where ``check_text`` does."""
    texts = [text] if isinstance(text, str | bytes) or not isinstance(text, Iterable) else list(text)
    for one in texts:
        check_text(one)
    return texts


def encode_text(text: str, tokenizer: Tokenizer) -> list[int]:
    """Its tokens. Raises UserError where there is nothing to say."""
    if text.strip() and not is_speakable(text):
        raise UserError(f"the text {text[:40]!r} holds nothing to say; give at least one word")
    return tokenizer.encode(text)


def show_text(text: str, tokenizer: Tokenizer) -> str:
    """The text as it is read aloud, with its pauses."""
    pieces, after = split_pauses(text)
    shown = []
    for piece in pieces:
        shown += [f"[pause {piece.pause:g}s]"] if piece.pause else []
        shown.append(tokenizer.spoken(piece.text))
    return " ".join([*shown, *([f"[pause {after:g}s]"] if after else [])])


def _chunk(
    text: str, prompt: Prompt | None, language: str, model: ModelDescription, network: Melle, several: bool
) -> list[Encoded]:
    """The text with its tokens, in as few parts as the model can speak; ``several``: it is one of more."""
    tokens = encode_text(text, model.tokenizer)
    most = model.most_tokens or MOST_TOKENS
    marks = marks_of(model.tokenizer).count
    before = marks + (0 if prompt is None else len(prompt.tokens))
    if network.max_positions is not None:
        room = network.max_positions[0]
        most = min(most, room - before)
        if most < 1:
            check_positions(before + len(tokens), 0, network)
        if prompt is None and (several or len(tokens) > most):  # the first part is the prompt of the others
            most = min(most, (room - marks) // 2)
    return encode_chunks(text, tokens, most, model.tokenizer, language)
