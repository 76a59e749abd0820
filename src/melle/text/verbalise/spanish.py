"""Spanish: abbreviations, units, dates, fractions, rulers, centuries; and how numbers agree with the noun after."""

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
    telephone,
    units,
    word_after,
    word_set,
)

MONTHS = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
_TITLES = {
    **{"Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Sres.": "señores", "Dr.": "doctor", "Dra.": "doctora"},
    **{"Prof.": "profesor", "Dña.": "doña"},
}
_WORDS = {
    **{"p. ej.": "por ejemplo", "Ud.": "usted", "Uds.": "ustedes", "EE. UU.": "Estados Unidos"},
    **{"a. C.": "antes de Cristo", "d. C.": "después de Cristo", "aprox.": "aproximadamente"},
}
_NUMBERED = {"pág.": "página", "págs.": "páginas", "núm.": "número", "n.º": "número", "tel.": "teléfono"}
_UNITS = {
    **{"km": ("kilómetro", "kilómetros"), "m": ("metro", "metros"), "cm": ("centímetro", "centímetros")},
    **{"mm": ("milímetro", "milímetros"), "kg": ("kilogramo", "kilogramos"), "g": ("gramo", "gramos")},
    **{"mg": ("miligramo", "miligramos"), "l": ("litro", "litros"), "ml": ("mililitro", "mililitros")},
    **{"km/h": ("kilómetro por hora", "kilómetros por hora"), "min": ("minuto", "minutos")},
    **{"°C": ("grado Celsius", "grados Celsius"), "° C": ("grado Celsius", "grados Celsius")},
    **{"m²": ("metro cuadrado", "metros cuadrados"), "km²": ("kilómetro cuadrado", "kilómetros cuadrados")},
    **{"m³": ("metro cúbico", "metros cúbicos")},
    **{"°": ("grado", "grados"), "h": ("hora", "horas")},
}
_PARTS = {2: "medio", 3: "tercio"}
_KINGS = (
    "Felipe|Carlos|Alfonso|Fernando|Juan|Enrique|Pedro|Sancho|Luis|Jaime|Jorge|Eduardo|Guillermo|Napoleón|Pablo|Pío|"
    "Benedicto|León|Francisco|Ramiro|Jacobo|Federico|Guillermo|Nicolás|Alejandro|Gregorio|Inocencio|Clemente|Urbano"
)
_QUEENS = "Isabel|Juana|María|Catalina|Victoria|Urraca|Margarita"

_OTHERS = word_set(
    "y e o u de del a al en por con para que es son más menos ni si no como hasta desde entre sobre pero fue"
)
_MASCULINE = re.compile(r"(?:día|mapa|problema|tema|sistema|programa|clima|idioma|planeta|poema|drama|grama|gramo)s?$")
_FEMININE = re.compile(
    r"(?:as?|ci[oó]n(?:es)?|si[oó]n(?:es)?|[dt]ad(?:es)?|veces|mujer(?:es)?|noches?|calles?|manos?|llaves?)$"
)


def read_ruler(match: Match[str], value: int) -> str:
    """Felipe II is "Felipe segundo", Isabel II "Isabel segunda"; from eleven on Alfonso XIII is "Alfonso trece"."""
    if value > 10:
        return f"{match['name']} {cardinal(value, 'es')}"
    words = ordinal(value, "es")
    return f"{match['name']} {words[:-1] + 'a' if match['queen'] else words}"


def _share(above: int, below: int) -> str:
    if below > 10:
        name = "centésimo" if below == 100 else "veinteavo" if below == 20 else f"{cardinal(below, 'es')}avo"
    else:
        name = _PARTS.get(below) or ordinal(below, "es")
    return f"{'un' if above == 1 else cardinal(above, 'es')} {name}{'' if above == 1 else 's'}"


def read_half(match: Match[str]) -> str:
    """1/2 litro is "medio litro", 1/2 hora "media hora"."""
    if not is_noun(match[1]):
        return match[0]
    return f"{'media' if is_feminine(match[1]) else 'medio'} {match[1]}"


def is_noun(word: str) -> bool:
    """Whether a word after a number is what it counts."""
    return word not in _OTHERS and word.isalpha()


def is_feminine(noun: str) -> bool:
    """By its ending."""
    return _FEMININE.search(noun) is not None and not _MASCULINE.search(noun)


def read_ordinal(words: str, match: Match[str]) -> str:
    """1.ª is "primera", 3er "tercer", 11.º "decimoprimero"."""
    words, ending = re.sub(r"^décimo(?=\w)", "decimo", words), match["ordinal"]
    if ending.endswith(("ª", "a")):
        return re.sub(r"o\b", "a", words)
    return words[:-1] if ending.endswith("er") else words


def agree(words: str, match: Match[str]) -> str:
    """veintiuno before casas is "veintiuna", before libros "veintiún"; doscientos before casas "doscientas"."""
    noun = word_after(match)
    if len(noun) < 3 or noun[0].isupper() or not is_noun(noun):
        return words
    if is_feminine(noun):
        return re.sub(r"uno$", "una", re.sub(r"(cient|quinient)os\b", r"\1as", words))
    return re.sub(r"uno$", "un", re.sub(r"veintiuno$", "veintiún", words))


_RULES = (
    Rule(r"\bpágs?\.\s?(\d+)-(\d+)(?!\w)", r"páginas \1 a \2"),
    abbreviations(_NUMBERED, r"(?=\s?\d)"),
    abbreviations(_TITLES, rf"(?=\s{CAPITAL})"),
    abbreviations(_WORDS),
    abbreviations({"etc.": "etcétera"}, ends=True),
    dates(MONTHS, lambda day, month, year: f"{day} de {month} de {year}"),
    *telephone("es", "más"),
    romans(rf"\b(?P<name>[Ss]iglos?)\s{NUMERAL}\b"),
    romans(rf"\b(?P<name>siglos?\s\d+(?:\s[ye]|,|\sal))\s{NUMERAL}\b"),
    Rule(r"\bII (?=Guerra Mundial)", "Segunda "),
    Rule(r"\bI (?=Guerra Mundial)", "Primera "),
    romans(rf"\b(?P<name>{_KINGS}|(?P<queen>{_QUEENS}))\s{NUMERAL}\b", read_ruler),
    romans(rf"\b(?P<name>{CAPITAL}\w+)\s(?P<numeral>[IVX]{{2,}})\b"),
    units(_UNITS, of=" de "),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d)", " por "),
    fractions(
        _share,
        lambda whole, part: f"{cardinal(whole, 'es')} y {part}",
        lambda whole: f"{cardinal(whole, 'es')} y medio",
    ),
    Rule(r"\bun medio ([a-zñáéíóú]{3,})\b", read_half),
    CLOCK,
)
SPANISH = Language(
    "es", ".", "coma", "menos", "por ciento", r"\.?[ºª]|\.?er\b|(?:ro|ra|do|da|to|ta)\b",
    {"€": ("un euro", "euros"), "$": ("un dólar", "dólares"), "£": ("una libra", "libras")},
    _RULES, read_ordinal, agree,
)  # fmt: skip
