"""How numbers and ordinals agree with the noun after them, in German, French, Spanish and Italian.

Genders follow from the noun's ending, which is right for most nouns; German's, where it is least so, from a list,
too.
"""

from __future__ import annotations

import re
from typing import Literal

Gender = Literal["m", "f", "n"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# German nouns that follow ordinals: the gender, and with these "2." is an ordinal though no article is before it.
_GERMAN: dict[Gender, str] = {
    "m": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember Platz Stock Tag Monat "
    "Teil Band Akt Satz Rang Spieltag Bezirk Advent Geburtstag Weltkrieg Weihnachtstag Weihnachtsfeiertag Schritt "
    "Punkt Versuch Absatz Titel Lauf Gang Sonntag Sieg",
    "f": "Auflage Klasse Etage Liga Bundesliga Runde Halbzeit Woche Strophe Reihe Stelle Sitzung Ausgabe Version "
    "Minute Staffel Folge Generation Ordnung Ebene Phase Stunde Etappe Wahl Person Hälfte Mannschaft Symphonie "
    "Sinfonie Änderung Fassung Lesung Hand Spalte Zeile",
    "n": "Jahrhundert Jahrtausend Kapitel Mal Stockwerk Quartal Semester Jahr Lebensjahr Schuljahr Buch Drittel Gebot "
    "Halbjahr Spiel Tor Viertel Obergeschoss Geschoss",
}
GERMAN_NOUNS = {noun: gender for gender, nouns in _GERMAN.items() for noun in nouns.split()}
_GERMAN_FEMININE = _words(
    "Mark Frau Stadt Nacht Hand Wand Zahl Person Mutter Tochter Schwester Antwort Arbeit Welt Kuh Maus "
    "Bank Insel Regel Gabel Nummer Mauer Feder Tür Uhrzeit Kirsche Wurst Nuss Tafel Kartoffel Zwiebel"
)
_GERMAN_OTHERS = _words(
    "Name Junge Käse Kunde Auge Ende Gebäude Kollege Gedanke Hase Affe Löwe Interesse Gemüse Getränk Uhr "
    "Zeuge Erbe Ergebnis Franzose Biologe Türke Russe"
)
_NOMINATIVE = {"der": "m", "die": "f", "das": "n"}
_WEAK = _words(
    "am im zum zur vom beim dem den des einer einem einen eines bis ab seit vor nach von mit bei zu aus "
    "und jedem jeden meinem meinen meiner seinem seinen seiner ihrem ihren ihrer unserem unseren unserer "
    "diesem diesen dieser ins ans"
)


def german_gender(noun: str) -> Gender:
    """Of a noun, by the lists and its ending; not feminine is "m"."""
    if noun in GERMAN_NOUNS:
        return GERMAN_NOUNS[noun]
    if noun in _GERMAN_OTHERS:
        return "m"
    feminine = (
        re.search(r"(?:e|ung|heit|keit|schaft|ion|tät|ik|ur|erei|zei|enz|anz|(?:er|or|ist|ent|ant|log)in)$", noun)
        and len(noun) > 3
    )
    return "f" if feminine or noun in _GERMAN_FEMININE else "m"


def german_ordinal_ending(before: str, noun: str) -> str:
    """What an ordinal in -e ("zweite") has more: der dritte März, am dritten März, ein dritter Platz, zweite
    Auflage."""
    word, gender = before.lower(), german_gender(noun)
    if word in _WEAK:
        return "n"
    if word in _NOMINATIVE:  # "der zweiten Auflage" is a genitive or dative
        return "n" if word == "der" and gender == "f" else ""
    return {"m": "r", "f": "", "n": "s"}[gender]


def german_one(before: str, noun: str) -> str:
    """1 before a noun: "eine Katze", "ein Hund", "mit einer Katze"."""
    if noun in ("Der", "Die", "Das", "Ein", "Eine", "Im", "In", "Am"):  # Kapitel 1 Der Anfang
        return "eins"
    feminine = german_gender(noun) == "f"
    if before.lower() in ("mit", "von", "bei", "zu", "aus", "nach", "seit", "vor", "in", "auf"):
        return ("einer" if feminine else "einem") if noun != "Uhr" else "ein"
    return "eine" if feminine else "ein"


def is_spanish_noun(word: str) -> bool:
    """Whether a word after a number is what it counts."""
    return word not in _SPANISH_OTHERS and word.isalpha()


_SPANISH_OTHERS = frozenset(
    re.findall(
        r"\w+",
        "y e o u de del a al en por con para que es son más menos ni si no como hasta desde entre sobre pero fue",
    )
)
_SPANISH_MASCULINE = re.compile(
    r"(?:día|mapa|problema|tema|sistema|programa|clima|idioma|planeta|poema|drama|grama|gramo)s?$"
)
_SPANISH_FEMININE = re.compile(
    r"(?:as?|ci[oó]n(?:es)?|si[oó]n(?:es)?|[dt]ad(?:es)?|veces|mujer(?:es)?|noches?|calles?|manos?|llaves?)$"
)


def spanish(words: str, noun: str) -> str:
    """veintiuno before casas is "veintiuna", before libros "veintiún"; doscientos before casas "doscientas"."""
    feminine = _SPANISH_FEMININE.search(noun) and not _SPANISH_MASCULINE.search(noun)
    if feminine:
        return re.sub(r"uno$", "una", re.sub(r"(cient|quinient)os\b", r"\1as", words))
    return re.sub(r"uno$", "un", re.sub(r"veintiuno$", "veintiún", words))


def spanish_ordinal(words: str, ending: str) -> str:
    """1.ª is "primera", 3er "tercer", 11.º "decimoprimero"."""
    words = re.sub(r"^décimo(?=\w)", "decimo", words)
    if ending.endswith(("ª", "a")):
        return re.sub(r"o\b", "a", words)
    return words[:-1] if ending.endswith("er") else words


def italian_ordinal(words: str, ending: str) -> str:
    """1ª is "prima"."""
    return f"{words[:-1]}a" if ending == "ª" else words


def italian_one(noun: str) -> str:
    """1 before a noun: "una casa", "un'ora", "un libro", "uno studente"; ends in a blank where one is written."""
    if re.search(r"(?:a|ione|tà|tù)$", noun) and not re.search(
        r"(?:problema|sistema|tema|programma|clima|poema)$", noun
    ):
        return "un'" if noun[0] in "aeiou" else "una "
    return "uno " if re.match(r"s[^aeiou]|z|gn|ps|x|y", noun) else "un "


_FRENCH_FEMININE = re.compile(
    r"(?:[ts]ion|té|ette|ance|ence|ure|ie|ille|elle|esse|ade|euse|trice|ée|ine|ise)s?$"
    r"|^(?:fois|heures?|minutes?|secondes?|semaines?|pages?|personnes?|femmes?|filles?|maisons?|voitures?|choses?|tonnes?|"
    r"tasses?|places?|équipes?|villes?|classes?|tables?|routes?|pièces?|lettres?|lignes?|étapes?|étoiles?)$"
)


def french(words: str, noun: str) -> str:
    """vingt et un before heures is "vingt et une"."""
    feminine = _FRENCH_FEMININE.search(noun) and not re.search(
        r"(?:musée|lycée|trophée|génie|incendie|parapluie)s?$", noun
    )
    return re.sub(r"\bun$", "une", words) if feminine else words


def french_ordinal(words: str, ending: str) -> str:
    """1re is "première", 2nde "seconde", 2nd "second"."""
    if ending in ("re", "ère"):
        return words.replace("premier", "première")
    return {"nd": "second", "nde": "seconde"}.get(ending, words)
