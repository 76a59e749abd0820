"""Numbers in German, French, Spanish and Italian, by num2words: whole ones, decimals, ordinals, money, per cent.

What stands beside them, such as units and dates, is read by each language's own rules first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match
from typing import NamedTuple

from melle.text.verbalise.numbers import LONGEST, cardinal, digits, ordinal, plain_figures, whole
from melle.text.verbalise.rules import Rule, apply


class Language(NamedTuple):
    """How numbers are written, and the words that num2words does not give."""

    code: str
    thousands: str  # between groups of three figures
    point: str  # how the decimal comma is read
    minus: str
    percent: str
    ordinal: str  # pattern of what follows the figures of an ordinal
    currencies: dict[str, tuple[str, str]]  # one, many
    rules: tuple[Rule, ...]  # that come before the numbers
    # From num2words' words, and a match that ``verbalise_numbers`` found, what is read of it:
    read_ordinal: Callable[[str, Match[str]], str]  # as the noun after it asks, or the letters behind the figures
    agree: Callable[[str, Match[str]], str]  # of a number, with what it counts


def verbalise_numbers(text: str, language: Language) -> str:
    """The text with its numbers in the language's words; all else stays."""
    text = apply(language.rules, plain_figures(text))
    group = re.escape(language.thousands)
    number = rf"(?<![\w.,])(?P<sign>-)?(?P<whole>\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:,(?P<part>\d+))?"
    signs = "".join(language.currencies)
    pattern = rf"(?:(?P<before>[{signs}])\s?)?{number}(?:\s?(?P<after>[{signs}%])|(?P<ordinal>{language.ordinal}))?"
    text = re.sub(pattern, lambda match: _read(match, language), text)
    return re.sub(r"\d+", lambda match: f" {whole(match[0], language.code)} ", text)


def _read(match: Match[str], language: Language) -> str:
    figures = match["whole"].replace(language.thousands, "")
    if match["ordinal"] is not None and len(figures) <= 4 and not match["part"]:
        return language.read_ordinal(ordinal(int(figures), language.code), match)
    money = match["before"] or match["after"]
    words = whole(figures, language.code)
    if not money and not match["part"] and not match["ordinal"] and len(figures) <= LONGEST:
        words = language.agree(words, match)
    if match["part"] and not (money and money != "%" and len(match["part"]) == 2):
        words = f"{words} {language.point} {digits(match['part'], language.code)}"
    if money == "%":
        words = f"{words} {language.percent}"
    elif money:
        one, many = language.currencies[money]
        words = one if figures == "1" else f"{words} {many}"
        if match["part"] and len(match["part"]) == 2 and int(match["part"]):
            words = f"{words} {cardinal(int(match['part']), language.code)}"
    sign = f"{language.minus} " if match["sign"] else ""
    return f"{sign}{words}{match['ordinal'] or ''}"
