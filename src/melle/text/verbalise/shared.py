"""Builders of rules that German, French, Spanish and Italian share: each language gives the words.

The rules leave numbers in figures, which are read afterwards and then agree with the words that are written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from re import Match

from melle.text.verbalise.numbers import digits, roman
from melle.text.verbalise.rules import Rule, ends_sentence

NUMERAL = r"(?P<numeral>[IVX]+)"
_UPPER = "A-ZÄÖÜÀÂÇÉÈÊÎÔÁÍÓÚÑ"
CAPITAL = rf"[{_UPPER}]"  # the letter that begins a name


def _pattern(words: Iterable[str]) -> str:
    """Any of the abbreviations, of which a blank may be left out and a point is a point."""
    return "|".join(re.escape(word).replace(r"\ ", r"\s?") for word in sorted(words, key=len, reverse=True))


def _key(written: str) -> str:
    return re.sub(r"\s", "", written)


def abbreviations(words: dict[str, str], before: str = "", *, ends: bool = False) -> Rule:
    """Reads each abbreviation as its words, where ``before`` follows it (a pattern).

    A point at its end is the sentence's, too, at the text's end, and with ``ends`` before a capital.
    """
    spoken = {_key(written): read for written, read in words.items()}

    def read(match: Match[str]) -> str:
        key = _key(match[1])
        word = spoken.get(key) or spoken[key[0].lower() + key[1:]]
        if match.start() == 0 or key not in spoken:
            word = word[0].upper() + word[1:]
        last = ends_sentence(match) if ends else not match.string[match.end() :].strip("\"')] ")
        return word + ("." if match[1].endswith(".") and last else "")

    written = set(words) | {word[0].upper() + word[1:] for word in words}
    return Rule(rf"(?<![\w.,])(?<!\b[{_UPPER}]\.\s)({_pattern(written)})(?!\w){before}", read)


def units(names: dict[str, tuple[str, str]], *, of: str = " ", below_two: bool = False) -> Rule:
    """5 km as "5 kilómetros"; 1, and with ``below_two`` 1,5, takes the first of the two names, and 3/4 with ``of``
    before it."""

    def read(match: Match[str]) -> str:
        one, many = names[match["unit"]]
        single = match["number"] == "1" or (below_two and re.match(r"[01](?:,|$)", match["number"]))
        if "/" in match["number"]:
            if " " in match["number"]:
                return f"{match['number']} {many}"
            return f"{match['number']}{' ' if match['number'] == '1/2' else of}{one}"
        return f"{match['number']} {one if single else many}"

    pattern = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return Rule(rf"(?<![\w.,/])(?P<number>(?:\d+\s)?\d+/\d+|\d[\d.]*(?:,\d+)?)\s?(?P<unit>{pattern})(?![\w/²³])", read)


def dates(months: str, write: Callable[[int, str, str], str]) -> Rule:
    """22/07/1998, or with points or hyphens, as ``write`` (day, month's name, year) gives it; the day is first."""
    names = months.split()

    def read(match: Match[str]) -> str:
        day, month = int(match["day"]), int(match["month"])
        if not (1 <= day <= 31 and 1 <= month <= 12):
            return match[0]
        return write(day, names[month - 1], match["year"])

    return Rule(
        r"(?<![\w.,/-])(?P<day>\d{1,2})(?P<sign>[./-])\s?(?P<month>\d{1,2})(?P=sign)\s?(?P<year>\d{4})(?![\w/-]|[.,]\d)",
        read,
    )


def fractions(share: Callable[[int, int], str], mixed: Callable[[int, str], str], half: Callable[[int], str]) -> Rule:
    """3/4 as ``share`` (3, 4), 2 3/4 as ``mixed`` (2, that), 2 1/2 as ``half`` (2); only what is less than one."""

    def read(match: Match[str]) -> str:
        above, below = int(match["above"]), int(match["below"])
        if not above < below:
            return match[0]
        if match["whole"] is None:
            return share(above, below)
        whole = int(match["whole"])
        return half(whole) if (above, below) == (1, 2) else mixed(whole, share(above, below))

    return Rule(
        r"(?<![\w.,/])(?:(?P<whole>[1-9]\d?)\s)?(?P<above>[1-9]\d?)/(?P<below>[2-9]|1\d|20|100)(?![\w/-]|[.,]\d)", read
    )


def telephone(code: str, plus: str) -> tuple[Rule, ...]:
    """+49 30 123456 and 030 1234567 figure by figure, with a comma between the groups; +5 with ``plus``."""

    def read(match: Match[str]) -> str:
        groups = re.findall(r"\d+", match[0])
        if sum(map(len, groups)) < 7:
            return match[0]
        return (f"{plus} " if match[0][0] == "+" else "") + ", ".join(digits(group, code) for group in groups)

    return (
        Rule(r"(?<![\w.,/+-])(?:\+\d{1,3}|\(?0\d{1,5}\)?)(?:[ /-]\d{2,12}){1,5}(?![\w/-]|[.,]\d)", read),
        Rule(r"(?<![\w)])\+\s?(?=\d)", f"{plus} "),
    )


def romans(pattern: str, write: Callable[[Match[str], int], str]) -> Rule:
    """Reads the Roman numeral that ``pattern`` names by ``write`` (match, value); what is none stays.

    Capitals or not is for ``pattern`` to say.
    """

    def read(match: Match[str]) -> str:
        value = roman(match["numeral"].upper())
        return write(match, value) if value else match[0]

    return Rule(pattern, read)
