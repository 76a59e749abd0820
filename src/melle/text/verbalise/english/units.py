"""Measures: units after numbers, feet and inches, degrees of a map."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.english.amounts import denominator
from melle.text.verbalise.numbers import NUMBER, cardinal, number
from melle.text.verbalise.rules import SIGN, Rule, any_of, closing_point, ends_sentence, signed

UNITS = {  # one, many
    **{"km": ("kilometer", "kilometers"), "m": ("meter", "meters"), "cm": ("centimeter", "centimeters")},
    **{"mm": ("millimeter", "millimeters"), "nm": ("nanometer", "nanometers")},
    **{"μm": ("micrometer", "micrometers"), "µm": ("micrometer", "micrometers")},
    **{"ft": ("foot", "feet"), "yd": ("yard", "yards"), "yds": ("yard", "yards"), "mi": ("mile", "miles")},
    **{"kg": ("kilogram", "kilograms"), "g": ("gram", "grams"), "mg": ("milligram", "milligrams")},
    **{"µg": ("microgram", "micrograms"), "μg": ("microgram", "micrograms"), "mcg": ("microgram", "micrograms")},
    **{"lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces")},
    **{"l": ("liter", "liters"), "L": ("liter", "liters"), "ml": ("milliliter", "milliliters")},
    **{"mL": ("milliliter", "milliliters"), "cl": ("centiliter", "centiliters"), "dl": ("deciliter", "deciliters")},
    **{"gal": ("gallon", "gallons"), "fl oz": ("fluid ounce", "fluid ounces"), "cc": ("C-C", "C-C")},
    **{"tsp": ("teaspoon", "teaspoons"), "tbsp": ("tablespoon", "tablespoons"), "qt": ("quart", "quarts")},
    **{"h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "min": ("minute", "minutes")},
    **{"mins": ("minute", "minutes"), "s": ("second", "seconds"), "sec": ("second", "seconds")},
    **{"secs": ("second", "seconds"), "ms": ("millisecond", "milliseconds"), "ns": ("nanosecond", "nanoseconds")},
    **{"µs": ("microsecond", "microseconds"), "μs": ("microsecond", "microseconds")},
    **{"yr": ("year", "years"), "yrs": ("year", "years"), "wk": ("week", "weeks"), "wks": ("week", "weeks")},
    **{"mos": ("month", "months"), "pts": ("point", "points"), "bps": ("basis point", "basis points")},
    **{"Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz")},
    **{"GHz": ("gigahertz", "gigahertz"), "dB": ("decibel", "decibels"), "px": ("pixel", "pixels")},
    **{"KB": ("kilobyte", "kilobytes"), "kB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes")},
    **{"GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"), "PB": ("petabyte", "petabytes")},
    **{"MiB": ("mebibyte", "mebibytes"), "GiB": ("gibibyte", "gibibytes"), "KiB": ("kibibyte", "kibibytes")},
    **{"Mb": ("megabit", "megabits"), "Gb": ("gigabit", "gigabits"), "Mbit": ("megabit", "megabits")},
    **{"kbps": ("kilobit per second", "kilobits per second"), "Mbps": ("megabit per second", "megabits per second")},
    **{"Gbps": ("gigabit per second", "gigabits per second")},
    **{"W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts")},
    **{"GW": ("gigawatt", "gigawatts"), "TW": ("terawatt", "terawatts"), "mW": ("milliwatt", "milliwatts")},
    **{"kWh": ("kilowatt hour", "kilowatt hours"), "MWh": ("megawatt hour", "megawatt hours")},
    **{"GWh": ("gigawatt hour", "gigawatt hours"), "TWh": ("terawatt hour", "terawatt hours")},
    **{"V": ("volt", "volts"), "kV": ("kilovolt", "kilovolts"), "mV": ("millivolt", "millivolts")},
    **{"mA": ("milliampere", "milliamperes"), "mAh": ("milliampere hour", "milliampere hours")},
    **{"Ω": ("ohm", "ohms"), "kΩ": ("kilohm", "kilohms"), "MΩ": ("megohm", "megohms")},
    **{"J": ("joule", "joules"), "kJ": ("kilojoule", "kilojoules"), "cal": ("calorie", "calories")},
    **{
        "kcal": ("kilocalorie", "kilocalories"),
        "hp": ("horsepower", "horsepower"),
        "Nm": ("newton meter", "newton meters"),
    },
    **{"Pa": ("pascal", "pascals"), "kPa": ("kilopascal", "kilopascals"), "hPa": ("hectopascal", "hectopascals")},
    **{"psi": ("pound per square inch", "pounds per square inch"), "bpm": ("beat per minute", "beats per minute")},
    **{"ppm": ("part per million", "parts per million"), "mph": ("mile per hour", "miles per hour")},
    **{"kph": ("kilometer per hour", "kilometers per hour"), "mpg": ("mile per gallon", "miles per gallon")},
    **{"rpm": ("revolution per minute", "revolutions per minute")},
    **{"fps": ("frame per second", "frames per second"), "ha": ("hectare", "hectares")},
    **{"atm": ("atmosphere", "atmospheres")},
    **{"°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit")},
    **{"°": ("degree", "degrees"), "sq ft": ("square foot", "square feet"), "sq mi": ("square mile", "square miles")},
    **{"sq m": ("square meter", "square meters"), "sq km": ("square kilometer", "square kilometers")},
}
_PER = {"h": "hour", "s": "second", "min": "minute", "l": "liter", "kg": "kilogram", "km": "kilometer", "day": "day"}
_PER |= {"m²": "square meter", "m³": "cubic meter", "month": "month", "year": "year", "hr": "hour", "L": "liter"}
_PER |= {"s²": "second squared", "s2": "second squared", "km²": "square kilometer", "cm²": "square centimeter"}
_PER |= {"cm³": "cubic centimeter", "dL": "deciliter", "dl": "deciliter", "ml": "milliliter", "mL": "milliliter"}
_PER |= {"sec": "second", "g": "gram", "mol": "mole", "week": "week", "gal": "gallon"}
_EACH = ("ml", "mL", "dl", "dL", "kg", "sec", "min", "hr", "day", "week", "month", "km²", "m²", "cm²", "m³", "cm³")
_POWERS = {"²": "square", "³": "cubic"}
_DIRECTIONS = {"N": "north", "S": "south", "E": "east", "W": "west"}
# Units that are read without a number, too: people per km².
_SQUARED = "km|cm|mm|ft|mi|yd|m"


_UNIT = rf"(?P<unit>{any_of(UNITS)})(?P<power>[²³])?"
# Joined to a number by a hyphen: a 10-lb bag.
_JOINED = any_of([unit for unit in UNITS if len(unit) > 1 and unit.isascii()] + ["m", "g", "V", "W"])
# What follows a length that describes no noun: 12 in. long.
_MEASURED = "tall|long|wide|high|deep|thick|across|square|diameter|apart|away|shorter|taller|longer|wider|above|below"
_NOUN = rf"\s(?!(?:{_MEASURED}|of|and|or|by|to|x|in|on|is|was|from|at|when|if)\b)[a-z]"  # what a length describes


def read_unit(match: Match[str]) -> str:
    """3.5 kg is "three point five kilograms", a 5 km run "a five kilometer run", 80 km/h "eighty
    kilometers per hour", 5 m² "five square meters".

    The point of "20 ft. tall" is not read.
    """
    one, many = UNITS[match["unit"]]
    described = match["a"] and not match["point"] and re.match(_NOUN, match.string[match.end() : match.end() + 60])
    name = one if match["number"] == "1" or described else many
    name = f"{_POWERS[match['power']]} {name}" if match["power"] else name
    per = f" per {_PER[match['per']]}" if match["per"] else ""
    return f"{match['a'] or ''}{signed(match)}{number(match['number'])} {name}{per}{closing_point(match)}"


def read_joined(match: Match[str]) -> str:
    """A 10-lb bag is "a ten-pound bag"."""
    return f"{number(match['number'])}-{UNITS[match['unit']][0]}"


def read_rate(match: Match[str]) -> str:
    """/km² and per km² are "per square kilometer", km/h alone "kilometers per hour"."""
    one, many = UNITS[match["unit"]]
    power = f"{_POWERS[match['power']]} " if match["power"] else ""
    before = match["before"] or ""
    return f"{' per ' if before == '/' else before}{power}{one if before else many}"


def read_part(match: Match[str]) -> str:
    """1/2 km is "half a kilometer", 3/4 in. "three quarters of an inch", 2 1/2 lbs "two and a half pounds"."""
    one, many = UNITS.get(match["unit"], ("inch", "inches"))
    above, below = int(match["above"]), int(match["below"])
    share, point = denominator(below, above), closing_point(match)
    if match["whole"]:
        return f"{cardinal(int(match['whole']))} and {'a' if above == 1 else cardinal(above)} {share} {many}{point}"
    a = "an" if one.startswith(("hour", "inch", "ounce")) else "a"
    if (above, below) == (1, 2):
        return f"half {a} {one}{point}"
    return f"{cardinal(above)} {share} of {a} {one}{point}"


def read_feet(match: Match[str]) -> str:
    """5'10" and 5 ft 10 in are "five feet ten inches", a 10' ladder "a ten foot ladder"."""
    feet, inches = match["feet"], match["inches"]
    if not inches and match["a"] and re.match(_NOUN, match.string[match.end() : match.end() + 60]):
        return f"{match['a']}{cardinal(int(feet))} foot"
    more = f" {number(inches)} {'inch' if inches == '1' else 'inches'}" if inches else ""
    return f"{match['a'] or ''}{cardinal(int(feet))} {'foot' if feet == '1' else 'feet'}{more}{closing_point(match)}"


def read_inches(match: Match[str]) -> str:
    """12 in. is "twelve inches", a 12 in. pipe "a twelve inch pipe"."""
    one = match["number"] == "1" or match["a"] is not None
    point = "." if match["point"] and ends_sentence(match) else ""
    return f"{match['a'] or ''}{number(match['number'])} inch{'' if one else 'es'}{point}"


def read_inch_marks(text: str) -> str:
    """3" is "3 inches", a 3" pipe "a 3 inch pipe", of which the numbers are read later; after a quotation mark that is
    open, " closes it."""
    if '"' not in text or not any(character.isdecimal() for character in text):
        return text
    parts, quoted, start = [], False, 0
    for match in re.finditer('"', text):
        place = match.start()
        if quoted or not text[place - 1 : place].isdecimal():
            quoted = not quoted
            continue
        described = re.search(r"\b[Aa]n?\s[\d./]+$", text[start:place]) and re.match(
            _NOUN, text[place + 1 : place + 60]
        )
        one = described or re.search(r"(?:^|[^\d.,/])(?:1|\d/\d+)$", text[start:place])
        parts += [text[start:place], " inch" if one else " inches"]
        start = place + 1
        if text[start : start + 1].isalnum():
            parts.append(" ")
    return "".join([*parts, text[start:]])


