"""How readings are written down: a pattern, and what is read where it matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from re import Match

SIGN = r"(?P<sign>(?<![\w)%°])[-+±])?"  # of a number; read by ``signed``


class Rule:
    """Reads every match of ``pattern`` by ``read``, in its place in the text."""

    def __init__(self, pattern: str, read: Callable[[Match[str]], str] | str, flags: int = 0):
        self.pattern, self.read = re.compile(pattern, flags), read

    def __call__(self, text: str) -> str:
        return self.pattern.sub(self.read, text)


def apply(rules: Iterable[Callable[[str], str]], text: str) -> str:
    """The rules one after the other."""
    for rule in rules:
        text = rule(text)
    return text


def ends_sentence(match: Match[str]) -> bool:
    """Whether the point at a match's end closes a sentence, too: nothing follows, or a word with a capital."""
    return re.match(r"""["')\]]*(?:$|\s+["'(]*[A-Z](?!-))""", match.string[match.end() :]) is not None


def signed(match: Match[str]) -> str:
    """The sign of a number in words."""
    return {"-": "minus ", "+": "plus ", "±": "plus or minus "}.get(match["sign"] or "", "")
