"""Italian beside numbers: abbreviations, units, dates, fractions, rulers and centuries."""

from __future__ import annotations

from re import Match

from melle.text.verbalise.numbers import cardinal, ordinal
from melle.text.verbalise.rules import Rule
from melle.text.verbalise.shared import CAPITAL, NUMERAL, abbreviations, dates, fractions, romans, telephone, units

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


RULES = (
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
    romans(rf"\b(?P<name>{CAPITAL}\w+)\s(?P<numeral>[IVX]{{2,}})\b", lambda match, value: f"{match['name']} {value}"),
    units(_UNITS, of=" di "),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d)", " per "),
    fractions(
        _share,
        lambda whole, part: f"{cardinal(whole, 'it')} e {part}",
        lambda whole: f"{cardinal(whole, 'it')} e mezzo",
    ),
    Rule(r"\bun mezzo (?=(?:chilo|litro|metro|centi|milli|grammo|etto|bicchiere|secolo|anno|giorno)\w*)", "mezzo "),
    Rule(r"\bun mezzo (?=ora\b)", "mezz'"),
)
