"""German: abbreviations, units, clocks, years, fractions, rulers, and how numbers agree with the noun after them."""

from __future__ import annotations

import re
from re import Match
from typing import Literal

from melle.text.verbalise.european import Language
from melle.text.verbalise.numbers import cardinal, ordinal, year
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
    word_before,
    word_set,
)

Gender = Literal["m", "f", "n"]

MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
_MONTH = MONTHS.replace(" ", "|")
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
_NEUTER = word_set("Kilo Kilogramm Gramm Pfund Dutzend Glas Prozent")
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
# "Er ist 30. Die Katze schläft" has no ordinal: it takes an article before, or one of the nouns that often follow.
_ARTICLES = (
    "der|die|das|dem|den|des|am|im|zum|zur|vom|beim|ein|eine|einer|einem|einen|eines|sein|seine|seinem|seinen|seiner|"
    "ihr|ihre|ihrem|ihren|ihrer|unser|unsere|jeder|jede|jedes|jedem|jeden|dieser|diese|dieses|diesem|diesen"
)
# German nouns that follow ordinals: the gender, and with these "2." is an ordinal though no article is before it.
_GENDERS: dict[Gender, str] = {
    "m": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember Platz Stock Tag Monat "
    "Teil Band Akt Satz Rang Spieltag Bezirk Advent Geburtstag Weltkrieg Weihnachtstag Weihnachtsfeiertag Schritt "
    "Punkt Versuch Absatz Titel Lauf Gang Sonntag Sieg",
    "f": "Auflage Klasse Etage Liga Bundesliga Runde Halbzeit Woche Strophe Reihe Stelle Sitzung Ausgabe Version "
    "Minute Staffel Folge Generation Ordnung Ebene Phase Stunde Etappe Wahl Person Hälfte Mannschaft Symphonie "
    "Sinfonie Änderung Fassung Lesung Hand Spalte Zeile",
    "n": "Jahrhundert Jahrtausend Kapitel Mal Stockwerk Quartal Semester Jahr Lebensjahr Schuljahr Buch Drittel Gebot "
    "Halbjahr Spiel Tor Viertel Obergeschoss Geschoss",
}
_NOUNS = {noun: gender for gender, nouns in _GENDERS.items() for noun in nouns.split()}
_FEMININE = word_set(
    "Mark Frau Stadt Nacht Hand Wand Zahl Person Mutter Tochter Schwester Antwort Arbeit Welt Kuh Maus Bank Insel "
    "Regel Gabel Nummer Mauer Feder Tür Uhrzeit Kirsche Wurst Nuss Tafel Kartoffel Zwiebel"
)
_NOT_FEMININE = word_set(
    "Name Junge Käse Kunde Auge Ende Gebäude Kollege Gedanke Hase Affe Löwe Interesse Gemüse Getränk Uhr Zeuge "
    "Erbe Ergebnis Franzose Biologe Türke Russe"
)
_NOMINATIVE = {"der": "m", "die": "f", "das": "n"}
_WEAK = word_set(
    "am im zum zur vom beim dem den des einer einem einen eines bis ab seit vor nach von mit bei zu aus und jedem "
    "jeden meinem meinen meiner seinem seinen seiner ihrem ihren ihrer unserem unseren unserer diesem diesen "
    "dieser ins ans"
)


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
    gender = "n" if noun in _NEUTER else gender_of(noun)
    return {"m": "ein halber", "f": "eine halbe", "n": "ein halbes"}[gender]


def gender_of(noun: str) -> Gender:
    """Of a noun, by the lists and its ending; not feminine is "m"."""
    if noun in _NOUNS:
        return _NOUNS[noun]
    if noun in _NOT_FEMININE:
        return "m"
    feminine = (
        re.search(r"(?:e|ung|heit|keit|schaft|ion|tät|ik|ur|erei|zei|enz|anz|(?:er|or|ist|ent|ant|log)in)$", noun)
        and len(noun) > 3
    )
    return "f" if feminine or noun in _FEMININE else "m"