def read_place(match: Match[str]) -> str:
    """40°26'46"N is "forty degrees twenty-six minutes forty-six seconds north"."""
    degrees, minutes, seconds, direction = match.groups()
    amounts = ((degrees, "degree"), (minutes, "minute"), (seconds, "second"))
    return " ".join([*(_counted(*amount) for amount in amounts if amount[0]), _DIRECTIONS[direction]])


def read_relay(match: Match[str]) -> str:
    """The 4x100m relay is "the four by one hundred meter relay"."""
    described = re.match(_NOUN, match.string[match.end() : match.end() + 60])
    return f"{number(match['times'])} by {number(match['number'])} {'meter' if described else 'meters'}"


def read_amps(match: Match[str]) -> str:
    """At 15 A is "at fifteen amps", a 15 A fuse "a fifteen amp fuse"."""
    name = "amp" if match["a"] or match["number"] == "1" else "amps"
    return f"{match['before']}{number(match['number'])} {name}"


def read_duration(match: Match[str]) -> str:
    """1h 30m is "one hour thirty minutes", 5m 30s "five minutes thirty seconds"."""
    long, short = ("hour", "minute") if match[2].startswith("h") else ("minute", "second")
    return f"{_counted(match[1], long)} {_counted(match[3], short)}"


def _counted(figures: str, name: str) -> str:
    return f"{number(figures)} {name}{'' if figures == '1' else 's'}"


