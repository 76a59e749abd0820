"""English days of the week and months that are shortened: Mon. to Fri., Jan–Mar."""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import Match

from melle.text.verbalise.rules import Rule, ends_sentence

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORT_MONTHS = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
SHORT_DAYS = {day[:3]: day for day in DAYS} | {"Tues": "Tuesday", "Wednes": "Wednesday", "Thur": "Thursday"}
SHORT_DAYS |= {"Thurs": "Thursday"}
_SHORT = SHORT_DAYS | SHORT_MONTHS
_BETWEEN = {"-": " to ", "—": " to ", "/": " and ", "&": " and "}


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first."""
    return "|".join(sorted(words, key=len, reverse=True))


def read_row(match: Match[str]) -> str:
    """Mon.-Fri. is "Monday to Friday", Jan, Feb and Mar "January, February and March"."""
    parts = re.split(rf"\b({any_of(_SHORT)})\b\.?", match[0])
    between = [_BETWEEN.get(part.strip(), part) for part in parts[::2]]
    words = [_SHORT[part] for part in parts[1::2]]
    point = "." if match[0].endswith(".") and ends_sentence(match) else ""
    return "".join(before + word for before, word in zip(between, words)) + between[-1] + point


def read_one(match: Match[str]) -> str:
    """On Mon. is "on Monday"."""
    point = "." if match[0].endswith(".") and ends_sentence(match) else ""
    return f"{match['before'] or ''}{_SHORT[match['name']]}{point}"


def _row(names: Iterable[str]) -> str:
    """Several in a row, with or without points."""
    name = rf"\b(?:{any_of(names)})\b\.?"
    return rf"{name}(?:(?:\s?[-—/&]\s?|\s(?:to|through|thru|and|or)\s|,\s(?:and\s|or\s)?){name})+"


# "Sat." and "Sun." are words, too, and "May" and "Mar" names: these need a word before.
_SURE = "Mon|Tue|Tues|Wed|Wednes|Thu|Thur|Thurs|Fri|Jan|Feb|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
SHORT_NAMES = (
    Rule(_row(SHORT_DAYS), read_row),
    Rule(_row(set(SHORT_MONTHS) - {"May"}) + r"(?!\.?\s\d{1,2}\b)", read_row),
    Rule(rf"(?P<before>)\b(?P<name>{_SURE})\.(?!\s?\d|\w)", read_one),
    Rule(
        r"(?P<before>\b(?:on|to|from|through|until|till|by|every|next|last|this|and|or|in|since) )"
        r"(?P<name>Sat|Sun|Mar)\.(?!\s?\d|\w)",
        read_one,
        re.I,
    ),
)