def ordinal_ending(before: str, noun: str) -> str:
    """What an ordinal in -e ("zweite") has more: der dritte März, am dritten März, ein dritter Platz, zweite
    Auflage."""
    word, gender = before.lower(), gender_of(noun)
    if word in _WEAK:
        return "n"
    if word in _NOMINATIVE:  # "der zweiten Auflage" is a genitive or dative
        return "n" if word == "der" and gender == "f" else ""
    return {"m": "r", "f": "", "n": "s"}[gender]


def one_before(before: str, noun: str) -> str:
    """1 before a noun: "eine Katze", "ein Hund", "mit einer Katze"."""
    if noun in ("Der", "Die", "Das", "Ein", "Eine", "Im", "In", "Am"):  # Kapitel 1 Der Anfang
        return "eins"
    feminine = gender_of(noun) == "f"
    if before.lower() in ("mit", "von", "bei", "zu", "aus", "nach", "seit", "vor", "in", "auf"):
        return ("einer" if feminine else "einem") if noun != "Uhr" else "ein"
    return "eine" if feminine else "ein"


def read_ordinal(words: str, match: Match[str]) -> str:
    """Am 2. is "am zweiten"."""
    return words + ordinal_ending(word_before(match), word_after(match))


def read_after_article(match: Match[str]) -> str:
    """Am 2. Oktober, die 2. Katze: by its article."""
    article, figures = match[0].removesuffix(".").split()
    return f"{article} {ordinal(int(figures), 'de')}{ordinal_ending(article, word_after(match))}"


def agree(words: str, match: Match[str]) -> str:
    """1 before a noun is "ein" or "eine"."""
    noun = word_after(match)
    return one_before(word_before(match), noun) if words == "eins" and noun[:1].isupper() else words


_RULES = (
    Rule(r"\bS\.\s?(\d+)-(\d+)(?!\w)", r"Seite \1 bis \2"),
    abbreviations(_NUMBERED, r"(?=\s?\d)"),
    abbreviations(_TITLES, rf"(?=\s(?:{CAPITAL}|med\.|phil\.))"),
    abbreviations(_WORDS),
    abbreviations(_ENDING, ends=True),
    Rule(r"(?<=[a-zäöüß])str\.(?=\s\d|,)", "straße"),
    dates(MONTHS, lambda day, month, written: f"{day}. {month} {written}"),
    Rule(  # vom 3.-5. Mai, of which the second is read with the month
        rf"\b([Vv]om|[Aa]m|[Dd]en|[Dd]em|[Zz]um)\s(\d{{1,2}})\.(?:\s?-\s?|\sbis\s)"
        rf"(?=\d{{1,2}}\.\s(?:{_MONTH})\b)",
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
        rf"\b{NUMERAL}\.(?=\s(?:{'|'.join(_NOUNS)})\b)",  # im XIX. Jahrhundert
        lambda match, value: f"{value}.",
    ),
    romans(rf"\b(?P<name>Kapitel|Teil|Band|Akt|Szene|Klasse|Weltkrieg)\s{NUMERAL}\b"),
    units({unit: (name, name) for unit, name in _UNITS.items()}),
    Rule(r"(?<=\d)\s?[x×]\s?(?=\d)", " mal "),
    fractions(_share, lambda whole, part: f"{cardinal(whole, 'de')} {part}", _half),
    Rule(rf"\bein halb ({CAPITAL}\w+)", lambda match: f"{_half_of(match[1])} {match[1]}"),
    CLOCK,
    Rule(rf"(?i:\b(?:{_ARTICLES})) \d{{1,3}}\.(?=\s[A-ZÄÖÜ])", read_after_article),
    Rule(  # neunzehnhundertvierundachtzig
        rf"(?<!\w)((?:Jahre?|[Ss]eit|{_MONTH}) )(1[1-9][0-9]{{2}})(?![\w.,]*\d)",
        lambda match: match[1] + year(int(match[2]), "de"),
    ),
)
GERMAN = Language(
    "de", ".", "Komma", "minus", "Prozent", rf"\.(?=\s(?:{'|'.join(_NOUNS)})\b)",
    {"€": ("ein Euro", "Euro"), "$": ("ein Dollar", "Dollar"), "£": ("ein Pfund", "Pfund")},
    _RULES, read_ordinal, agree,
)  # fmt: skip
