"""English titles and other abbreviations, and Roman numerals after names."""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match

from melle.text.verbalise.numbers import cardinal, ordinal, roman
from melle.text.verbalise.rules import Rule, ends_sentence

TITLES = {  # before a name; the point never ends a sentence
    **{"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Prof": "Professor", "Rev": "Reverend"},
    **{"Gen": "General", "Col": "Colonel", "Maj": "Major", "Capt": "Captain", "Lt": "Lieutenant", "Cmdr": "Commander"},
    **{"Sgt": "Sergeant", "Cpl": "Corporal", "Pvt": "Private", "Adm": "Admiral", "Gov": "Governor", "Sen": "Senator"},
    **{"Rep": "Representative", "Pres": "President", "Hon": "Honorable", "Messrs": "Messieurs"},
    **{"Fr": "Father", "Mt": "Mount", "Ft": "Fort"},
}
ALONE = ("Mr", "Mrs", "Ms", "Dr", "Prof", "Lt", "Sgt", "Capt")  # titles that are written without a point, too
ROADS = {
    "St": "Street",
    "Ave": "Avenue",
    "Rd": "Road",
    "Blvd": "Boulevard",
    "Ln": "Lane",
    "Sq": "Square",
    "Dr": "Drive",
}
SUFFIXES = {  # after a name, where the point may end a sentence, too
    **{"Jr": "Junior", "Sr": "Senior", "Esq": "Esquire", "Inc": "Incorporated", "Ltd": "Limited", "Co": "Company"},
    **{"Corp": "Corporation", "Bros": "Brothers", "Dept": "Department", "dept": "department", "Univ": "University"},
    **{"etc": "et cetera", "approx": "approximately", "est": "established", "misc": "miscellaneous"},
}
NUMBERED = {  # before a number
    **{"No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "p": "page", "pp": "pages"},
    **{"vol": "volume", "Vol": "Volume", "ch": "chapter", "Ch": "Chapter", "fig": "figure", "Fig": "Figure"},
    **{"eq": "equation", "Eq": "Equation", "sec": "section", "Sec": "Section", "ca": "circa", "c": "circa"},
    **{"art": "article", "Art": "Article", "ext": "extension", "Ext": "Extension", "ver": "version"},
}
PHRASES = (
    (r"e\.\s?g\.", "for example"),
    (r"i\.\s?e\.", "that is"),
    (r"a\.k\.a\.", "also known as"),
    (r"cf\.", "compare"),
    (r"viz\.", "namely"),
    (r"vs\b\.?", "versus"),
    (r"w/o\b", "without"),
    (r"w/(?=\s)", "with"),
    (r"and/or\b", "and or"),
)
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
# With these a sentence begins, rather than a name.
_OPENERS = (
    "The|A|An|It|Its|He|She|They|I|We|You|In|On|At|But|And|Or|This|That|These|Those|There|Here|What|When|Where|Who|Why|"
    "How|Which|Then|Now|His|Her|My|Your|Our|Their|Nobody|No|Not|None|Nothing|Everyone|Everybody|Everything|Someone|"
    "Somebody|Something|Some|All|Most|Many|Few|Each|Every|Both|One|Two|Three|If|As|After|Before|Since|While|Because|"
    "Although|Though|However|Once|For|From|With|Without|To|Of|By|Is|Are|Was|Were|Does|Did|Has|Have|Had|Could|Would|"
    "Should|Please|Yes|Only|Even|Still|Yet|Also|Later|Soon|Today|Tomorrow|Yesterday|Perhaps|Maybe|Never|Just|Such|"
    "Another|Any|Anyone|Until|Meanwhile|Instead|So|Do"
)
_OPENING = re.compile(rf"[\"'(]*(?:{_OPENERS})\b")
# Words with a capital before a letter that is no initial: "Plan B.", "Part V."
_LETTERED = "Plan|Vitamin|Option|Exhibit|Hepatitis|Item|Question|Answer|Choice|Team|Site|Gate|Room|Block|Schedule|Annex"
_BEFORE_INITIALS = re.compile(  # the text's or a sentence's start, a title, "by", or a first name
    rf"(?:^|[.!?:;][\"')]*\s+|\b(?:by|{'|'.join(TITLES.values())})\s"
    rf"|(?<!\w)(?!(?:{PARTS}|{_LETTERED}|{_OPENERS})\s$)[A-Z][a-z]+\s)[\"'(]*$"
)


def _point(match: Match[str]) -> str:
    return "." if match[0].endswith(".") and ends_sentence(match) else ""


def _like(words: str) -> Callable[[Match[str]], str]:
    """Reads as ``words``, with a capital where the abbreviation has one."""
    return lambda match: f"{words[0].upper()}{words[1:]}" if match[0][0].isupper() else words


def read_title(match: Match[str]) -> str:
    """Dr. Smith is "Doctor Smith"."""
    return TITLES[match[1]]


def read_road(match: Match[str]) -> str:
    """Baker St. is "Baker Street"; the point stays where it ends the sentence."""
    return f"{match[1]} {ROADS[match[2]]}{_point(match)}"


def read_suffix(match: Match[str]) -> str:
    """etc. is "et cetera", Jr. "Junior"."""
    return SUFFIXES[match[1]] + _point(match)


def read_numbered(match: Match[str]) -> str:
    """No. 5 is "number 5", of which the number is read later."""
    return f"{NUMBERED[match[1]]} "


def read_ruler(match: Match[str]) -> str:
    """Henry VIII is "Henry the eighth"."""
    value = roman(match["numeral"])
    return f"{match['name']} the {ordinal(value)}" if value else match[0]


def read_part(match: Match[str]) -> str:
    """World War II is "World War two", Rocky IV "Rocky four"."""
    value = roman(match["numeral"])
    return f"{match['name']} {cardinal(value)}" if value else match[0]


def read_points(match: Match[str]) -> str:
    """U.S.A. is "U-S-A"; before a name, as in the U.S. Army, its point is no sentence's end."""
    letters = "".join(re.findall("[A-Za-z]", match[1]))
    after = match.string[match.end() :].lstrip()
    named = (
        letters.isupper()
        and letters not in ("DC", "AM", "PM", "BC", "AD")
        and after[:1].isalpha()
        and not _OPENING.match(after)
    )
    return "-".join(letters).upper() + (match["s"] or "") + ("" if named else _point(match))


def read_initials(match: Match[str]) -> str:
    """J. R. R. Tolkien is "J R R Tolkien"; a letter that ends a sentence, as plan B does, keeps its point."""
    after = match.string[match.end() :]
    several = match[0].count(".") > 1
    before = match.string[max(0, match.start() - 40) : match.start()]
    if _OPENING.match(after) or not (several or _BEFORE_INITIALS.search(before)):
        return match[0]
    return " ".join(re.findall("[A-Z]", match[0])) + " "


ABBREVIATIONS = (
    *(Rule(rf"(?<![\w.]){pattern}", _like(words), re.I) for pattern, words in PHRASES),
    Rule(rf"\b({'|'.join(NUMBERED)})\.\s?(?=\d)", read_numbered),
    Rule(r"\b(vol|Vol|ch|Ch|sec|Sec|art|Art)\.\s?(?=[IVXL]+\b)", read_numbered),
    Rule(rf"\b([A-Z][\w']+) ({'|'.join(ROADS)})\b(?!'|-|\.?\s(?!(?:{_OPENERS})\b)[A-Z])\.?", read_road),
    Rule(r"\bSt\b\.?\s(?=[A-Z])", "Saint "),
    Rule(rf"\b({'|'.join(TITLES)})\.(?=\s?[A-Z\d])", read_title),
    Rule(rf"\b({'|'.join(ALONE)})(?:(?=\s[A-Z])|\.(?=\s(?:and|or|&)\s))", read_title),
    Rule(rf"\b({'|'.join(SUFFIXES)})\.", read_suffix),
    Rule(r"\b(Jr|Sr)\b", read_suffix),
    Rule(r"\bPh\.?\s?D\b\.?", lambda match: f"P-H-D{_point(match)}"),
    Rule(r"(?<![\w.-])[A-HJ-Z]\.(?:\s[A-Z]\.){0,3}\s?(?=[A-Z]['a-z])", read_initials),
    Rule(r"(?<![\w.])((?:[A-Za-z]\.){2,}(?:[A-Z](?![\w.]))?)(?P<s>'s)?(?!\w)", read_points),
)
ROMAN = (
    Rule(rf"\b(?P<name>(?:{THRONES}) [A-Z]\w+) (?P<numeral>[IVX]+)\b(?!')", read_ruler),
    Rule(rf"\b(?P<name>{RULERS}) (?P<numeral>[IVX]{{2,}}|[VX])\b", read_ruler),
    Rule(rf"\b(?P<name>{RULERS}) (?P<numeral>I)(?=[,.;:!?)]|$| of )", read_ruler),
    Rule(rf"\b(?P<name>{PARTS}|{PARTS.lower()}) (?P<numeral>[IVXL]+)\b(?!')", read_part),
    Rule(r"\b(?P<name>[A-Z][a-z]+) (?P<numeral>[IVX]{2,})\b", read_part),
)
