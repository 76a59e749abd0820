"""Shares, fractions, ranges and plain numbers."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.numbers import NUMBER, cardinal, digits, number, ordinal, whole, year
from melle.text.verbalise.rules import SIGN, Rule, signed

_BESIDE = ((24, 7), (9, 11), (7, 7), (20, 20))  # no fractions: 9/11
_BOTH = r"%|°[CF]?|kg|km|cm|mm|m|g|mg|lbs?|oz|ft|GB|MB|mph|hrs?|mins?"  # units that both ends of a range may have
_VERBS = r"(?:is|was|has|as|does|says|makes|sells|its|his|this)\b"  # that follow 3M, which is a company
_LINES = "240|360|480|576|720|1080|1440|2160|4320"  # of a picture: 1080p
_MANY = rf"(?P<number>{NUMBER})"


def read_range(match: Match[str]) -> str:
    """10-20 is "10 to 20", of which the numbers are read later; 3-2, which goes down, "3 2"; $5-10 "5 to $10"."""
    first, last = (float(match[name].replace(",", "")) for name in ("first", "last"))
    return f"{match['first']}{' to ' if first < last else ' '}{match['currency'] or ''}{match['last']}"


def read_spaced_range(match: Match[str]) -> str:
    """10 – 20 with blanks is "10 to 20"; 20 - 10 stays, as it may be a difference."""
    first, last = (float(match[name].replace(",", "")) for name in ("first", "last"))
    return f"{match['first']} to {match['last']}" if first < last else match[0]


def read_hours(match: Match[str]) -> str:
    """Open 9-5 is "open 9 to 5"; a 10-4 win stays."""
    certain = match[1].split()[0].lower() != "a" or match[0].endswith("9-5")
    joint = " to " if certain and int(match[2]) <= 12 and int(match[3]) <= 12 else "-"
    return f"{match[1]}{match[2]}{joint}{match[3]}"


def read_lines(match: Match[str]) -> str:
    """1080p is "ten eighty p", 720p "seven twenty p"."""
    hundreds, rest = divmod(int(match[1]), 100)
    return f"{cardinal(hundreds)} {cardinal(rest)} {match[2]}"


def read_percent(match: Match[str]) -> str:
    """50% is "fifty percent"."""
    return f"{signed(match)}{number(match['number'])} {'percent' if match['mark'] == '%' else 'per mille'}"


def read_season(match: Match[str]) -> str:
    """2019/20 and 2019/2020 are "twenty nineteen twenty"."""
    last = match["last"]
    short = f"oh {cardinal(int(last))}" if last.startswith("0") else cardinal(int(last))
    return f"{year(int(match['first']))} {year(int(last)) if len(last) == 4 else short}"


def read_marks(match: Match[str]) -> str:
    """8/10 at a clause's end, and 4/5 stars, are "eight out of ten"."""
    above, below = int(match["above"]), int(match["below"])
    if above > below or (below == 5 and "star" not in match.string[match.end() :][:6]):
        return match[0]
    return f"{cardinal(above)} out of {cardinal(below)}"


def read_fraction(match: Match[str]) -> str:
    """3/4 is "three quarters", 2 1/2 "two and a half", 24/7 "twenty-four seven", 50/50 "fifty fifty", 17/5 "seventeen
    over five"."""
    whole_part, above, below = match["whole"], int(match["above"]), int(match["below"])
    if not whole_part and ((above, below) in _BESIDE or above + below == 100):
        return f"{cardinal(above)} {cardinal(below)}"
    if not 0 < above < below <= 100 or below < 2:
        words = f"{cardinal(above)} over {cardinal(below)}"
        return f"{cardinal(int(whole_part))} {words}" if whole_part else words
    if not whole_part:
        return f"{cardinal(above)} {denominator(below, above)}"
    return f"{cardinal(int(whole_part))} and {'a' if above == 1 else cardinal(above)} {denominator(below, above)}"


def denominator(below: int, above: int) -> str:
    """4 is "quarters", or of one "quarter"."""
    one, many = {2: ("half", "halves"), 4: ("quarter", "quarters")}.get(below, (ordinal(below), f"{ordinal(below)}s"))
    return one if above == 1 else many


