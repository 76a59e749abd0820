"""German beside numbers: abbreviations, units, clocks, years, fractions, rulers."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.agreement import GERMAN_NOUNS, german_gender
from melle.text.verbalise.numbers import cardinal, ordinal, year
from melle.text.verbalise.rules import Rule
from melle.text.verbalise.shared import (
    CAPITAL,
    NUMERAL,
    abbreviations,
    dates,
    fractions,
    romans,
    telephone,
    units,
)

MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
_TITLES = {"Dr.": "Doktor", "Prof.": "Professor", "Hr.": "Herr", "St.": "Sankt"}
_WORDS = {
    **{"z. B.": "zum Beispiel", "d. h.": "das heißt", "u. a.": "unter anderem", "z. T.": "zum Teil"},
    **{"bzw.": "beziehungsweise", "ca.": "circa", "vgl.": "vergleiche", "evtl.": "eventuell", "inkl.": "inklusive"},
    **{"Mio.": "Millionen", "Mrd.": "Milliarden", "1 Mio.": "eine Million", "1 Mrd.": "eine Milliarde"},
    **{"v. Chr.": "vor Christus", "n. Chr.": "nach Christus"},
}
_ENDING = {"usw.": "und so weiter", "etc.": "et cetera", "u. s. w.": "und so weiter"}
_NUMBERED = {"Nr.": "Nummer", "S.": "Seite", "Bd.": "Band", "Kap.": "Kapitel", "Tel.": "Telefon", "Abb.": "Abbildung"}
_UNITS = {  # with a number these have no plural
    **{"km": "Kilometer", "m": "Meter", "cm": "Zentimeter", "mm": "Millimeter", "kg": "Kilogramm", "g": "Gramm"},
    **{"mg": "Milligramm", "l": "Liter", "ml": "Milliliter", "km/h": "Kilometer pro Stunde"},
    **{"m²": "Quadratmeter", "km²": "Quadratkilometer", "m³": "Kubikmeter"},
    **{"°C": "Grad Celsius", "° C": "Grad Celsius", "°": "Grad"},
}
_NEUTER = frozenset(("Kilo", "Kilogramm", "Gramm", "Pfund", "Dutzend", "Glas", "Prozent"))
_PARTS = {2: "halb", 3: "Drittel", 7: "Siebtel", 8: "Achtel"}
# Before these four figures, if no noun follows, are a year.
_YEAR_AFTER = "[Ii]n|[Bb]is|[Ss]eit|[Vv]on|[Uu]m|[Aa]b|[Vv]or|[Nn]ach"
_NO_AMOUNT = rf"(?![\w.,:/-]*\d|\s?[%€$£°]|\s?(?:km|m|cm|kg|g|l|Mio|Mrd)\b|\s(?:\w+en\s)?{CAPITAL})"
_KINGS = (
    "Ludwig|Heinrich|Friedrich|Wilhelm|Karl|Otto|Georg|Johannes|Paul|Pius|Benedikt|Leo|Philipp|Franz|Joseph|Napoleon|"
    "Peter|Nikolaus|Alexander|Iwan|Konrad|Rudolf|Maximilian|Leopold|Ferdinand|Albrecht|Eduard|Jakob|Richard|Robert|"
    "Gregor|Innozenz|Clemens|Urban|Christian|Gustav|Ernst|August|Wenzel|Sigismund|Charles|Ramses"
)
_QUEENS = "Elisabeth|Elizabeth|Katharina|Maria|Margarethe|Anna|Victoria|Viktoria|Beatrix"
_DATIVE = "von|unter|mit|bei|nach|seit|vor|zu|aus|neben|zwischen"
_ACCUSATIVE = "durch|für|gegen|ohne|um"


def read_ruler(match: Match[str], value: int) -> str:
    """Ludwig XIV. is "Ludwig der Vierzehnte", unter Ludwig XIV. "… dem Vierzehnten", Ludwigs XIV. "… des
    Vierzehnten"."""
    initial = len(match["numeral"]) == 1 and match["point"] and not match["genitive"]
    if initial and re.match(rf"\s{CAPITAL}", match.string[match.end() : match.end() + 2]):  # Otto V. Müller
        return match[0]
    before = (match["before"] or "").strip().lower()
    queen = match["queen"] is not None
    if match["genitive"]:
        article = "der" if queen else "des"
    elif before in _DATIVE.split("|"):
        article = "der" if queen else "dem"
    elif before in _ACCUSATIVE.split("|"):
        article = "die" if queen else "den"
    else:
        article = "die" if queen else "der"
    nominative = article == ("die" if queen else "der") and not (queen and match["genitive"])
    name = f"{match['before'] or ''}{match['names']}{match['genitive'] or ''}"
    ending = "" if nominative or article == "die" else "n"
    point = "." if match["point"] and not match.string[match.end() :].strip("\"')] ") else ""
    return f"{name} {article} {ordinal(value, 'de').capitalize()}{ending}{point}"


