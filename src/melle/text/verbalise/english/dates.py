"""Days and months in short (``SHORT_NAMES``), dates and times of day (``DATES``), and years (``YEARS``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import Match

from melle.text.verbalise.numbers import cardinal, ordinal, year
from melle.text.verbalise.rules import Rule, any_of, closing_point

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORT_MONTHS = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
SHORT_DAYS = {day[:3]: day for day in DAYS} | {"Tues": "Tuesday", "Wednes": "Wednesday", "Thur": "Thursday"}
SHORT_DAYS |= {"Thurs": "Thursday"}
_SHORT = SHORT_DAYS | SHORT_MONTHS
_BETWEEN = {"-": " to ", "—": " to ", "/": " and ", "&": " and "}
_MONTH = rf"(?P<month>{any_of(MONTHS)}|(?:{any_of(SHORT_MONTHS)})\b\.?)"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_LAST_DAY = r"(?:-(?P<last>[12]?\d|3[01])(?:st|nd|rd|th)?)?"
_YEAR = r"(?P<year>1\d{3}|20\d\d)(?![\d,.:]*\d)"
_HALF_DAY = r"(?P<half>[ap])(?:\.\s?m\.|-?m\b)"
# Words before a year that would else be taken for a number.
_IN = r"(?P<before>\b(?:in|since|from|until|till|before|after|during|year|circa)\s)"


def read_row(match: Match[str]) -> str:
    """Mon.-Fri. is "Monday to Friday", Jan, Feb and Mar "January, February and March"."""
    parts = re.split(rf"\b({any_of(_SHORT)})\b\.?", match[0])
    between = [_BETWEEN.get(part.strip(), part) for part in parts[::2]]
    words = [_SHORT[part] for part in parts[1::2]]
    return "".join(before + word for before, word in zip(between, words)) + between[-1] + closing_point(match)


def read_one(match: Match[str]) -> str:
    """On Mon. is "on Monday"."""
    return f"{match['before'] or ''}{_SHORT[match['name']]}{closing_point(match)}"


def _row(names: Iterable[str]) -> str:
    """Several in a row, with or without points."""
    name = rf"\b(?:{any_of(names)})\b\.?"
    return rf"{name}(?:(?:\s?[-—/&]\s?|\s(?:to|through|thru|and|or)\s|,\s(?:and\s|or\s)?){name})+"


def _month(written: str) -> str:
    return SHORT_MONTHS.get(written.rstrip("."), written)


def read_day_first(match: Match[str]) -> str:
    """12 March 2021 is "the twelfth of March twenty twenty-one"."""
    day = f"{match['the'] or 'the'} {ordinal(int(match['day']))}"
    if match["last"]:
        day += f" to the {ordinal(int(match['last']))}"
    between = match["comma"] or ""
    return f"{day} of {_month(match['month'])}" + (f"{between} {year(int(match['year']))}" if match["year"] else "")


def read_month_first(match: Match[str]) -> str:
    """March 5, 2021 is "March fifth, twenty twenty-one"."""
    day = ordinal(int(match["day"])) + (f" to {ordinal(int(match['last']))}" if match["last"] else "")
    between = match["comma"] or ""
    return f"{_month(match['month'])} {day}" + (f"{between} {year(int(match['year']))}" if match["year"] else "")


def read_short_month(match: Match[str]) -> str:
    """Sept. 2021 is "September 2021", of which the year is read later."""
    return _month(match["month"])


def read_short_day(match: Match[str]) -> str:
    """Mon. before a comma, a number or a month is "Monday"."""
    return SHORT_DAYS[match[1]]


def read_figures(match: Match[str]) -> str:
    """2021-03-05 and 3/5/2021 (the month first, unless it cannot be) are "March fifth, twenty twenty-one"."""
    if match["iso"]:
        month, day = int(match["m"]), int(match["d"])
    else:
        month, day = int(match["first"]), int(match["second"])
        if month > 12 or match["dot"] == ".":  # with points it is the day that is first
            month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    written = match["iso"] or match["year"]
    number = int(written) if len(written) == 4 else 2000 + int(written) - (100 if int(written) > 50 else 0)
    return f"{MONTHS[month - 1]} {ordinal(day)}, {year(number)}"


def read_day_and_month(match: Match[str]) -> str:
    """On 12/25 is "on December twenty-fifth"; the month first, unless it cannot be."""
    month, day = int(match["first"]), int(match["second"])
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31) or (month, day) == (9, 11):
        return match[0]
    return f"{match['before']}{MONTHS[month - 1]} {ordinal(day)}"


def read_short_year(match: Match[str]) -> str:
    """Class of '99 is "class of ninety-nine", in '05 "in oh five"."""
    figures = match[1]
    if figures == "00":
        return "two thousand"
    return f"oh {cardinal(int(figures))}" if figures[0] == "0" else cardinal(int(figures))


def read_decade(match: Match[str]) -> str:
    """1990s is "nineteen nineties", '80s and the 80s are "eighties", '00s "two thousands"."""
    figures = match["figures"].replace("00", "2000") if len(match["figures"]) == 2 else match["figures"]
    words = year(int(figures)) if len(figures) == 4 else cardinal(int(figures))
    return match["before"] + (f"{words[:-1]}ies" if words.endswith("y") else f"{words}s")


def read_years(match: Match[str]) -> str:
    """1914-18 and 1914-1918 are "nineteen fourteen to eighteen", "… to nineteen eighteen"."""
    first, last = match["first"], match["last"]
    if len(last) == 2:
        return f"{year(int(first))} to {year(int(first[:2] + last)) if last[0] == '0' else cardinal(int(last))}"
    return f"{year(int(first))} to {year(int(last))}"


def read_era(match: Match[str]) -> str:
    """44 BC is "forty-four B-C"; AD 79 likewise."""
    return f"{year(int(match['number']))} {match['era'].replace('.', '')}"


def read_era_first(match: Match[str]) -> str:
    return f"AD {year(int(match['number']))}"


def read_year(match: Match[str]) -> str:
    """1984 is "nineteen eighty-four"."""
    return match.groupdict().get("before", "") + year(int(match["year"]))


def read_clock(match: Match[str]) -> str:
    """10:30 is "ten thirty", 7:05 am "seven oh five A-M", 13:00 "thirteen hundred", 12:00 "twelve o'clock".

    Hours after twelve are read by the clock of 24 hours, as timetables are announced: nobody says "seventeen o'clock",
    and "five P-M" is not what is written. 00:30 is "zero thirty".
    """
    hour, minute = int(match["hour"]), int(match["minute"])
    if minute:
        words = f"{cardinal(hour)} {f'oh {cardinal(minute)}' if minute < 10 else cardinal(minute)}"
    elif match["half"] or match["second"]:
        words = cardinal(hour)
    elif hour == 0:
        words = "midnight"
    else:
        words = f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"
    if match["second"]:
        words += f" and {cardinal(int(match['second']))} second{'' if int(match['second']) == 1 else 's'}"
    return words + _half_day(match)


def read_hour(match: Match[str]) -> str:
    """5 p.m. is "five P-M", 5-6 pm "five to six P-M"."""
    first = f"{cardinal(int(match['first']))} to " if match["first"] else ""
    return f"{first}{cardinal(int(match['hour']))}{_half_day(match)}"


def _half_day(match: Match[str]) -> str:
    if not match["half"]:
        return ""
    return f" {match['half'].upper()}-M{closing_point(match)}"


# "Sat." and "Sun." are words, too, and "May" and "Mar" names: these need a word before.
_SURE = "Mon|Tue|Tues|Wed|Wednes|Thu|Thur|Thurs|Fri|Jan|Feb|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
SHORT_NAMES = (
    Rule(_row(SHORT_DAYS), read_row),
    Rule(_row(set(SHORT_MONTHS) - {"May"}) + r"(?!\.?\s\d{1,2}\b)", read_row),
    Rule(rf"(?P<before>)\b(?P<name>{_SURE})\.(?!\s?\d|\w)", read_one),
    Rule(
        r"(?P<before>\b(?:on|to|from|through|until|till|by|every|next|last|this|and|or|in|since) )"
        r"(?P<name>Sat|Sun|Mar)\.(?!\s?\d|\w)",
        read_one,
        re.I,
    ),
)
_MUSIC = (
    "music|songs?|pop|rock|disco|funk|films?|movies?|fashion|style|hits?|bands?|era|shows?|series|decor|hair|kids?|"
    "bab(?:y|ies)|child(?:ren)?|nostalgia|cartoons?|sitcoms?|party|icons?|stars?|cinema"
)
DATES = (
    Rule(
        r"(?:(?<=\d[ap]m)|(?<=\d [ap]m)|(?<=[ap]\.m\.)|(?<=[ap]-m))\s?[-—]\s?(?=\d{1,2}(?::\d\d)?\s?[ap][.-]?m)",
        " to ",
        re.I,
    ),  # 10am-5pm
    Rule(r"\b(noon|midnight)\s?[-—]\s?(?=\d)", r"\1 to ", re.I),
    Rule(r"(?<=\d[ap]m)\s?[-—]\s?(?=noon\b|midnight\b)", " to ", re.I),
    Rule(r"(?<=\d:[0-5]\d)ish\b", "-ish"),
    Rule(r"(?<=\d:[0-5]\d)\s?[-—]\s?(?=[012]?\d:[0-5]\d(?!\d))", " to "),  # 9:00-17:00
    Rule(r"\b([Tt]he) '?([1-9]0)s[-—]'?(?=[1-9]0s\b)", r"\1 '\2s to '"),  # the 80s-90s
    Rule(r"(?<=\d\d0s)\s?[-—]\s?'?(?=[1-9]0'?s\b)", " to '"),  # 1950s-60s
    Rule(
        r"\b(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?!\d|:\d|,\d)"
        rf"(?:\s?{_HALF_DAY})?",
        read_clock,
        re.I,
    ),
    Rule(rf"\b(?P<hour>0?\d|1[0-2])\.(?P<minute>[0-5]\d)(?P<second>(?!))?\s?{_HALF_DAY}", read_clock, re.I),
    Rule(rf"\b(?:(?P<first>\d|1[0-2])-)?(?P<hour>0?\d|1[0-2])\s?{_HALF_DAY}", read_hour, re.I),
    Rule(
        rf"\b({any_of(SHORT_DAYS)})\.?(?=,?\s+(?:\d|{any_of(SHORT_MONTHS)}))",
        read_short_day,
    ),
    Rule(
        r"(?<![\w.-])(?:(?P<iso>1\d{3}|20\d\d)(?P<bar>[/-])(?P<m>\d\d?)(?P=bar)(?P<d>\d\d?)"
        r"|(?P<first>\d{1,2})(?P<dot>[/.-])(?P<second>\d{1,2})(?P=dot)(?P<year>\d{4}|\d\d))(?![\w-]|\.\d)",
        read_figures,
    ),
    Rule(
        rf"(?:\b(?P<the>[Tt]he)\s+)?\b{_DAY}{_LAST_DAY}\s+(?:of\s+)?{_MONTH}(?:(?P<comma>,?)\s+{_YEAR})?(?!\w)",
        read_day_first,
    ),
    Rule(
        rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}{_LAST_DAY}(?![\d:%]|[.,/-]\d)(?:(?P<comma>,?)\s+{_YEAR})?(?!\w)",
        read_month_first,
    ),
    Rule(
        r"(?P<before>\b(?:on|until|till|since|dated|due|by|[a-z]+day,?) )(?P<first>\d{1,2})/(?P<second>\d{1,2})"
        r"(?![\w/]|[.,]\d|\sof\b)",
        read_day_and_month,
        re.I,
    ),
    Rule(rf"\b{_MONTH}(?=\s+(?:1\d{{3}}|20\d\d)\b)", read_short_month),
    Rule(r"(?P<before>\b)(?P<figures>1\d\d0|20\d0)'?s\b", read_decade),
    Rule(r"(?P<before>)'(?P<figures>\d0)'?s\b", read_decade),
    Rule(r"(?<!\w)'(\d\d)(?![\w']|[.,]\d)", read_short_year),
    Rule(rf"(?<![\w.,'-])(?P<before>)(?P<figures>[2-9]0)'?s(?= (?:{_MUSIC})\b)", read_decade),
    Rule(
        r"(?P<before>\b(?:the|his|her|my|your|their|our|early|late|mid)[\s-])(?P<figures>[2-9]0)'?s\b",
        read_decade,
        re.I,
    ),
    Rule(r"(?<![\w.,-])(?P<first>1[1-9]\d\d|20\d\d)-(?P<last>1[1-9]\d\d|20\d\d|\d\d)(?![\w-]|[.,]\d)", read_years),
)
YEARS = (  # after amounts: 1500 m are no year
    Rule(r"\b(?P<number>\d{1,4})\s?(?P<era>BCE?|AD|CE|B\.C\.|A\.D\.)(?!\w)", read_era),
    Rule(r"\b(?:AD|A\.D\.)\s?(?P<number>\d{1,4})\b", read_era_first),
    Rule(r"(?<![\w.,:/$£€¥#+-])(?P<year>1[1-9]\d\d|20\d\d)(?![\w/%°-]|[.,:]\d)", read_year),
    Rule(
        r"(?<![\w-])(?P<before>(?:mid|pre|post|early|late)-)(?P<year>1[1-9]\d\d|20\d\d)(?![\w/%°-]|[.,:]\d)",
        read_year,
        re.I,
    ),
    Rule(rf"{_IN}(?P<year>10\d\d)(?![\w/%°-]|[.,:]\d)(?!\s+\w+s\b)", read_year, re.I),
)