_FRACTION = r"(?:(?P<whole>\d{1,3})\s)?(?P<above>[1-9]\d?)/(?P<below>[2-9]|1[0-6]|32|64)"
UNITS_RULES = (
    Rule(r"(?<![\w.,])(?P<times>\d{1,2})[x×](?P<number>\d{1,4})\s?m(?!\w)", read_relay),
    Rule(
        r"(?<![\w.,])(\d{1,3}(?:\.\d+)?)°\s?(?:(\d{1,2})'\s?)?(?:(\d{1,2}(?:\.\d+)?)(?:\"|'')\s?)?([NSEW])\b",
        read_place,
    ),
    Rule(r"(?<![\w.,])(\d+)\s?(hr?s?)\s?(\d{1,2})\s?m(?:ins?)?(?![\w'])", read_duration),
    Rule(r"(?<![\w.,])(\d+)(m)\s?(\d{1,2})s(?![\w'])", read_duration),
    Rule(
        r"(?<![\w.,])(?P<a>)(?P<feet>\d{1,2})(?:'\s?|\s?(?:ft\.?|feet|foot)\s?)(?P<inches>\d{1,2}(?:\.\d)?)\s?"
        r"(?:\"|''|in\b\.?(?!\s(?:the|a|an|my|his|her|our|their|\d)\b)|inch(?:es)?\b)",
        read_feet,
    ),
    Rule(r"(?P<a>\b[Aa]n?\s)?(?<![.,\w'])(?P<feet>\d{1,2})'(?:\s?(?P<inches>\d{1,2}))?(?![\w'])", read_feet),
    read_inch_marks,
    Rule(
        rf"(?<![\w.,/]){_FRACTION}\s?(?P<unit>{any_of(UNITS)}|in(?=\.|[,;)]|$)|inch(?:es)?)(?![\w²³])(?P<point>\.(?![\w.]))?",
        read_part,
    ),
    Rule(
        rf"(?P<a>\b[Aa]n?\s)(?<![.,])(?P<number>{NUMBER})[\s-]?(?:in\.|inch\b)(?P<point>)(?={_NOUN})",
        read_inches,
    ),
    Rule(rf"(?P<a>(?!))?(?<![\w.,])(?P<number>{NUMBER})\s?in(?P<point>\.)(?![\w.])", read_inches),
    Rule(rf"(?P<a>(?!))?(?<![\w.,])(?P<number>{NUMBER})\s?in(?P<point>(?!))?(?=\s(?:{_MEASURED})\b)", read_inches),
    Rule(rf"(?<![\w.,])(?P<number>{NUMBER})-(?P<unit>{_JOINED})(?![\w-])\.?", read_joined),
    Rule(
        rf"(?P<a>\b[Aa]n?\s(?:\d[\d.]*\sby\s)?)?{SIGN}(?<![\w.,])(?P<number>{NUMBER})\s?{_UNIT}"
        rf"(?:/(?P<per>{any_of(_PER)}))?(?!\w|'s\b)"
        r"(?P<point>\.(?![\w.]))?",
        read_unit,
    ),
    Rule(r"(?<![\w.,])(\d+\.\d+) A(?![\w'-])(?! [a-z])", r"\1 amps"),
    Rule(
        rf"(?P<before>^|\b(?:at|of|draws?|about|than|over|under|maximum|rated) |(?P<a>\b[Aa]n? ))(?P<number>{NUMBER}) A"
        rf"(?![\w'-])(?(a)(?={_NOUN})|(?=[.,;!?)]|$))",
        read_amps,
    ),
    Rule(rf"(?<=[a-z]{{2}})/(?P<per>{any_of(_EACH)})(?!\w)", lambda match: f" per {_PER[match['per']]}"),
    Rule(rf"(?P<before>/|\bper\s)(?P<unit>{_SQUARED})(?P<power>[²³])(?!\w)", read_rate),
    Rule(rf"(?P<before>)(?<![\w²³])(?P<unit>{_SQUARED})(?P<power>[²³])(?!\w)", read_rate),
    Rule(r"(?<![\w/])km/h(?!\w)", "kilometers per hour"),
    Rule(r"(?<![\w/])m/s(?:²|2|\^2)(?!\w)", "meters per second squared"),
    Rule(r"(?<![\w/])m/s(?![\w²^])", "meters per second"),
)
