"""How a text is written before any tokenizer sees it: in training, evaluation and synthesis alike.

Only what looks the same or says the same is unified: composed letters, quotation marks, dashes, dots, invisible
characters and blanks. Case, numbers and abbreviations stay as they are.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from functools import lru_cache
from typing import Any

from melle.errors import UserError

MARKS = {
    **dict.fromkeys("‘’‚‛‹›′´`ʼ＇", "'"),
    **dict.fromkeys("“”„‟«»″〝〞＂", '"'),
    **dict.fromkeys("‐‑−﹣－⁃", "-"),  # hyphens and the minus
    **dict.fromkeys("‒–―", "—"),
    "…": "...",
    "\u00a0": " ",
}
_TABLE = str.maketrans(MARKS)
_RANGE = re.compile(r"(?<=\d)[‒–](?=\d)")  # 10–20
_JOINERS = "\u200c\u200d"  # with a meaning between letters of some scripts, such as Persian's
HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair, which UTF-8 cannot say
SIMPLER = {"—": " - "}  # for a tokenizer that does not know the one

logger = logging.getLogger(__name__)


def check_text(text: Any) -> None:
    """Raises UserError for what is no text, or holds half of a character, as a command line that is not UTF-8 does."""
    if not isinstance(text, str):
        raise UserError(f"the text is {_start(repr(text))}; give a string")
    if not text.isascii() and HALF.search(text):
        raise UserError(
            f"the text {_start(text)!r} holds half of a character (\\ud800 to \\udfff alone); give it in UTF-8"
        )


def normalise(text: str) -> str:
    """The text in NFC with plain quotation marks, one kind of dash, no invisible character and single blanks.

    Raises UserError where ``check_text`` does.
    """
    check_text(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _RANGE.sub("-", text).translate(_TABLE))
    if not text.isprintable():
        kept = (character for place, character in enumerate(text) if not _is_invisible(text, place))
        text = unicodedata.normalize("NFC", "".join(kept))  # what is seen side by side now may compose
    return " ".join(text.split())


def written_words(text: str) -> list[str]:
    """The words of a text as they are written; marks alone are none."""
    return [word for word in text.split() if any(character.isalnum() for character in word)]


def spellings(character: str) -> list[str]:
    """Other ways to write a character for a tokenizer that does not know it, the nearest first: é, e with a mark, e."""
    apart = unicodedata.normalize("NFKD", character)
    bare = "".join(part for part in apart if not unicodedata.combining(part))
    ways = (SIMPLER.get(character, ""), apart, bare)
    return [way for way in ways if way and way != character]


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit in it, so that without it something would not be said."""
    return any(unicodedata.category(character)[0] in "LN" for character in text)


def warn_left_out(text: str, unknown: tuple[str, ...]) -> None:
    """Log what a tokenizer leaves out of a text, once for each text."""
    shown = " ".join(repr(_start(part)) for part in unknown[:10]) + (" …" if len(unknown) > 10 else "")
    _warn_once(_start(text), shown, hash((text, unknown)))


@lru_cache(maxsize=10_000)  # of short ones: a server's texts would fill the memory
def _warn_once(where: str, shown: str, _: int) -> None:
    logger.warning("%r: the tokenizer does not know %s; the rest is spoken without", where, shown)


def _start(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_invisible(text: str, place: int) -> bool:
    character = text[place]
    if character in _JOINERS:
        return not all(
            _needs_joiners(neighbour) for neighbour in (text[place - 1 : place], text[place + 1 : place + 2])
        )
    if "\ufe00" <= character <= "\ufe0f":  # choose between two drawings of an emoji
        return True
    return unicodedata.category(character) in ("Cf", "Cc", "Co", "Cn") and not character.isspace()


def _needs_joiners(neighbour: str) -> bool:
    return bool(neighbour) and neighbour > "\u0590" and unicodedata.category(neighbour)[0] in "LM"
