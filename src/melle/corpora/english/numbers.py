"""Numbers as English words."""

from __future__ import annotations

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"}


def cardinal(number: int) -> str:
    """0 to 999,999: 342 as "three hundred and forty-two"."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        return _TENS[tens] + (f"-{_SMALL[rest]}" if rest else "")
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    many, rest = divmod(number, size)
    joint = " and " if 0 < rest < 100 else " "
    return f"{cardinal(many)} {name}" + (joint + cardinal(rest) if rest else "")


def ordinal(number: int) -> str:
    """1 to 99: 22 as "twenty-second"."""
    before, hyphen, last = cardinal(number).rpartition("-")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return before + hyphen + last


def year(number: int) -> str:
    """1100 to 2099: 1907 as "nineteen oh seven", 2008 as "two thousand and eight"."""
    century, rest = divmod(number, 100)
    if 2000 <= number < 2010:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {f'oh {cardinal(rest)}' if rest < 10 else cardinal(rest)}"


def time(hour: int, minute: int) -> str:
    """Of a clock's face: 6:15 as "a quarter past six", 6:40 as "twenty to seven"."""
    following = _SMALL[hour % 12 + 1]
    named = {0: f"{_SMALL[hour]} o'clock", 15: f"a quarter past {_SMALL[hour]}", 30: f"half past {_SMALL[hour]}"}
    named[45] = f"a quarter to {following}"
    if minute in named:
        return named[minute]
    return f"{cardinal(minute)} past {_SMALL[hour]}" if minute < 30 else f"{cardinal(60 - minute)} to {following}"
