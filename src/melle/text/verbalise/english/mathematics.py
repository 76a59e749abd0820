"""Signs between numbers and letters: comparisons, powers, arrows, Greek letters."""

from __future__ import annotations

import re
import unicodedata
from re import Match

from melle.text.verbalise.numbers import NUMBER, cardinal, number
from melle.text.verbalise.rules import Rule, word_set

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+"))
_COMPARISONS = {  # between two sides; before a number alone
    "<": ("is less than", "less than"),
    ">": ("is greater than", "more than"),
    "<=": ("is less than or equal to", "at most"),
    ">=": ("is greater than or equal to", "at least"),
    "!=": ("is not equal to", "not"),
    "≈": ("is about", "about"),
}
_SAME = {"≤": "<=", "⩽": "<=", "≥": ">=", "⩾": ">=", "≠": "!=", "≃": "≈", "≅": "≈", "==": "="}
_JOINING = word_set("a an am are as at be by for if in is of on or the to up was with when where and")
_VERB = re.compile(r"\S+\s(?:is|are|was|were|has|have|will|can|means?)\b")  # pH < 7 is acidic
_TAGS = (
    "a|abbr|b|big|br|center|code|del|div|em|font|h[1-6]|hr|i|img|ins|li|mark|ol|p|pre|s|small|span|strong|sub|sup|u|ul"
)
_SIGN = r"<=|>=|!=|[<>≤≥≠≈⩽⩾≃≅]"


def read_comparison(match: Match[str]) -> str:
    """x > 5 is "x is greater than 5", people >65 "people greater than 65", >5 alone "more than 5"."""
    sign = _SAME.get(match["sign"], match["sign"])
    between, alone = _COMPARISONS[sign]
    left = re.search(r"([^\W_]+|[)\]²³%°])\s?$", match.string[max(0, match.start() - 30) : match.start()])
    if left is None or left[1].lower() in _JOINING:
        return (
            f"{' ' if left else ''}{alone} "
            if re.match(r"[-.$£€]*\d", match.string[match.end() : match.end() + 20])
            else match[0]
        )
    if (len(left[1]) > 2 and not left[1].isdecimal()) or _VERB.match(match.string[match.end() : match.end() + 60]):
        between = between.removeprefix("is ")
    return f" {between} "


def read_power(match: Match[str]) -> str:
    """10³ is "10 cubed", x² "x squared", 2^10 "2 to the power of 10", of which the numbers are read later."""
    written = match["raised"] or match["power"]
    figures = "".join(_RAISED.get(character, character) for character in written).lstrip("+")
    if figures.lstrip("-").isdecimal() is False and match["raised"]:
        return match[0]
    named = {"2": "squared", "3": "cubed"}.get(figures)
    after = " " if match.string[match.end() : match.end() + 1].isalnum() else ""
    return f"{match['base']} {named or f'to the power of {_whole(figures)}'}{after}"


def read_scientific(match: Match[str]) -> str:
    """3.5e-6 is "three point five times ten to the power of minus six"."""
    return f"{number(match['number'])} times ten to the power of {_whole(match['power'].lstrip('+'))}"


def read_greek(match: Match[str]) -> str:
    """π is "pi"."""
    name = unicodedata.name(match[0]).split(" WITH ")[0].split()[-1].lower()
    before = " " if match.string[: match.start()][-1:].isalnum() else ""
    return f"{before}{name}{' ' if match.string[match.end() :][:1].isalnum() else ''}"


def _whole(figures: str) -> str:
    value = int(figures)
    return f"minus {cardinal(-value)}" if value < 0 else cardinal(value)


MARKUP = (
    Rule(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", " ", re.I),
    Rule(r"\b(I|[Ww]e|you|they|You|They) <3+ ", r"\1 love "),
    Rule(r"(?<=[^\W\d_])([.!]?) <3+(?=[\s.!?]*$)", r"\1 love"),
    Rule(r"\s?(?:-+>|→|⇒|⟶)\s?", " to "),
    Rule(r"^[•‣▪◦*]\s+|(?<=\s)[•‣▪◦]\s", ""),
    Rule(r"[†‡]", ""),
)
MATHEMATICS = (
    Rule(rf"\s?(?P<sign>{_SIGN})\s?(?=[-$£€]?(?:[^\W_]|\.\d))", read_comparison),
    Rule(r"(?<=\d)\s?[×x]\s?(?=10(?:[⁻⁺]?[⁰¹²³⁴-⁹]|\^))", " times "),
    Rule(
        r"(?<![A-Za-z\d])(?P<base>\d+|[A-Za-z]{1,2}|mc)(?:(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)|\^(?P<power>-?\d+)(?!\.?\d))",
        read_power,
    ),
    Rule(rf"(?<![\w.,])(?P<number>{NUMBER})[eE](?P<power>[-+]?\d{{1,3}})(?!\w)", read_scientific),
    Rule(r"√\s?", "the square root of "),
    Rule(r"∞", " infinity "),
    Rule(r"(?<=\d)\s?[·∙*]\s?(?=\d)", " times "),
    Rule(r"(?<![\u0370-\u03ff])[\u0391-\u03a9\u03b1-\u03c9](?![\u0370-\u03ff])", read_greek),
)
