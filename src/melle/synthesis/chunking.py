"""Long texts in parts that the model can speak: sentences, and where one is too long, clauses or runs of words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from melle.errors import UserError
from melle.text import Tokenizer

Encoded = tuple[str, list[int]]  # a text that fits the model, and its tokens

WIDE = "，、；：。"  # after which scripts without blanks have none
# After these a clause ends: comma, semicolon and colon before a blank ("3,000" is one word), full-width ones, and dash.
CLAUSE = re.compile(rf"(?<=[,;:])\s+|(?<=[{WIDE}])\s*|\s+(?=[–—-]\s)")


def encode_chunks(text: str, tokens: list[int], most: int, tokenizer: Tokenizer, language: str) -> list[Encoded]:
    """A text and its ``tokens``; where these are more than ``most``, its parts (``split_text``), each with its own."""
    if len(tokens) <= most:
        return [(text, tokens)]

    def encode(part: str) -> list[int]:
        """Without the warnings that the whole text had. What cannot be spoken alone, such as a dash, has no tokens."""
        try:
            return tokenizer.encode_known(part)[0]
        except UserError:
            return []

    parts = split_text(text, lambda part: (len(encode(part)) or len(part)) <= most, language)
    return [(part, ids) for part in parts if (ids := encode(part))]


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