def read_ordinal(match: Match[str]) -> str:
    """21st is "twenty-first"; 13st, which is none, "thirteen stone"."""
    if match[0].endswith("st") and (match[1][-1] != "1" or match[1].endswith("11")):
        return f"{number(match[1])} stone"
    return ordinal(int(match[1].replace(",", "")))


def read_product(match: Match[str]) -> str:
    """10 × 3 beside a sign of equality is "10 times 3", of which the numbers are read later."""
    return re.sub(r"\s?[x×]\s?", " times ", match[0])


def read_many(match: Match[str]) -> str:
    """100s of people are "hundreds of people", 10,000s "ten thousands"."""
    return cardinal(int(match[1].replace(",", ""))).removeprefix("one ") + "s"


def read_team(match: Match[str]) -> str:
    """The 49ers are "the forty-niners"."""
    words = cardinal(int(match[1]))
    return f"{words}rs" if words.endswith("e") else f"{words}ers"


def read_scale(match: Match[str]) -> str:
    """3M users are "three million users", 10K steps "ten thousand steps"."""
    scale = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}[match["scale"]]
    return f"{number(match['number'])} {scale}"


def read_version(match: Match[str]) -> str:
    """3.2.1 is "three point two point one"."""
    return " point ".join(whole(part) for part in match[0].split("."))


def read_times(match: Match[str]) -> str:
    """2x4 is "two by four", 3x "three times"."""
    if match[2]:
        return f"{_size(match[1])} by {_size(match[2])}"
    return f"{number(match[1])} times"


def read_number(match: Match[str]) -> str:
    """-5 is "minus five"; a number is set apart from letters beside it: MP3 is "MP three"."""
    before = " " if match.string[: match.start()][-1:].isalpha() else ""
    after = " " if match.string[match.end() :][:1].isalpha() else ""
    return f"{before}{signed(match)}{number(match['number'])}{after}"


def read_code(match: Match[str]) -> str:
    """The number of A380, GPT-4 and COVID-19: up to two figures are one number, more are read one by one. That of
    other words, such as top-100, stays to be read as any number."""
    letters, figures = match[1], match[2]
    if len(letters) > 1 and letters[1:].islower():
        return match[0]
    return f"{match[1]} {whole(figures) if len(figures) <= 2 else digits(figures)}{' ' if match[3] else ''}"


def _size(written: str) -> str:
    return year(int(written)) if len(written) == 4 and written[2:] != "00" else number(written)


