"""Pauses that a text asks for, "Ready? [pause 1.5s] Go!", and gaps between its sentences."""

from __future__ import annotations

import re
from typing import NamedTuple

from melle.errors import UserError
from melle.synthesis.options import LONGEST_GAP
from melle.text.base import is_speakable
from melle.text.normalise import check_text

_MARK = re.compile(r"\[\s*pause\b([^\]\[]*)\]", re.I)
_LENGTH = re.compile(r"[\s:=]*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|sec|seconds?)?\s*", re.I)


class Piece(NamedTuple):
    """What is spoken without a break, and the seconds of silence before it."""

    text: str
    pause: float


def split_pauses(text: str) -> tuple[list[Piece], float]:
    """The pieces between the pauses of a text, and the seconds of silence after the last one.

    Silences that follow each other add up. Raises UserError for a mark that is none, or no text (``check_text``).
    """
    check_text(text)
    parts = _MARK.split(text)  # by turns text and what a mark holds
    pieces: list[Piece] = []
    pause = 0.0
    for number, part in enumerate(parts):
        if number % 2:
            pause += _seconds(part)
            if pause > LONGEST_GAP:
                raise UserError(f"[pause{part}]: {pause:g} s of silence; {LONGEST_GAP:g} s at a time are the most")
        elif number == 0 and len(parts) == 1:
            return [Piece(text, 0.0)], 0.0
        else:
            closing = re.match(r"\s*[.,;:!?…]*", part)[0]  # what closes the words before the mark
            if closing.strip() and pieces:
                pieces[-1] = pieces[-1]._replace(text=pieces[-1].text + closing.strip())
                part = part[len(closing) :]
            if is_speakable(part):
                pieces.append(Piece(part.strip(), pause))
                pause = 0.0
    return pieces, pause


def split_sentences(pieces: list[Piece], gap: float, language: str) -> list[Piece]:
    """The sentences of the pieces, with ``gap`` seconds between them where no pause is asked for."""
    import sentencex

    found = []
    for piece in pieces:
        pause = piece.pause
        for sentence in sentencex.segment(language, piece.text):
            if is_speakable(sentence):
                found.append(Piece(sentence.strip(), pause))
                pause = gap
    return found or pieces


def _seconds(written: str) -> float:
    found = _LENGTH.fullmatch(written)
    if found is None:
        raise UserError(f"[pause{written}]: say how long, such as [pause 0.5s] or [pause 300ms]")
    return float(found[1]) / (1000 if (found[2] or "").lower() == "ms" else 1)
