"""Numbers in German, French, Spanish and Italian, by num2words: whole ones, decimals, ordinals, money, per cent."""

from __future__ import annotations

import re
from re import Match
from typing import NamedTuple

from melle.text.verbalise.numbers import LONGEST, cardinal, digits, ordinal, year


class Language(NamedTuple):
    """How numbers are written, and the words that num2words does not give."""

    code: str
    thousands: str  # between groups of three figures
    point: str  # how the decimal comma is read
    minus: str
    percent: str
    ordinal: str  # pattern of what follows the figures of an ordinal
    currencies: dict[str, tuple[str, str]]  # one, many


_MONTHS = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
# After these four figures are a year, of which the hundreds are counted: neunzehnhundertvierundachtzig.
_YEAR = re.compile(rf"(?<!\w)((?:Jahre?|[Ss]eit|{_MONTHS}) )(1[1-9][0-9]{{2}})(?![\w.,]*\d)")
_DATE = re.compile(r"(?<![\w.,])(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})(?![\w]|[.,]\d)")
_DEGREES = re.compile(
    r"(?<![\w.,)-])(?P<sign>-)?(?P<number>\d+(?:,\d+)?)\s?°(?:\s?(?P<celsius>C)\b|(?(sign)(?!\w)|(?!)))"
)
GERMAN = Language(
    "de", ".", "Komma", "minus", "Prozent", rf"\.(?=\s(?:{_MONTHS}|Jahrhundert|Kapitel|Platz|Mal|Tag|Stock)\b)",
    {"€": ("ein Euro", "Euro"), "$": ("ein Dollar", "Dollar"), "£": ("ein Pfund", "Pfund")},
)  # fmt: skip
FRENCH = Language(
    "fr", " ", "virgule", "moins", "pour cent", r"(?:er|re|e|ème|nd|nde)\b",
    {"€": ("un euro", "euros"), "$": ("un dollar", "dollars"), "£": ("une livre", "livres")},
)  # fmt: skip
SPANISH = Language(
    "es", ".", "coma", "menos", "por ciento", r"\.?[ºª]|(?:er|ro|ra|do|da|to|ta)\b",
    {"€": ("un euro", "euros"), "$": ("un dólar", "dólares"), "£": ("una libra", "libras")},
)  # fmt: skip
ITALIAN = Language(
    "it", ".", "virgola", "meno", "per cento", r"[ºª°]",
    {"€": ("un euro", "euro"), "$": ("un dollaro", "dollari"), "£": ("una sterlina", "sterline")},
)  # fmt: skip


def verbalise_numbers(text: str, language: Language) -> str:
    """The text with its numbers in the language's words; all else stays."""
    group = re.escape(language.thousands)
    number = rf"(?<![\w.,])(?P<sign>-)?(?P<whole>\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:,(?P<part>\d+))?"
    signs = "".join(language.currencies)
    pattern = rf"(?:(?P<before>[{signs}])\s?)?{number}(?:\s?(?P<after>[{signs}%])|(?P<ordinal>{language.ordinal}))?"
    text = re.sub(r"(?<=\d):(?=\d)", " ", text)  # 10:30
    if language is GERMAN:
        text = _YEAR.sub(lambda match: match[1] + year(int(match[2]), "de"), _DATE.sub(_date, text))
    if language is ITALIAN:  # a sign or a C tells degrees from the ordinal: 5°
        text = _DEGREES.sub(_degrees, text)
    text = re.sub(pattern, lambda match: _read(match, language), text)
    return re.sub(r"\d+", lambda match: f" {_whole(match[0], language)} ", text)


def _degrees(match: Match[str]) -> str:
    """-5° as -5 gradi, 20 °C as 20 gradi Celsius; the number is read later, but for one."""
    sign = "meno " if match["sign"] else ""
    amount = f"{sign}un grado" if match["number"] == "1" else f"{match['sign'] or ''}{match['number']} gradi"
    return f"{amount} Celsius" if match["celsius"] else amount


def _date(match: Match[str]) -> str:
    """24.12.2020 as 24. Dezember 2020, which is read later."""
    day, month = int(match[1]), int(match[2])
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return match[0]
    return f"{day}. {_MONTHS.split('|')[month - 1]} {match[3]}"


def _read(match: Match[str], language: Language) -> str:
    figures = match["whole"].replace(language.thousands, "")
    if match["ordinal"] is not None and len(figures) <= 4 and not match["part"]:
        return ordinal(int(figures), language.code) + _declension(match, language)
    money = match["before"] or match["after"]
    words = _whole(figures, language)
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


def _declension(match: Match[str], language: Language) -> str:
    """German: der dritte März, but am dritten."""
    nominative = re.search(r"\b(?:der|die|das)\s$", match.string[: match.start()], re.I)
    return "n" if language is GERMAN and not nominative else ""


def _whole(figures: str, language: Language) -> str:
    if len(figures) > LONGEST or (figures.startswith("0") and len(figures) > 1):
        return digits(figures, language.code)
    return cardinal(int(figures), language.code)
