"""Spanish beside numbers: abbreviations, units, dates, fractions, rulers and centuries."""

from __future__ import annotations

from re import Match

from melle.text.verbalise.agreement import is_spanish_noun, spanish
from melle.text.verbalise.numbers import cardinal, ordinal
from melle.text.verbalise.rules import Rule
from melle.text.verbalise.shared import CAPITAL, NUMERAL, abbreviations, dates, fractions, romans, telephone, units

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
    if not is_spanish_noun(match[1]):
        return match[0]
    return f"{'media' if spanish('uno', match[1]) == 'una' else 'medio'} {match[1]}"


RULES = (
    Rule(r"\bpágs?\.\s?(\d+)-(\d+)(?!\w)", r"páginas \1 a \2"),
    abbreviations(_NUMBERED, r"(?=\s?\d)"),
    abbreviations(_TITLES, rf"(?=\s{CAPITAL})"),
    abbreviations(_WORDS),
    abbreviations({"etc.": "etcétera"}, ends=True),
    dates(MONTHS, lambda day, month, year: f"{day} de {month} de {year}"),
    *telephone("es", "más"),
    romans(rf"\b(?P<name>[Ss]iglos?)\s{NUMERAL}\b", lambda match, value: f"{match['name']} {value}"),
    romans(rf"\b(?P<name>siglos?\s\d+(?:\s[ye]|,|\sal))\s{NUMERAL}\b", lambda match, value: f"{match['name']} {value}"),
    Rule(r"\bII (?=Guerra Mundial)", "Segunda "),
    Rule(r"\bI (?=Guerra Mundial)", "Primera "),
    romans(rf"\b(?P<name>{_KINGS}|(?P<queen>{_QUEENS}))\s{NUMERAL}\b", read_ruler),
    romans(rf"\b(?P<name>{CAPITAL}\w+)\s(?P<numeral>[IVX]{{2,}})\b", lambda match, value: f"{match['name']} {value}"),
    units(_UNITS, of=" de "),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d)", " por "),
    fractions(
        _share,
        lambda whole, part: f"{cardinal(whole, 'es')} y {part}",
        lambda whole: f"{cardinal(whole, 'es')} y medio",
    ),
    Rule(r"\bun medio ([a-zñáéíóú]{3,})\b", read_half),
)
