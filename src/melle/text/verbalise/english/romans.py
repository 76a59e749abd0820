"""Roman numerals: after names of rulers, of parts and of centuries."""

from __future__ import annotations

from re import Match

from melle.text.verbalise.numbers import cardinal, ordinal, roman
from melle.text.verbalise.rules import Rule, romans

RULERS = (  # names that are followed by an ordinal
    "Henry|Charles|George|Edward|William|James|Richard|John|Elizabeth|Mary|Anne|Victoria|Louis|Philip|Francis|Napoleon|"
    "Frederick|Wilhelm|Nicholas|Alexander|Peter|Catherine|Ivan|Pius|Paul|Benedict|Leo|Gregory|Innocent|Clement|Urban|"
    "Julius|Boniface|Celestine|Ramses|Ptolemy|Otto|Leopold|Albert|Ferdinand|Alfonso|Carlos|Juan|Margaret|Christian|"
    "Gustav|Harald|Haakon|Olaf|Robert|David|Stephen|Edmund|Harold|Theodore|Justinian"
)
THRONES = "King|Queen|Pope|Emperor|Empress|Tsar|Czar|Prince|Princess|Kaiser|Sultan|Saint"
PARTS = (  # and what is followed by a cardinal
    "Chapter|Part|Volume|Book|Act|Scene|Appendix|Section|Article|Phase|Stage|Type|Class|Level|Grade|Title|Figure|Table|"
    "War|Bowl|Round|Episode|Season|Division|Group|Category|Sonata|Symphony|Canto|Psalm|Mark|Apollo|Olympiad"
)
# Verbs that "I" cannot have, or seldom has, after a name that is a ruler's before all: Elizabeth I was queen.
_ROYAL = (
    "Elizabeth|Charles|James|Napoleon|Francis|Nicholas|Catherine|Frederick|Wilhelm|Leopold|Otto|Ferdinand|Edward|Henry"
)
_REIGNED = "was|were|is|has|had|died|ruled|reigned|became|succeeded|ascended|never|and|who|in"


def read_ruler(match: Match[str], value: int) -> str:
    """Henry VIII is "Henry the eighth"."""
    return f"{match['name']} the {ordinal(value)}"


def read_part(match: Match[str], value: int) -> str:
    """World War II is "World War two", Rocky IV "Rocky four"."""
    return f"{match['name']} {cardinal(value)}"


def read_world_war(match: Match[str]) -> str:
    """WWII and WW2 are "World War two"."""
    return f"World War {cardinal(roman(match['numeral']) or int(match['numeral']))}"


def read_century(match: Match[str], value: int) -> str:
    """The XIX century is "the nineteenth century"."""
    return f"{ordinal(value)}{match['end']}"


def read_item(match: Match[str], value: int) -> str:
    """IV. at the beginning is "four.", (iii) "(three)"."""
    return f"{match['before']}{cardinal(value)}{match['end']}"


ROMAN = (
    Rule(r"\bWW(?P<numeral>I{1,2}|[12])\b", read_world_war),
    romans(r"\b(?P<numeral>[IVX]+)(?:th|st|nd|rd)?(?P<end>[ -][Cc]entur(?:y|ies)\b)", read_century),
    romans(r"\b(?P<numeral>[IVX]+)(?P<end>(?= and \w+ centur(?:y|ies)\b))", read_century),
    romans(r"(?P<before>^)(?P<numeral>[IVX]{2,})(?P<end>[.)](?=\s))", read_item),
    romans(r"(?P<before>\()(?P<numeral>i{2,3}|iv|vi{0,3}|ix)(?P<end>\))", read_item),
    romans(rf"\b(?P<name>(?:{THRONES}) [A-Z]\w+) (?P<numeral>[IVX]+)\b(?!')", read_ruler),
    romans(rf"\b(?P<name>{RULERS}) (?P<numeral>[IVX]{{2,}}|[VX])\b", read_ruler),
    romans(rf"\b(?P<name>{RULERS}) (?P<numeral>I)(?=[,.;:!?)]|$| of )", read_ruler),
    romans(rf"\b(?P<name>{_ROYAL}) (?P<numeral>I)(?= (?:{_REIGNED})\b)", read_ruler),
    romans(rf"\b(?P<name>{PARTS}|{PARTS.lower()}) (?P<numeral>[IVXL]+)\b(?!')", read_part),
    romans(rf"\b(?P<name>{PARTS}|{PARTS.lower()}) (?P<numeral>i{{2,3}}|iv|vi{{1,3}}|ix)\b(?!')", read_part),
    romans(r"\b(?P<name>[A-Z][a-z]+) (?P<numeral>[IVX]{2,})\b", read_part),
)
