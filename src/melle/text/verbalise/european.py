"""Numbers in German, French, Spanish and Italian, by num2words: whole ones, decimals, ordinals, money, per cent.

What stands beside them, such as units and dates, is read by each language's own rules first.
"""

from __future__ import annotations

import re
from re import Match
from typing import NamedTuple

from melle.text.verbalise import agreement, french, german, italian, spanish
from melle.text.verbalise.numbers import LONGEST, cardinal, digits, ordinal, plain_figures, year
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


_MONTHS = german.MONTHS.replace(" ", "|")
# After these four figures are a year, of which the hundreds are counted: neunzehnhundertvierundachtzig.
_YEAR = re.compile(rf"(?<!\w)((?:Jahre?|[Ss]eit|{_MONTHS}) )(1[1-9][0-9]{{2}})(?![\w.,]*\d)")
_DEGREES = re.compile(
    r"(?<![\w.,)-])(?P<sign>-)?(?P<number>\d+(?:,\d+)?)\s?°(?:\s?(?P<celsius>C)\b|(?(sign)(?!\w)|(?!)))"
)
_HOURS = re.compile(r"(?<![\w.,])([01]?\d|2[0-4])\s?h\s?([0-5]\d)?(?!\w)")  # 10h30
# "Er ist 30. Die Katze schläft" has no ordinal: it takes an article before, or one of the nouns that often follow.
_ARTICLES = (
    "der|die|das|dem|den|des|am|im|zum|zur|vom|beim|ein|eine|einer|einem|einen|eines|sein|seine|seinem|seinen|seiner|"
    "ihr|ihre|ihrem|ihren|ihrer|unser|unsere|jeder|jede|jedes|jedem|jeden|dieser|diese|dieses|diesem|diesen"
)
_NOUN_AFTER = re.compile(r"\s([^\W\d_]+)")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)\s$")
GERMAN = Language(
    "de", ".", "Komma", "minus", "Prozent", rf"\.(?=\s(?:{'|'.join(agreement.GERMAN_NOUNS)})\b)",
    {"€": ("ein Euro", "Euro"), "$": ("ein Dollar", "Dollar"), "£": ("ein Pfund", "Pfund")},
    german.RULES,
)  # fmt: skip
FRENCH = Language(
    "fr", " ", "virgule", "moins", "pour cent", r"(?:er|ère|re|e|ème|nde|nd)\b",
    {"€": ("un euro", "euros"), "$": ("un dollar", "dollars"), "£": ("une livre", "livres")},
    french.RULES,
)  # fmt: skip
SPANISH = Language(
    "es", ".", "coma", "menos", "por ciento", r"\.?[ºª]|\.?er\b|(?:ro|ra|do|da|to|ta)\b",
    {"€": ("un euro", "euros"), "$": ("un dólar", "dólares"), "£": ("una libra", "libras")},
    spanish.RULES,
)  # fmt: skip
ITALIAN = Language(
    "it", ".", "virgola", "meno", "per cento", r"[ºª°]",
    {"€": ("un euro", "euro"), "$": ("un dollaro", "dollari"), "£": ("una sterlina", "sterline")},
    italian.RULES,
)  # fmt: skip


