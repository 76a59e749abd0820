"""A text in parts that the model can speak at once, with the silences between them.

Pauses that it asks for, "Ready? [pause 1.5s] Go!", and gaps between sentences part it; and what is longer than the
model's texts is spoken sentence by sentence, by clauses, or by runs of words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from melle.checkpoint import ModelDescription
from melle.errors import UserError
from melle.model import Melle
from melle.synthesis.options import MAX_GAP, DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.request import check_positions
from melle.text import Tokenizer, marks_of
from melle.text.languages import find_language
from melle.text.normalise import check_text, is_speakable

PAUSE = 0.25  # seconds, between parts of a text that is too long to be spoken at once
MAX_TOKENS = 300  # of a text spoken at once, where the training data's longest is not known
WIDE = "，、；：。"  # after which scripts without blanks have none
# After these a clause ends: comma, semicolon and colon before a blank ("3,000" is one word), full-width ones, and dash.
CLAUSE = re.compile(rf"(?<=[,;:])\s+|(?<=[{WIDE}])\s*|\s+(?=[–—-]\s)")
_MARK = re.compile(r"\[\s*pause\b([^\]\[]*)\]", re.I)
_LENGTH = re.compile(r"[\s:=]*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|sec|seconds?)?\s*", re.I)


class Part(NamedTuple):
    """What is spoken at once, the seconds of silence before it, and its tokens once it was encoded."""

    text: str
    pause: float
    tokens: Sequence[int] = ()


def make_parts(
    text: str,
    prompt: Prompt | None,
    language: str | None,
    options: DecodingOptions,
    model: ModelDescription,
    network: Melle,
) -> tuple[list[Part], list[float]]:
    """What is spoken one after the other, with its tokens, and the seconds of silence before, between and after.

    Its sentences are split as in ``language``; None: as in the model's (``find_language``).

    Raises UserError for a text without anything to say, or a pause that is none.
    """
    pieces, after = split_pauses(text)
    if not pieces:
        raise UserError(f"the text {text[:40]!r} holds nothing to say; give at least one word")
    language = find_language(language, model.tokenizer)
    if options.sentence_gap is not None:
        pieces = split_sentences(pieces, options.sentence_gap, language)
    parts: list[Part] = []
    for piece in pieces:
        parts += _encode(piece, prompt, language, model, network, alone=len(pieces) == 1, first=not parts)
    return parts, [*(part.pause for part in parts), after]


def split_pauses(text: str) -> tuple[list[Part], float]:
    """The pieces between the pauses of a text, and the seconds of silence after the last one.

    Silences that follow each other add up. Raises UserError for a mark that is none, or no text (``check_text``).
    """
    check_text(text)
    parts = _MARK.split(text)  # by turns text and what a mark holds
    pieces: list[Part] = []
    pause = 0.0
    for number, part in enumerate(parts):
        if number % 2:
            pause += _seconds(part)
            if pause > MAX_GAP:
                raise UserError(f"[pause{part}]: {pause:g} s of silence; {MAX_GAP:g} s at a time are the most")
        elif number == 0 and len(parts) == 1:
            return [Part(text, 0.0)], 0.0
        else:
            closing = re.match(r"\s*[.,;:!?…]*", part)[0]  # what closes the words before the mark
            if closing.strip() and pieces:
                pieces[-1] = pieces[-1]._replace(text=pieces[-1].text + closing.strip())
                part = part[len(closing) :]
            if is_speakable(part):
                pieces.append(Part(part.strip(), pause))
                pause = 0.0
    return pieces, pause


def split_sentences(pieces: list[Part], gap: float, language: str) -> list[Part]:
    """The sentences of the pieces, with ``gap`` seconds between them where no pause is asked for."""
    import sentencex

    found = []
    for piece in pieces:
        pause = piece.pause
        for sentence in sentencex.segment(language, piece.text):
            if is_speakable(sentence):
                found.append(Part(sentence.strip(), pause))
                pause = gap
    return found or pieces


def _encode(
    piece: Part,
    prompt: Prompt | None,
    language: str,
    model: ModelDescription,
    network: Melle,
    alone: bool,
    first: bool,
) -> Iterator[Part]:
    """With tokens, in as few parts as the model can speak; ``alone``: of a text; ``first``: of several."""
    tokenizer, follows = model.tokenizer, bool(prompt.tokens) if prompt is not None else not first
    tokens = encode_text(piece.text, tokenizer, follows)
    most = model.most_tokens or MAX_TOKENS
    marks = marks_of(tokenizer).count
    before = marks + (0 if prompt is None else len(prompt.tokens))
    if network.max_positions is not None:
        room = network.max_positions[0]
        most = min(most, room - before)
        if most < 1:
            check_positions(before + len(tokens), 0, network)
        if prompt is None and (not alone or len(tokens) > most):  # the first part is the prompt of the others
            most = min(most, (room - marks) // 2)
    if len(tokens) <= most:
        yield piece._replace(tokens=tokens)
        return

    def encode(text: str, follows: bool = follows) -> list[int]:
        """Without the warnings that the whole text had. What cannot be spoken alone, such as a dash, has no tokens."""
        try:
            return tokenizer.encode_known(text, follows=follows)[0]
        except UserError:
            return []

    pause = piece.pause
    for text in split_text(piece.text, lambda text: (len(encode(text)) or len(text)) <= most, language):
        if tokens := encode(text, follows):
            yield Part(text, pause, tokens)
            pause, follows = PAUSE, True


def split_text(text: str, fits: Callable[[str], bool], language: str = "en") -> list[str]:
    """Parts of ``text`` in order, without white space around. A text that fits stays whole.

    ``fits`` is asked of what has neither letter nor digit, too, which goes with the part before it, or after it; or
    nowhere where it fits to neither, such as a row of a hundred asterisks.
    """
    text = text.strip()
    if not text or fits(text):
        return [text]
    import sentencex

    parts: list[str] = []
    for sentence in sentencex.segment(language, text):
        parts.extend(_shorten(sentence.strip(), fits))
    joined: list[str] = []
    waiting = ""  # what cannot be spoken, and waits for the part after it
    for part in filter(None, parts):
        if any(character.isalnum() for character in part):
            longer = f"{waiting} {part}".strip()
            joined.append(longer if fits(longer) else part)
            waiting = ""
        elif not joined:
            waiting = f"{waiting} {part}".strip() if fits(f"{waiting} {part}".strip()) else waiting
        elif fits(f"{joined[-1]} {part}"):
            joined[-1] = f"{joined[-1]} {part}"
    return joined


def list_texts(text: Any) -> list[str]:
    """One text, or several, as a list. Raises UserError where ``check_text`` does."""
    texts = [text] if isinstance(text, str | bytes) or not isinstance(text, Iterable) else list(text)
    for one in texts:
        check_text(one)
    return texts


def encode_text(text: str, tokenizer: Tokenizer, follows: bool = False) -> list[int]:
    """Its tokens (``follows``: after another text). Raises UserError where there is nothing to say."""
    if text.strip() and not is_speakable(text):
        raise UserError(f"the text {text[:40]!r} holds nothing to say; give at least one word")
    return tokenizer.encode(text, follows=follows)


def show_text(text: str, tokenizer: Tokenizer) -> str:
    """The text as it is read aloud, with its pauses."""
    pieces, after = split_pauses(text)
    shown = []
    for piece in pieces:
        shown += [f"[pause {piece.pause:g}s]"] if piece.pause else []
        shown.append(tokenizer.spoken(piece.text))
    return " ".join([*shown, *([f"[pause {after:g}s]"] if after else [])])


def _shorten(sentence: str, fits: Callable[[str], bool]) -> Iterator[str]:
    if fits(sentence):
        yield sentence
        return
    clauses = [clause.strip() for clause in CLAUSE.split(sentence) if clause.strip()]
    for run in _fill(clauses, fits):
        if fits(run):
            yield run
        else:
            for words in _fill(run.split(), fits):
                # In a script without blanks a clause is one word.
                yield from [words] if fits(words) else _fill(list(words), fits, between="")


def _fill(pieces: list[str], fits: Callable[[str], bool], between: str = " ") -> Iterator[str]:
    """As many pieces together as fit."""
    run = ""
    for piece in pieces:
        longer = f"{run}{'' if run[-1] in WIDE else between}{piece}" if run else piece
        if run and not fits(longer):
            yield run
            run = piece
        else:
            run = longer
    if run:
        yield run


def _seconds(written: str) -> float:
    found = _LENGTH.fullmatch(written)
    if found is None:
        raise UserError(f"[pause{written}]: say how long, such as [pause 0.5s] or [pause 300ms]")
    return float(found[1]) / (1000 if (found[2] or "").lower() == "ms" else 1)
