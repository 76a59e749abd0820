"""How readings are written down: a rule is a pattern, and what is read where it matches; and builders of such.

The builders are for rules that languages share, each with its own words. They leave numbers in figures, which are read
afterwards and then agree with the words that are written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from re import Match

from melle.text.verbalise.numbers import digits, roman

SIGN = r"(?P<sign>(?<![\w)%°])[-+±])?"  # of a number; read by ``signed``
NUMERAL = r"(?P<numeral>[IVX]+)"
_UPPER = "A-ZÄÖÜÀÂÇÉÈÊÎÔÁÍÓÚÑ"
CAPITAL = rf"[{_UPPER}]"  # the letter that begins a name
_WORD_AFTER = re.compile(r"\s([^\W\d_]+)")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)\s$")


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


def closing_point(match: Match[str]) -> str:
    """The point at a match's end, where it closes a sentence, too."""
    return "." if match[0].endswith(".") and ends_sentence(match) else ""


def word_after(match: Match[str]) -> str:
    """The word that a blank parts from a match; "" where there is none."""
    found = _WORD_AFTER.match(match.string[match.end() : match.end() + 60])
    return found[1] if found else ""


def word_before(match: Match[str]) -> str:
    """The word before a match likewise."""
    found = _WORD_BEFORE.search(match.string[max(0, match.start() - 40) : match.start()])
    return found[1] if found else ""


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as a text."""
    return frozenset(re.findall(r"\w+", text))


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def signed(match: Match[str]) -> str:
    """The sign of a number in words."""
    return {"-": "minus ", "+": "plus ", "±": "plus or minus "}.get(match["sign"] or "", "")


def abbreviations(words: dict[str, str], before: str = "", *, ends: bool = False) -> Rule:
    """Reads each abbreviation as its words, where ``before`` follows it (a pattern); a blank in it may be left out.

    A point at its end is the sentence's, too, at the text's end, and with ``ends`` before a capital.
    """
    spoken = {written.replace(" ", ""): read for written, read in words.items()}

    def read(match: Match[str]) -> str:
        key = re.sub(r"\s", "", match[1])
        word = spoken.get(key) or spoken[key[0].lower() + key[1:]]
        if match.start() == 0 or key not in spoken:
            word = word[0].upper() + word[1:]
        last = ends_sentence(match) if ends else not match.string[match.end() :].strip("\"')] ")
        if match.string[match.end() : match.end() + 1].isdecimal():  # p.5
            return f"{word} "
        return word + ("." if match[1].endswith(".") and last else "")

    written = any_of(set(words) | {word[0].upper() + word[1:] for word in words}).replace(r"\ ", r"\s?")
    return Rule(rf"(?<![\w.,])(?<!\b[{_UPPER}]\.\s)({written})(?![^\W\d]){before}", read)


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

    amount = r"(?<![\w.,/])(?P<number>(?:\d+\s)?\d+/\d+|\d[\d.]*(?:,\d+)?)"
    return Rule(rf"{amount}\s?(?P<unit>{any_of(names)})(?![\w/²³])", read)


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


def romans(
    pattern: str, write: Callable[[Match[str], int], str] = lambda match, value: f"{match['name']} {value}"
) -> Rule:
    """Reads the Roman numeral that ``pattern`` names by ``write`` (match, value), as figures after the name that it has
    before; what is none stays.

    Capitals or not is for ``pattern`` to say.
    """

    def read(match: Match[str]) -> str:
        value = roman(match["numeral"].upper())
        return write(match, value) if value else match[0]

    return Rule(pattern, read)


CLOCK = Rule(r"(?<=\d):(?=\d)", " ")  # 10:30