def verbalise_numbers(text: str, language: Language) -> str:
    """The text with its numbers in the language's words; all else stays."""
    text = apply(language.rules, plain_figures(text))
    group = re.escape(language.thousands)
    number = rf"(?<![\w.,])(?P<sign>-)?(?P<whole>\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:,(?P<part>\d+))?"
    signs = "".join(language.currencies)
    pattern = rf"(?:(?P<before>[{signs}])\s?)?{number}(?:\s?(?P<after>[{signs}%])|(?P<ordinal>{language.ordinal}))?"
    text = re.sub(r"(?<=\d):(?=\d)", " ", text)  # 10:30
    if language is FRENCH:
        text = _HOURS.sub(
            lambda match: f"{match[1]} heure{'' if match[1] == '1' else 's'} {match[2] or ''}".strip(), text
        )
    if language is GERMAN:
        text = re.sub(rf"(?i:\b(?:{_ARTICLES})) \d{{1,3}}\.(?=\s[A-ZÄÖÜ])", _read_german_ordinal, text)
        text = _YEAR.sub(lambda match: match[1] + year(int(match[2]), "de"), text)
    if language is ITALIAN:  # a sign or a C makes it degrees, not the ordinal: 5°
        text = _DEGREES.sub(_degrees, text)
        text = re.sub(
            r"(?<![\w.,-])1\s(?=([a-zà-ù]{3,})\b(?<!più)(?<!meno))", lambda match: agreement.italian_one(match[1]), text
        )
    text = re.sub(pattern, lambda match: _read(match, language), text)
    return re.sub(r"\d+", lambda match: f" {_whole(match[0], language)} ", text)


def _degrees(match: Match[str]) -> str:
    """-5° as -5 gradi, 20 °C as 20 gradi Celsius; the number is read later, but for one."""
    sign = "meno " if match["sign"] else ""
    amount = f"{sign}un grado" if match["number"] == "1" else f"{match['sign'] or ''}{match['number']} gradi"
    return f"{amount} Celsius" if match["celsius"] else amount


def _read_german_ordinal(match: Match[str]) -> str:
    """Am 2. Oktober, die 2. Katze: by its article."""
    article, figures = match[0].removesuffix(".").split()
    noun = _NOUN_AFTER.match(match.string[match.end() : match.end() + 60])[1]
    return f"{article} {ordinal(int(figures), 'de')}{agreement.german_ordinal_ending(article, noun)}"


def _read(match: Match[str], language: Language) -> str:
    figures = match["whole"].replace(language.thousands, "")
    if match["ordinal"] is not None and len(figures) <= 4 and not match["part"]:
        return _ordinal(int(figures), match, language)
    money = match["before"] or match["after"]
    words = _whole(figures, language)
    if not money and not match["part"] and not match["ordinal"] and len(figures) <= LONGEST:
        counted = _agreeing(words, figures, match, language)
        if counted is not None:
            return f"{language.minus} {counted}" if match["sign"] else counted
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


def _ordinal(value: int, match: Match[str], language: Language) -> str:
    """As the noun after it asks, or the letters behind the figures."""
    words, ending = ordinal(value, language.code), match["ordinal"]
    if language is GERMAN:
        before = _WORD_BEFORE.search(match.string[max(0, match.start() - 40) : match.start()])
        noun = _NOUN_AFTER.match(match.string[match.end() : match.end() + 60])
        return words + agreement.german_ordinal_ending(before[1] if before else "", noun[1] if noun else "")
    if language is FRENCH:
        return agreement.french_ordinal(words, ending)
    return (agreement.spanish_ordinal if language is SPANISH else agreement.italian_ordinal)(words, ending)


def _agreeing(words: str, figures: str, match: Match[str], language: Language) -> str | None:
    """A number before what it counts; None where it stays as it is."""
    found = _NOUN_AFTER.match(match.string[match.end() : match.end() + 60])
    if found is None:
        return None
    noun = found[1]
    if language is GERMAN:
        before = _WORD_BEFORE.search(match.string[max(0, match.start() - 40) : match.start()])
        return agreement.german_one(before[1] if before else "", noun) if figures == "1" and noun[0].isupper() else None
    if noun[0].isupper() or len(noun) < 3:
        return None
    if language is FRENCH:
        return agreement.french(words, noun)
    if language is SPANISH:
        return agreement.spanish(words, noun) if agreement.is_spanish_noun(noun) else None
    return None


def _whole(figures: str, language: Language) -> str:
    if len(figures) > LONGEST or (figures.startswith("0") and len(figures) > 1):
        return digits(figures, language.code)
    return cardinal(int(figures), language.code)