_PRODUCT = r"\d+(?:\.\d+)?(?:\s?[x×]\s?\d+(?:\.\d+)?){1,9}"
RANGES = (  # and what else looks like an amount, but is none
    Rule(rf"(?<![\w.,]){_PRODUCT}(?=\s?=)|(?<==){_PRODUCT}(?!\w)|(?<==\s){_PRODUCT}(?!\w)", read_product),
    Rule(rf"(?<![\w.,])(\d{{1,3}}),(\d{{1,2}})(?=\s?(?:{_BOTH})(?!\w))", r"\1.\2"),  # 1,5 kg
    Rule(r"(?<![\w/.,])24/7/365(?![\w/])", "twenty-four seven three sixty-five"),
    Rule(r"(?<=\d)-yrs?-(?=olds?\b)", "-year-"),
    Rule(rf"(?<![\w.,])({_LINES})([pi])\b", read_lines),
    Rule(r"(?<![\w.,])(10|100|1,?000|1,000,000)s(?= of\b)", read_many),
    Rule(r"(?<![\w.,])(\d{1,3}(?:,000)+)s\b", read_many),
    Rule(r"(?<![\w.,])(\d{2})ers\b", read_team),
    Rule(
        rf"(?<![\w.,])(?P<number>{NUMBER})(?P<scale>[KkMB])(?=\s(?:people|children|(?!{_VERBS})[a-z]+s)\b)", read_scale
    ),
    Rule(r"(\b[A-Z]\w*,? (?:and|or) )3M\b", r"\1three M"),  # the company
    Rule(rf"(?<![\w.,$£€])(?P<number>{NUMBER})(?P<scale>M)(?=[.,;!?)]*(?:\s|$))(?!\s\w|(?<=\b3M),\s[A-Z])", read_scale),
    Rule(r"(?<=\d(?:st|nd|rd|th))\s?[-—]\s?(?=\d+(?:st|nd|rd|th)\b)", " to "),  # 1st-3rd
    Rule(r"(\b(?:[Oo]pen|works?|working|hours|daily|a|[A-Z]\w+day)[,:]? )(1?\d)-(1?\d)(?![\w.-]|,\d)", read_hours),
    Rule(rf"(?<=\d)(?P<unit>\s?(?:{_BOTH}))\s?[-—]\s?(?=\d[\d.,]*(?P=unit))", r"\g<unit> to "),  # 20%-30%
    Rule(r"(?<=\d)(\s?(?:in\b\.?|ft\b\.?|cm|mm|m|\"|')?)\s[x×]\s(?=\d)", r"\1 by "),  # 2 in. x 4 in.
    Rule(r"(?<![\w.,])(\d{1,2})ish\b", lambda match: f"{cardinal(int(match[1]))}-ish"),
    Rule(
        rf"(?<![\w.,-])(?P<currency>[$£€¥])?(?P<first>{NUMBER})(?:-[$£€¥]?|—[$£€¥])(?P<last>{NUMBER})(?![\d-]|\.\d)",
        read_range,
    ),
    Rule(
        rf"(?<![\w.,-])(?P<currency>)(?P<first>{NUMBER})\s[-—]\s(?P<last>{NUMBER})(?![\d-]|\.\d|\s?[=+×/*]|[- ]year)",
        read_spaced_range,
    ),
)
AMOUNTS = (
    Rule(rf"{SIGN}(?<![\w,]){_MANY}\s?(?P<mark>[%‰])", read_percent),
    Rule(r"(?<![\w.,/])(?P<first>1[89]\d\d|20\d\d)/(?P<last>\d\d|1[89]\d\d|20\d\d)(?![\w/]|[.,]\d)", read_season),
    Rule(r"(?<![\w.,/])(?P<above>\d{1,3})/(?P<below>5|10|100)(?=\sstars?\b|[.,;!?)]+(?:\s|$)|$)", read_marks),
    Rule(r"(?<![\w.,/])(?P<above>\d\.\d)/(?P<below>5|10)(?![\w/]|[.,]\d)", r"\g<above> out of \g<below>"),
    Rule(r"(?<![\w.,/])(?:(?P<whole>\d{1,3})\s)?(?P<above>\d{1,4})/(?P<below>\d{1,4})(?![\w/]|[.,]\d)", read_fraction),
)
NUMBERS = (
    Rule(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", read_ordinal, re.I),
    Rule(r"(?<![\w.,])\d+(?:\.\d+){2,}(?![\w]|,\d)", read_version),
    Rule(r"(?<![\w.,])(\d+(?:\.\d+)?)\s?[x×](?:\s?(\d+(?:\.\d+)?)|(?!\s?[+=^²³]))(?!\w)", read_times),
    Rule(r"(?<=\d)\s*\+\s*(?=\d)", " plus "),
    Rule(r"(?<=\d)\s[-−]\s(?=\d)", " minus "),
    Rule(r"(?<=\d)\s?÷\s?(?=\d)", " divided by "),
    Rule(r"(?<=[\w)])\s*={1,3}\s*(?=[\w(-])", " equals "),
    Rule(r"(?<![A-Za-z])([A-Za-z]+)-?(\d+)(?![.,]?\d)(?=([A-Za-z]?))", read_code),
    Rule(r"(\d)\+(?!\w)", r"\1 plus"),
    Rule(rf"(?<![\w)])~\s?(?={NUMBER})", "about "),
    Rule(r"(?<=\d):(?=\d)", " to "),
    Rule(rf"{SIGN}{_MANY}", read_number),
    Rule(r"(?<=[^\W\d_]),(?=[^\W\d_])", ", "),  # 1,5
)
