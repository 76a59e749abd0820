"""Numbers that name something, and are read figure by figure or in pairs: telephones, flights, postal codes."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.numbers import cardinal, digits, whole, year
from melle.text.verbalise.rules import Rule

# What is distinguished by a number of three or four figures that is read in pairs: Boeing 747, Form 1040. Rooms are not
# among these: corpora of models that read by en-1 hold them, spoken as whole numbers.
_NUMBERED = "Flight|Route|Highway|Interstate|Boeing|Form|Peugeot|Porsche|Xbox|Hwy|HTTP|[Ee]rror"
_STATES = (
    "A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
_EMERGENCY = "911|999|112|988|411|311|101|000"
_CALLED = r"call(?:s|ed|ing)?|dial(?:s|led|ed|ling|ing)?|phone[ds]?|phoning|ring|rang|text(?:ed)?"
_BOOKS = (
    "Genesis|Exodus|Leviticus|Deuteronomy|Joshua|Judges|Samuel|Kings|Chronicles|Job|Psalms?|Proverbs|Ecclesiastes|"
    "Isaiah|Jeremiah|Ezekiel|Daniel|Hosea|Amos|Micah|Matthew|Mark|Luke|John|Acts|Romans|Corinthians|Galatians|"
    "Ephesians|Philippians|Colossians|Thessalonians|Timothy|Hebrews|James|Peter|Revelation"
)
_SHORT_BOOKS = {  # before chapter and verse
    **{"Gen": "Genesis", "Ex": "Exodus", "Exod": "Exodus", "Lev": "Leviticus", "Deut": "Deuteronomy"},
    **{"Ps": "Psalm", "Prov": "Proverbs", "Isa": "Isaiah", "Jer": "Jeremiah", "Ezek": "Ezekiel", "Dan": "Daniel"},
    **{"Matt": "Matthew", "Rom": "Romans", "Cor": "Corinthians", "Gal": "Galatians", "Eph": "Ephesians"},
    **{"Heb": "Hebrews", "Rev": "Revelation"},
}
_PROGRAMS = "Python|PHP|Ubuntu|Debian|Django|Kubernetes|PyTorch|CUDA|Java|Rust|Go|Node|iOS|macOS|Android|[Vv]ersion|v"


def in_pairs(figures: str) -> str:
    """Three or four figures as people say them of flights: "two twelve", "three oh five", "fourteen oh eight"."""
    first, last = figures[:-2], figures[-2:]
    if figures.startswith("0") or len(figures) not in (3, 4):
        return whole(figures)
    if last == "00":
        return cardinal(int(figures)) if first.endswith("0") else f"{cardinal(int(first))} hundred"
    return f"{cardinal(int(first))} {f'oh {cardinal(int(last))}' if last[0] == '0' else cardinal(int(last))}"


def read_telephone(match: Match[str]) -> str:
    """+1 (555) 123-4567 is read figure by figure, with a comma between its groups."""
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def read_groups(match: Match[str]) -> str:
    """978-3-16-148410-0 likewise; an X at the end is a letter."""
    groups = [digits(group) if group != "X" else "X" for group in re.findall(r"\d+|X", match["groups"])]
    return (match["before"] or "") + ", ".join(groups)


def read_named(match: Match[str]) -> str:
    """Route 305 is "Route three oh five", Boeing 747-400 "Boeing seven forty-seven four hundred"."""
    more = f" {in_pairs(match['more'])}" if match["more"] else ""
    return f"{match['name']} {in_pairs(match['number'])}{more}"


def read_host(match: Match[str]) -> str:
    """192.168.1.1 is read with "dot" between its numbers."""
    parts = match[0].split(".")
    return match[0] if any(int(part) > 255 for part in parts) else " dot ".join(map(whole, parts))


def read_verse(match: Match[str]) -> str:
    """John 3:16-18 is "John three sixteen to eighteen"."""
    last = f" to {cardinal(int(match['last']))}" if match["last"] else ""
    return f"{match['book']} {cardinal(int(match['chapter']))} {cardinal(int(match['verse']))}{last}"


def read_program(match: Match[str]) -> str:
    """Python 3.10 is "Python three point ten", v2.0.1 "version two point zero point one"."""
    name = "version" if match["name"] in ("v", "V") else match["name"]
    return (
        f"{name}{' ' if not match['blank'] else match['blank']}{' point '.join(map(whole, match['number'].split('.')))}"
    )


TELEPHONE = (
    Rule(
        r"(?<![\w.,/$£€-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]\d{2,4}){1,4}"
        r"|(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]\d{4}|(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}|\d{3}-\d{4}"
        r"|\(?0\d{1,4}\)?(?: \d{3,4}){1,3}|0\d{4} \d{6}|0\d{9,10})(?![\w-]|[.,]\d)",
        read_telephone,
    ),
)
CODES = (
    Rule(r"(?P<before>\bISBN(?:-1[03])?:?\s)(?P<groups>\d[\d -]*[\dX])\b", read_groups),
    Rule(r"(?P<before>)(?<![\w.,/-])(?P<groups>\d+(?:-\d+){3,})(?![\w-])", read_groups),
    Rule(r"(?P<before>)(?<![\w.,/-])(?P<groups>\d{3}-\d\d-\d{4})(?![\w-])", read_groups),  # of social security
    Rule(  # of a card
        r"(?P<before>)(?<![\w.,/$£€-])(?<!\d )(?P<groups>\d{4}(?: \d{4}){3}|\d{4} \d{6} \d{5})(?![\w-]|[ .,]\d)",
        read_groups,
    ),
    Rule(r"\bCVE-(\d{4})-(\d{4,7})\b", lambda match: f"CVE {year(int(match[1]))}, {digits(match[2])}"),
    Rule(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\w)(?!\.\d)", read_host),
    Rule(
        rf"\b((?:{_CALLED})\s+)({_EMERGENCY})(?![\w.,/:-]\d|\s?[a-z]*s\b)",
        lambda match: match[1] + digits(match[2]),
        re.I,
    ),
    Rule(  # a short number: text STOP to 12345
        rf"\b((?:{_CALLED})\s+(?:\"?\w+\"?\s+(?:to|at|on)\s+)?)(\d{{5,6}})(?![\w/:-]|[.,]\d|\s(?:people|[a-z]+s)\b)",
        lambda match: match[1] + digits(match[2]),
        re.I,
    ),
    Rule(
        rf"(?<![\w.,$£€])({_EMERGENCY})(?=\s(?:calls?|call(?:er|ing)s?|operators?|dispatch\w*|emergency)\b|[.!?]*$)(?<!\w\s...)",
        lambda match: digits(match[1]),
    ),
    Rule(
        r"\b1-8(\d)\1-(?=[A-Z\d]{4})",
        lambda match: f"one eight {'hundred' if match[1] == '0' else f'{digits(match[1])} {digits(match[1])}'} ",
    ),
    Rule(r"(?<!\S)\*(?=\d)", "star "),
    Rule(r"(?<!\w)([35])'-([35])'(?!\w)", lambda match: f"{digits(match[1])} prime to {digits(match[2])} prime"),
    Rule(r"\b(\d)0(\d)\(([a-z])\)", lambda match: f"{digits(match[1])} oh {digits(match[2])} {match[3].upper()}"),
    Rule(
        rf"\b({_STATES})\s(\d{{5}})(?:-(\d{{4}}))?(?![\w-]|[.,]\d)",
        lambda match: f"{match[1]} {', '.join(digits(part) for part in match.groups()[1:] if part)}",
    ),
    Rule(r"\b[Ee]xt\. ?(\d{3,6})(?![\w-])", lambda match: f"extension {digits(match[1])}"),
    Rule(
        r"\b((?:(?:ZIP|[Zz]ip)(?: [Cc]ode)?|[Aa]rea [Cc]ode|PIN|[Pp]asscode)(?: is|:)? )(\d{3,8})(?![\w-])",
        lambda match: match[1] + digits(match[2]),
    ),
    Rule(rf"\b(?P<name>{_NUMBERED})\s(?P<number>\d{{3,4}})(?:-(?P<more>\d{{3}}))?(?![\w-]|[.,:/]\d)", read_named),
    Rule(rf"\b({'|'.join(_SHORT_BOOKS)})\.\s?(?=\d{{1,3}}:\d)", lambda match: f"{_SHORT_BOOKS[match[1]]} "),
    Rule(
        rf"\b(?P<book>{_BOOKS})\s(?P<chapter>\d{{1,3}}):(?P<verse>\d{{1,3}})(?:-(?P<last>\d{{1,3}}))?(?![\d:])",
        read_verse,
    ),
    Rule(
        rf"\b(?P<name>{_PROGRAMS})(?P<blank>\s?)(?P<number>\d+\.(?:[1-9]\d|0\d|\d+(?:\.\d+)+))(?![\w.]\w|\w)",
        read_program,
    ),
)