def read_clock(match: Match[str]) -> str:
    """14:30 Uhr is "14 Uhr 30", of which the numbers are read later."""
    minute = int(match["minute"])
    return f"{int(match['hour'])} Uhr" + (f" {cardinal(minute, 'de')}" if minute else "")


def _share(above: int, below: int) -> str:
    name = _PARTS.get(below) or cardinal(below, "de").removeprefix("ein" if below == 100 else "").capitalize() + (
        "tel" if below < 20 else "stel"
    )
    return f"{'ein' if above == 1 else cardinal(above, 'de')} {name}"


def _half(whole: int) -> str:
    return f"{'ein' if whole == 1 else cardinal(whole, 'de')}einhalb"


def _half_of(noun: str) -> str:
    gender = "n" if noun in _NEUTER else german_gender(noun)
    return {"m": "ein halber", "f": "eine halbe", "n": "ein halbes"}[gender]


RULES = (
    Rule(r"\bS\.\s?(\d+)-(\d+)(?!\w)", r"Seite \1 bis \2"),
    abbreviations(_NUMBERED, r"(?=\s?\d)"),
    abbreviations(_TITLES, rf"(?=\s(?:{CAPITAL}|med\.|phil\.))"),
    abbreviations(_WORDS),
    abbreviations(_ENDING, ends=True),
    Rule(r"(?<=[a-zäöüß])str\.(?=\s\d|,)", "straße"),
    dates(MONTHS, lambda day, month, written: f"{day}. {month} {written}"),
    Rule(  # vom 3.-5. Mai, of which the second is read with the month
        rf"\b([Vv]om|[Aa]m|[Dd]en|[Dd]em|[Zz]um)\s(\d{{1,2}})\.(?:\s?-\s?|\sbis\s)"
        rf"(?=\d{{1,2}}\.\s(?:{MONTHS.replace(' ', '|')})\b)",
        lambda match: f"{match[1]} {ordinal(int(match[2]), 'de')}n bis ",
    ),
    *telephone("de", "plus"),
    Rule(r"(?<![\w.,:])(?P<hour>[01]?\d|2[0-4])[:.](?P<minute>[0-5]\d)\sUhr\b", read_clock),
    Rule(r"(?<![\w.,:-])(\d{1,2})-(\d{1,2})(?=\sUhr\b)", r"\1 bis \2"),
    Rule(
        r"(?<![\w.,:/-])(1[1-9]\d\d)-(1[1-9]\d\d|20\d\d)(?![\w-]|[.,]\d)",
        lambda match: f"{year(int(match[1]), 'de')} bis {year(int(match[2]), 'de')}",
    ),
    Rule(
        rf"(?<!\w)((?:{_YEAR_AFTER}) )(1[1-9]\d\d){_NO_AMOUNT}",
        lambda match: match[1] + year(int(match[2]), "de"),
    ),
    romans(
        rf"(?:\b(?P<before>(?i:{_DATIVE}|{_ACCUSATIVE})\s))?"
        rf"\b(?P<names>(?:{CAPITAL}\w+\s)??(?:{_KINGS}|(?P<queen>{_QUEENS})))(?P<genitive>s)?\s{NUMERAL}\b(?P<point>\.)?",
        read_ruler,
    ),
    romans(
        rf"\b{NUMERAL}\.(?=\s(?:{'|'.join(GERMAN_NOUNS)})\b)",  # im XIX. Jahrhundert
        lambda match, value: f"{value}.",
    ),
    romans(
        rf"\b(?P<name>Kapitel|Teil|Band|Akt|Szene|Klasse|Weltkrieg)\s{NUMERAL}\b",
        lambda match, value: f"{match['name']} {value}",
    ),
    units({unit: (name, name) for unit, name in _UNITS.items()}),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d)", " mal "),
    fractions(_share, lambda whole, part: f"{cardinal(whole, 'de')} {part}", _half),
    Rule(rf"\bein halb ({CAPITAL}\w+)", lambda match: f"{_half_of(match[1])} {match[1]}"),
)
