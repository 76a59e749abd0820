"""Titles and other abbreviations."""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match

from melle.text.verbalise.english.romans import PARTS
from melle.text.verbalise.rules import Rule, closing_point

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
    **{"tel": "telephone", "Tel": "Telephone", "incl": "including", "excl": "excluding"},
    **{"etc": "et cetera", "approx": "approximately", "est": "established", "misc": "miscellaneous"},
}
NUMBERED = {  # before a number
    **{"No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "p": "page", "pp": "pages"},
    **{"vol": "volume", "Vol": "Volume", "ch": "chapter", "Ch": "Chapter", "fig": "figure", "Fig": "Figure"},
    **{"eq": "equation", "Eq": "Equation", "sec": "section", "Sec": "Section", "ca": "circa", "c": "circa"},
    **{"art": "article", "Art": "Article", "ext": "extension", "Ext": "Extension", "ver": "version"},
    **{"max": "maximum", "Max": "Maximum", "min": "minimum", "Min": "Minimum", "avg": "average", "Avg": "Average"},
    **{"tel": "telephone", "Tel": "Telephone", "apt": "apartment", "Apt": "Apartment", "Ste": "Suite"},
    **{
        "col": "column",
        "Rm": "Room",
        "para": "paragraph",
        "Para": "Paragraph",
        "temp": "temperature",
        "Temp": "Temperature",
    },
    **{"Bldg": "Building", "bldg": "building", "Fl": "Floor", "fl": "floor"},
}
CHAT = {"gr8": "great", "l8r": "later", "l8": "late", "m8": "mate", "w8": "wait", "h8": "hate", "b4": "before"}
CHAT |= {"2day": "today", "2nite": "tonight", "2moro": "tomorrow", "2morrow": "tomorrow", "4ever": "forever"}
_COMPASS = {"N": "North", "S": "South", "E": "East", "W": "West"}
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
    (r"c/o\b", "care of"),
    (r"n/a\b", "N-A"),
    (r"y/y\b", "year on year"),
    (r"q/q\b", "quarter on quarter"),
    (r"m/m\b", "month on month"),
    (r"et al\.(?=\s[a-z(\d])", "et al"),
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
_ZONE = re.compile(r"(?:[ECMP][SD]?T|GMT|UTC|BST|C?EST)\b")
# In the U.S. a sentence may end, unless a name goes on, or what follows are two words with a capital.
_WHERE = re.compile(r"\b(?:in|of|to|from|across|outside|inside|within|throughout|into|leave|left|visit) the $", re.I)
_STATE = re.compile(
    r"(?:Senate|House|Congress|Capitol|Army|Navy|Air|Marines?|Coast|Military|Department|Treasury|Federal|Government|"
    r"President|Supreme|District|Court|Constitution|Census|Open|Postal|Secretary|State|States|Steel|Bank|Embassy|"
    r"Ambassador|Attorney|Forest|Geological|Patent|Securities|Food|Centers|Virgin|Customs|Security|General|Charter|"
    r"Olympic|Route|Highway|Dollar|Women|Men|Soccer|Chamber|Office|Environmental|Agency|Bureau|Republican|Democratic)"
    r"|[A-Z]\w*(?:'s)? [A-Z]"
)
_BEFORE_INITIALS = re.compile(  # the text's or a sentence's start, a title, "by", or a first name
    rf"(?:^|[.!?:;][\"')]*\s+|\b(?:by|{'|'.join(TITLES.values())})\s"
    rf"|(?<!\w)(?!(?:{PARTS}|{_LETTERED}|{_OPENERS})\s$)[A-Z][a-z]+\s)[\"'(]*$"
)


def _like(words: str) -> Callable[[Match[str]], str]:
    """Reads as ``words``, with a capital where the abbreviation has one."""
    return lambda match: f"{words[0].upper()}{words[1:]}" if match[0][0].isupper() else words


def _chat(match: Match[str]) -> str:
    word = CHAT.get(match[0].lower(), match[0]) if match[0].islower() or len(match[0]) > 2 else match[0]
    return word.capitalize() if match[0][0].isupper() and word != match[0] else word


def read_title(match: Match[str]) -> str:
    """Dr. Smith is "Doctor Smith"."""
    return TITLES[match[1]]


def read_road(match: Match[str]) -> str:
    """Baker St. is "Baker Street"; the point stays where it ends the sentence."""
    return f"{match[1]} {ROADS[match[2]]}{closing_point(match)}"


def read_suffix(match: Match[str]) -> str:
    """etc. is "et cetera", Jr. "Junior"."""
    several = re.match(rf"\s(?:{'|'.join(SUFFIXES)})\b", match.string[match.end() :])
    return SUFFIXES[match[1]] + ("" if several else closing_point(match))


def read_numbered(match: Match[str]) -> str:
    """No. 5 is "number 5", of which the number is read later."""
    return f"{NUMBERED[match[1]]} "


def read_points(match: Match[str]) -> str:
    """U.S.A. is "U-S-A"; before a name, as in the U.S. Army, its point is no sentence's end, nor before a zone of
    times."""
    letters = "".join(re.findall("[A-Za-z]", match[1]))
    after = match.string[match.end() : match.end() + 80].lstrip()
    if letters.upper() in ("AM", "PM"):
        named = _ZONE.match(after) is not None
    else:
        named = (
            letters.isupper()
            and letters not in ("DC", "BC", "AD")
            and after[:1].isalpha()
            and not _OPENING.match(after)
            and not (
                _WHERE.search(match.string[max(0, match.start() - 20) : match.start()]) and not _STATE.match(after)
            )
        )
    return "-".join(letters).upper() + (match["s"] or "") + ("" if named else closing_point(match))


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
    Rule(r"\bAT&T\b", "A-T-and-T"),
    Rule(r"\bpp\.\s?(\d+)-(\d+)", r"pages \1 to \2"),
    Rule(r"\best\.(?=\s[$£€])", "estimated"),
    Rule(r"\b[Nn][°º]\s?(?=\d)|№\s?(?=\d)", "number "),
    Rule(rf"(?<!\w)({'|'.join(CHAT)})(?!\w)", _chat, re.I),
    Rule(rf"\b({'|'.join(NUMBERED)})\.\s?(?=\(?\d)", read_numbered),
    Rule(r"\b(vol|Vol|ch|Ch|sec|Sec|art|Art)\.\s?(?=[IVXL]+\b)", read_numbered),
    Rule(
        rf"\b([A-Z][\w']+|\d+(?:st|nd|rd|th)) ({'|'.join(ROADS)})\b(?!'|-|\.?\s(?!(?:{_OPENERS})\b)[A-Z])\.?", read_road
    ),
    Rule(r"\b([NSEW])\.?\s(?=\d+(?:st|nd|rd|th)\b)", lambda match: f"{_COMPASS[match[1]]} "),
    Rule(r"\bSt\b\.?\s(?=[A-Z])", "Saint "),
    Rule(rf"\b({'|'.join(TITLES)})\.(?=[\s-]?[A-Z\d])", read_title),
    Rule(rf"\b({'|'.join(ALONE)})(?:(?=\s[A-Z])|\.(?=\s(?:and|or|&)\s))", read_title),
    Rule(rf"\b({'|'.join(SUFFIXES)})\.", read_suffix),
    Rule(r"(?<=\d(?:st|nd|rd|th)) c\.", lambda match: f" century{closing_point(match)}"),
    Rule(r"\b(Jr|Sr)\b", read_suffix),
    Rule(r"\bPh\.?\s?D\b\.?", lambda match: f"P-H-D{closing_point(match)}"),
    Rule(r"(?<![\w.-])[A-HJ-Z]\.(?:\s[A-Z]\.){0,3}\s?(?=[A-Z]['a-z])", read_initials),
    Rule(r"(?<![\w.])((?:[A-Za-z]\.){2,}(?:[A-Z](?![\w.]))?)(?P<s>'s)?(?!\w)", read_points),
)
