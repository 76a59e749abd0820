"""Long texts in parts that the model can speak: sentences, and where one is too long, clauses or runs of words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# After these a clause ends: comma, semicolon, colon and dash, also the full-width ones.
CLAUSE = re.compile(r"(?<=[,;:，、；：])\s*|\s+(?=[–—-]\s)")


def split_text(text: str, fits: Callable[[str], bool], language: str = "en") -> list[str]:
    """Parts of ``text`` in order, without white space around. A text that fits stays whole."""
    text = text.strip()
    if not text or fits(text):
        return [text]
    import sentencex

    parts: list[str] = []
    for sentence in sentencex.segment(language, text):
        parts.extend(_shorten(sentence.strip(), fits))
    # What has no letter nor digit belongs to what is before it.
    joined: list[str] = []
    for part in parts:
        if joined and not any(character.isalnum() for character in part):
            joined[-1] = f"{joined[-1]} {part}".strip()
        elif part:
            joined.append(part)
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
        longer = f"{run}{between}{piece}" if run else piece
        if run and not fits(longer):
            yield run
            run = piece
        else:
            run = longer
    if run:
        yield run
