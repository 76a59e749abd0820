"""Italian: abbreviations, units, dates, fractions, rulers, centuries; and how numbers agree with the noun after."""

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
)

MONTHS = "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"
_TITLES = {
    **{"Sig.": "signor", "Sig.ra": "signora", "Sig.na": "signorina", "Sigg.": "signori", "Dott.": "dottor"},
    **{"Dott.ssa": "dottoressa", "Dr.": "dottor", "Prof.": "professor", "Prof.ssa": "professoressa"},
    **{"Avv.": "avvocato", "Ing.": "ingegner", "On.": "onorevole"},
}
_WORDS = {
    **{"es.": "esempio", "p. es.": "per esempio", "a. C.": "avanti Cristo", "d. C.": "dopo Cristo"},
}
_NUMBERED = {"pag.": "pagina", "pagg.": "pagine", "n.": "numero", "cap.": "capitolo", "tel.": "telefono"}
_UNITS = {
    **{"km": ("chilometro", "chilometri"), "m": ("metro", "metri"), "cm": ("centimetro", "centimetri")},
    **{"mm": ("millimetro", "millimetri"), "kg": ("chilogrammo", "chilogrammi"), "g": ("grammo", "grammi")},
    **{"mg": ("milligrammo", "milligrammi"), "l": ("litro", "litri"), "ml": ("millilitro", "millilitri")},
    **{"m²": ("metro quadrato", "metri quadrati"), "km²": ("chilometro quadrato", "chilometri quadrati")},
    **{"m³": ("metro cubo", "metri cubi")},
    **{"km/h": ("chilometro all'ora", "chilometri all'ora"), "min": ("minuto", "minuti"), "h": ("ora", "ore")},
}
_KINGS = (
    "Luigi|Carlo|Giovanni|Paolo|Pio|Benedetto|Leone|Vittorio|Emanuele|Umberto|Federico|Enrico|Filippo|Francesco|"
    "Ferdinando|Giorgio|Edoardo|Guglielmo|Napoleone|Pietro|Nicola|Alessandro|Gregorio|Innocenzo|Clemente|Urbano|"
    "Giulio|Bonifacio|Celestino|Sisto|Ottone|Leopoldo|Amedeo|Cosimo|Giacomo"
)
_QUEENS = "Elisabetta|Caterina|Maria|Anna|Margherita|Vittoria|Giovanna"


def read_ruler(match: Match[str], value: int) -> str:
    """Luigi XIV is "Luigi quattordicesimo", Elisabetta II "Elisabetta seconda"."""
    return f"{match['name']} {value}{'ª' if match['queen'] else 'º'}"


def _share(above: int, below: int) -> str:
    name = "mezzo" if below == 2 else ordinal(below, "it")
    return f"un {name}" if above == 1 else f"{cardinal(above, 'it')} {name[:-1]}i"


def read_degrees(match: Match[str]) -> str:
    """-5° as -5 gradi, 20 °C as 20 gradi Celsius; the number is read later, but for one."""
    sign = "meno " if match["sign"] else ""
    amount = f"{sign}un grado" if match["number"] == "1" else f"{match['sign'] or ''}{match['number']} gradi"
    return f"{amount} Celsius" if match["celsius"] else amount


def read_one(match: Match[str]) -> str:
    """1 before a noun: "una casa", "un'ora", "un libro", "uno studente"."""
    noun = match[1]
    if re.search(r"(?:a|ione|tà|tù)$", noun) and not re.search(
        r"(?:problema|sistema|tema|programma|clima|poema)$", noun
    ):
        return "un'" if noun[0] in "aeiou" else "una "
    return "uno " if re.match(r"s[^aeiou]|z|gn|ps|x|y", noun) else "un "


def read_ordinal(words: str, match: Match[str]) -> str:
    """1ª is "prima"."""
    return f"{words[:-1]}a" if match["ordinal"] == "ª" else words


_RULES = (
    Rule(r"\b(?:pagg?|pp)\.\s?(\d+)-(\d+)(?!\w)", r"pagine \1 a \2"),
    abbreviations(_NUMBERED, r"(?=\s?\d)"),
    abbreviations(_TITLES, rf"(?=\s{CAPITAL})"),
    abbreviations(_WORDS),
    abbreviations({"ecc.": "eccetera", "etc.": "eccetera"}, ends=True),
    dates(MONTHS, lambda day, month, year: f"{'1º' if day == 1 else day} {month} {year}"),
    *telephone("it", "più"),
    romans(rf"\b{NUMERAL}(?=\ssecolo\b|\se\s[IVX]+\ssecolo\b)", lambda match, value: f"{value}º"),
    romans(rf"\b(?P<name>[Ss]ecolo)\s{NUMERAL}\b", lambda match, value: f"{match['name']} {value}º"),
    romans(rf"\b{NUMERAL}(?=\s[Gg]uerra [Mm]ondiale)", lambda match, value: f"{value}ª"),
    romans(rf"\b(?P<name>{_KINGS}|(?P<queen>{_QUEENS}))\s{NUMERAL}\b", read_ruler),
    romans(rf"\b(?P<name>{CAPITAL}\w+)\s(?P<numeral>[IVX]{{2,}})\b"),
    units(_UNITS, of=" di "),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d)", " per "),
    fractions(
        _share,
        lambda whole, part: f"{cardinal(whole, 'it')} e {part}",
        lambda whole: f"{cardinal(whole, 'it')} e mezzo",
    ),
    Rule(r"\bun mezzo (?=(?:chilo|litro|metro|centi|milli|grammo|etto|bicchiere|secolo|anno|giorno)\w*)", "mezzo "),
    Rule(r"\bun mezzo (?=ora\b)", "mezz'"),
    CLOCK,
    Rule(  # a sign or a C makes it degrees, not the ordinal: 5°
        r"(?<![\w.,)-])(?P<sign>-)?(?P<number>\d+(?:,\d+)?)\s?°(?:\s?(?P<celsius>C)\b|(?(sign)(?!\w)|(?!)))",
        read_degrees,
    ),
    Rule(r"(?<![\w.,-])1\s(?=([a-zà-ù]{3,})\b(?<!più)(?<!meno))", read_one),
)
ITALIAN = Language(
    "it", ".", "virgola", "meno", "per cento", r"[ºª°]",
    {"€": ("un euro", "euro"), "$": ("un dollaro", "dollari"), "£": ("una sterlina", "sterline")},
    _RULES, read_ordinal, lambda words, _: words,
)  # fmt: skip
