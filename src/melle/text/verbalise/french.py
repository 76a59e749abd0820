"""French: abbreviations, units, dates, fractions, rulers, centuries; and how numbers agree with the noun after."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.european import Language
from melle.text.verbalise.numbers import cardinal, ordinal
from melle.text.verbalise.rules import (
    CAPITAL,
    CLOCK,
    NUMERAL,
    Rule,
    abbreviations,
    dates,
    fractions,
    romans,
    units,
    word_after,
)

MONTHS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
_TITLES = {"M.": "Monsieur", "MM.": "Messieurs", "Dr": "Docteur", "Dr.": "Docteur", "Pr": "Professeur"}
_LADIES = {"Mme": "Madame", "Mmes": "Mesdames", "Mlle": "Mademoiselle", "Mlles": "Mesdemoiselles"}
_WORDS = {
    **{"p. ex.": "par exemple", "par ex.": "par exemple", "c.-à-d.": "c'est-à-dire", "env.": "environ"},
    **{"av. J.-C.": "avant Jésus-Christ", "apr. J.-C.": "après Jésus-Christ", "tél.": "téléphone"},
}
_NUMBERED = {"n°": "numéro", "nº": "numéro", "p.": "page", "pp.": "pages", "chap.": "chapitre", "vol.": "volume"}
_UNITS = {
    **{"km": ("kilomètre", "kilomètres"), "m": ("mètre", "mètres"), "cm": ("centimètre", "centimètres")},
    **{"mm": ("millimètre", "millimètres"), "kg": ("kilogramme", "kilogrammes"), "g": ("gramme", "grammes")},
    **{"mg": ("milligramme", "milligrammes"), "l": ("litre", "litres"), "ml": ("millilitre", "millilitres")},
    **{"L": ("litre", "litres"), "km/h": ("kilomètre à l'heure", "kilomètres à l'heure")},
    **{"°C": ("degré Celsius", "degrés Celsius"), "° C": ("degré Celsius", "degrés Celsius")},
    **{"m²": ("mètre carré", "mètres carrés"), "km²": ("kilomètre carré", "kilomètres carrés")},
    **{"m³": ("mètre cube", "mètres cubes")},
    **{"°": ("degré", "degrés"), "min": ("minute", "minutes")},
}
_PARTS = {2: "demi", 3: "tiers", 4: "quart"}
# Kings with a numeral of one letter; longer ones are numerals by themselves.
_NAMES = "Louis|Charles|Henri|Philippe|François|Napoléon|Jean|Georges|Édouard|Guillaume|Pie"
_BOOKS = "Acte|Scène|Chapitre|Tome|Partie|Livre"
_FEMININE = re.compile(
    r"(?:[ts]ion|té|ette|ance|ence|ure|ie|ille|elle|esse|ade|euse|trice|ée|ine|ise)s?$"
    r"|^(?:fois|heures?|minutes?|secondes?|semaines?|pages?|personnes?|femmes?|filles?|maisons?|voitures?|choses?|tonnes?|"
    r"tasses?|places?|équipes?|villes?|classes?|tables?|routes?|pièces?|lettres?|lignes?|étapes?|étoiles?)$"
)
_MASCULINE = re.compile(r"(?:musée|lycée|trophée|génie|incendie|parapluie)s?$")


def _share(above: int, below: int) -> str:
    name = _PARTS.get(below) or ordinal(below, "fr")
    return f"{cardinal(above, 'fr')} {name}{'' if above == 1 or name.endswith('s') else 's'}"


def read_hours(match: Match[str]) -> str:
    """10h30 is "10 heures 30", of which the numbers are read later."""
    return f"{match[1]} heure{'' if match[1] == '1' else 's'} {match[2] or ''}".strip()


def read_ordinal(words: str, match: Match[str]) -> str:
    """1re is "première", 2nde "seconde", 2nd "second"."""
    ending = match["ordinal"]
    if ending in ("re", "ère"):
        return words.replace("premier", "première")
    return {"nd": "second", "nde": "seconde"}.get(ending, words)


def agree(words: str, match: Match[str]) -> str:
    """vingt et un before heures is "vingt et une"."""
    noun = word_after(match)
    if len(noun) < 3 or noun[0].isupper() or not _FEMININE.search(noun) or _MASCULINE.search(noun):
        return words
    return re.sub(r"\bun$", "une", words)


_RULES = (
    Rule(r"\bpp?\.\s?(\d+)-(\d+)(?!\w)", r"pages \1 à \2"),
    abbreviations(_NUMBERED, r"(?=\s?\d)"),
    abbreviations(_TITLES, rf"(?=\s{CAPITAL})"),
    abbreviations(_LADIES),
    abbreviations(_WORDS),
    abbreviations({"etc.": "et cetera"}, ends=True),
    Rule(r"(?<![\w)])\+\s?(?=\d)", "plus "),
    dates(MONTHS, lambda day, month, year: f"{'1er' if day == 1 else day} {month} {year}"),
    Rule(r"\bI(er|re|ère)\b", r"1\1"),
    romans(rf"\b{NUMERAL}(?:e|è|ème)\b", lambda match, value: f"{value}e"),
    romans(rf"\b(?P<name>{CAPITAL}[\w'-]+)\s(?P<numeral>[IVX]{{2,}})\b(?!')"),
    romans(
        rf"\b(?P<name>{_NAMES})\s{NUMERAL}\b(?!')",
        lambda match, value: f"{match['name']} {'1er' if value == 1 else value}",
    ),
    units(_UNITS, of=" de ", below_two=True),
    romans(rf"\b(?P<name>{_BOOKS})\s{NUMERAL}\b(?!')"),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d[\d,]*\s\w*mètres?\b)", " sur "),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d)", " fois "),
    fractions(
        _share, lambda whole, part: f"{cardinal(whole, 'fr')} {part}", lambda whole: f"{cardinal(whole, 'fr')} et demi"
    ),
    CLOCK,
    Rule(r"(?<![\w.,])([01]?\d|2[0-4])\s?h\s?([0-5]\d)?(?!\w)", read_hours),
)
FRENCH = Language(
    "fr", " ", "virgule", "moins", "pour cent", r"(?:er|ère|re|e|ème|nde|nd)\b",
    {"€": ("un euro", "euros"), "$": ("un dollar", "dollars"), "£": ("une livre", "livres")},
    _RULES, read_ordinal, agree,
)  # fmt: skip
