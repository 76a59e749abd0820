"""English as it is read aloud: each kind of what is no plain word has its rules, applied in the order of ``RULES``."""

from __future__ import annotations

import re
import unicodedata

from melle.text.verbalise.english.abbreviations import ABBREVIATIONS, ALONE, ROADS, SUFFIXES
from melle.text.verbalise.english.acronyms import read_acronyms
from melle.text.verbalise.english.addresses import ADDRESSES, FILES
from melle.text.verbalise.english.amounts import AMOUNTS, NUMBERS, RANGES
from melle.text.verbalise.english.codes import CODES, TELEPHONE
from melle.text.verbalise.english.dates import DATES, SHORT_DAYS, SHORT_MONTHS, SHORT_NAMES, YEARS
from melle.text.verbalise.english.mathematics import MARKUP, MATHEMATICS
from melle.text.verbalise.english.money import MONEY, SIGNS_ALONE
from melle.text.verbalise.english.romans import ROMAN
from melle.text.verbalise.english.units import UNITS_RULES
from melle.text.verbalise.numbers import cardinal, plain_figures
from melle.text.verbalise.rules import Rule, apply

SIGNS = (
    Rule(r"\b([A-Za-z]):\s?\\", r"\1 colon backslash "),
    Rule(r"\s?\\\s?", " backslash "),
    Rule(r"\s?&\s?", " and "),
    Rule(r"(?<!\w)@(?=\w)", "at "),
    Rule(r"\s?@\s?", " at "),
    Rule(r"\s?#\s?", " hash "),
    Rule(r"\s?%", " percent"),
    Rule(r"\s?°", " degrees"),
    Rule(r"§\s?", "section "),
    Rule(r"¶\s?", "paragraph "),
    Rule(r"(?<=\w)\s*=\s*(?=\w)", " equals "),
    Rule(r"(?<=\w)\s*\+\s*(?=\w)", " plus "),
    Rule(r"(?<=\w)\s?×\s?(?=\w)", " times "),
    Rule(r"(?<=\w)/(?=(?:second|minute|hour|day|night|week|month|year|person|kg|mile)\b)", " per "),
    Rule(r"\b([A-Z])/([A-Z])\b(?!/)", r"\1-\2"),
    Rule(r"(?<=\b[A-Z]{2})/(?=[A-Z]{2,4}\b)|(?<=\b[A-Z]{3})/(?=[A-Z]{2,4}\b)|(?<=-[A-Z])/(?=[A-Z]-)", " "),
    Rule(r"(?<=[^\W_])/(?=[^\W_])", " slash "),
    *SIGNS_ALONE,
    Rule(r"\b([A-F])-(?=[\s.,;!?)]|$)", r"\1 minus"),
    Rule(r"\bC\+\+", "C plus plus"),
    Rule(r"(?<=\S)\s/\s(?=\S)", ", "),
    Rule(r"(?<!\S)/(?=\w)", "slash "),
    Rule(r"(?<=[^\W_])_+(?=[^\W_])", " underscore "),
    Rule(r"[©®™]", ""),
)
RULES = (
    *MARKUP,
    *ADDRESSES,
    *FILES,
    *CODES,
    *TELEPHONE,
    *SHORT_NAMES,
    *ABBREVIATIONS,
    *DATES,
    *ROMAN,
    *RANGES,
    *MONEY,
    *UNITS_RULES,
    *MATHEMATICS,
    *AMOUNTS,
    *YEARS,
    *NUMBERS,
    *SIGNS,
)
# Words and marks; unless there is one of these, too, no rule can match: a point within the text after less than four
# small letters, a word of the tables, capitals.
_PLAIN = re.compile(r"[A-Za-z' ,;:!?.\"—-]*")
_WORDS = [*ALONE, *SUFFIXES, *ROADS, *SHORT_DAYS, *SHORT_MONTHS]
_SHORT = re.compile(
    rf"(?<![a-z]{{4}})\.(?!$)|\b(?:{'|'.join([*_WORDS, 'Messrs', '[Vv]s'])})\b"
    r"|[A-Z][A-Z]|\b[B-HJ-Z]\b|[A-Z]\w+ I\b"
)


def verbalise(text: str) -> str:
    """A text that is normal in its marks (``normalise``) with its figures, signs and abbreviations in words."""
    if _PLAIN.fullmatch(text) and not _SHORT.search(text):
        return text
    return _read_figures(read_acronyms(apply(RULES, plain_figures(text))))


def _read_figures(text: str) -> str:
    """What is left of numbers, such as ① and ², each by its value, and of signs of money."""
    return "".join(_read_figure(character) for character in text)


def _read_figure(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Sc":
        return f" {unicodedata.name(character, '').removesuffix(' SIGN').lower()} "
    if category[0] != "N":
        return character
    value = unicodedata.numeric(character, None)
    return f" {cardinal(int(value))} " if value is not None and value == int(value) else " "
