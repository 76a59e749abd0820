"""English money, measures, shares, fractions, ranges and plain numbers."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.numbers import NUMBER, cardinal, digits, number, ordinal, whole, year
from melle.text.verbalise.rules import Rule, ends_sentence

CURRENCIES = {  # one, many, a hundredth, hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
    "US$": ("US dollar", "US dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
}
_CODES = {"USD": "US$", "AUD": "A$", "CAD": "C$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "tn": "trillion"}
_SCALES |= {"K": "thousand", "M": "million", "B": "billion", "Bn": "billion", "T": "trillion", "Tn": "trillion"}
_SCALE = r"(?:\s?(?P<scale>thousand|million|billion|trillion|(?:k|mn|m|bn|b|tn)\b)|(?P<capital>(?:K|M|Bn?|Tn?)\b))?"

UNITS = {  # one, many
    **{
        "km": ("kilometer", "kilometers"),
        "m": ("meter", "meters"),
        "cm": ("centimeter", "centimeters"),
        "mm": ("millimeter", "millimeters"),
    },
    **{"nm": ("nanometer", "nanometers"), "μm": ("micrometer", "micrometers"), "µm": ("micrometer", "micrometers")},
    **{"ft": ("foot", "feet"), "yd": ("yard", "yards"), "mi": ("mile", "miles")},
    **{"kg": ("kilogram", "kilograms"), "g": ("gram", "grams"), "mg": ("milligram", "milligrams")},
    **{"lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces")},
    **{"l": ("liter", "liters"), "L": ("liter", "liters"), "ml": ("milliliter", "milliliters")},
    **{"mL": ("milliliter", "milliliters"), "cl": ("centiliter", "centiliters"), "gal": ("gallon", "gallons")},
    **{"h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "min": ("minute", "minutes")},
    **{"mins": ("minute", "minutes"), "s": ("second", "seconds"), "sec": ("second", "seconds")},
    **{"secs": ("second", "seconds"), "ms": ("millisecond", "milliseconds"), "ns": ("nanosecond", "nanoseconds")},
    **{"Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz")},
    **{"GHz": ("gigahertz", "gigahertz"), "dB": ("decibel", "decibels"), "px": ("pixel", "pixels")},
    **{"KB": ("kilobyte", "kilobytes"), "kB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes")},
    **{"GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"), "Mbps": ("megabit per second",) * 2},
    **{"W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts")},
    **{"kWh": ("kilowatt hour", "kilowatt hours"), "V": ("volt", "volts"), "mA": ("milliampere", "milliamperes")},
    **{"J": ("joule", "joules"), "kJ": ("kilojoule", "kilojoules"), "cal": ("calorie", "calories")},
    **{"kcal": ("kilocalorie", "kilocalories"), "mph": ("mile per hour", "miles per hour")},
    **{
        "kph": ("kilometer per hour", "kilometers per hour"),
        "rpm": ("revolution per minute", "revolutions per minute"),
    },
    **{"fps": ("frame per second", "frames per second"), "ha": ("hectare", "hectares")},
    **{"°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit")},
    **{"°": ("degree", "degrees"), "sq ft": ("square foot", "square feet")},
}
_PER = {"h": "hour", "s": "second", "min": "minute", "l": "liter", "kg": "kilogram", "km": "kilometer", "day": "day"}
_PER |= {"m²": "square meter", "m³": "cubic meter", "month": "month", "year": "year", "hr": "hour"}
_UNIT = rf"(?P<unit>{'|'.join(map(re.escape, sorted(UNITS, key=len, reverse=True)))})(?P<power>[²³])?"
_PER_UNIT = rf"(?:/(?P<per>{'|'.join(sorted(_PER, key=len, reverse=True))}))?"
_DENOMINATORS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_SIGN = r"(?P<sign>(?<![\w)])[-+±])?"
_LINES = "240|360|480|576|720|1080|1440|2160|4320"  # of a picture: 1080p
_MANY = rf"(?P<number>{NUMBER})"


def read_range(match: Match[str]) -> str:
    """10-20 is "10 to 20", of which the numbers are read later; 3-2, which goes down, "3 2"; $5-10 "5 to $10"."""
    first, last = (float(match[name].replace(",", "")) for name in ("first", "last"))
    return f"{match['first']}{' to ' if first < last else ' '}{match['currency'] or ''}{match['last']}"


def read_money(match: Match[str]) -> str:
    """$3.50 is "three dollars and fifty cents", £2.5m "two point five million pounds"."""
    one, many, hundredth, hundredths = CURRENCIES[match["currency"]]
    written, scale = match["number"].replace(",", ""), match["scale"] or match["capital"]
    sign = "minus " if match["sign"] == "-" else ""
    if scale:
        return f"{sign}{number(written)} {_SCALES.get(scale, scale)} {many}"
    before, _, after = written.partition(".")
    if len(after) not in (0, 2):
        return f"{sign}{number(written)} {many}"
    parts = []
    if int(before or 0) or not int(after or 0):
        parts.append(f"{cardinal(int(before or 0))} {one if int(before or 0) == 1 else many}")
    if int(after or 0):
        parts.append(f"{cardinal(int(after))} {hundredth if int(after) == 1 else hundredths}")
    return sign + " and ".join(parts)


def read_money_after(match: Match[str]) -> str:
    """5 €, 20 USD: as with the sign in front."""
    sign = match["currency"]
    return f"{match['minus'] or ''}{_CODES.get(sign, sign)}{match['number']}{match['scale'] or match['capital'] or ''}"


def read_pence(match: Match[str]) -> str:
    """50p is "fifty pence", 1¢ "one cent"."""
    one, many = ("penny", "pence") if match[2] == "p" else ("cent", "cents")
    return f"{cardinal(int(match[1]))} {one if int(match[1]) == 1 else many}"


def read_unit(match: Match[str]) -> str:
    """3.5 kg is "three point five kilograms", 80 km/h "eighty kilometers per hour", 5 m² "five square meters".

    The point of "20 ft. tall" is not read.
    """
    one, many = UNITS[match["unit"]]
    name = one if match["number"] == "1" else many
    name = {"²": "square ", "³": "cubic "}.get(match["power"] or "", "") + name
    per = f" per {_PER[match['per']]}" if match["per"] else ""
    point = "." if match["point"] and ends_sentence(match) else ""
    return f"{_signed(match)}{number(match['number'])} {name}{per}{point}"


def read_lines(match: Match[str]) -> str:
    """1080p is "ten eighty p", 720p "seven twenty p"."""
    hundreds, rest = divmod(int(match[1]), 100)
    return f"{cardinal(hundreds)} {cardinal(rest)} {match[2]}"


def read_feet(match: Match[str]) -> str:
    """5'10" is "five feet ten inches"."""
    inches = f" {cardinal(int(match[2]))} inch{'' if match[2] == '1' else 'es'}" if match[2] else ""
    return f"{cardinal(int(match[1]))} {'foot' if match[1] == '1' else 'feet'}{inches}"


def read_percent(match: Match[str]) -> str:
    """50% is "fifty percent"."""
    return f"{_signed(match)}{number(match['number'])} {'percent' if match['mark'] == '%' else 'per mille'}"


def read_fraction(match: Match[str]) -> str:
    """3/4 is "three quarters", 2 1/2 "two and a half", 24/7 "twenty-four seven", 17/5 "seventeen over five"."""
    whole_part, above, below = match["whole"], int(match["above"]), int(match["below"])
    if (above, below) == (24, 7) and not whole_part:
        return "twenty-four seven"
    if not 0 < above < below <= 100 or below < 2:
        words = f"{cardinal(above)} over {cardinal(below)}"
        return f"{cardinal(int(whole_part))} {words}" if whole_part else words
    one, many = _DENOMINATORS.get(below, (ordinal(below), f"{ordinal(below)}s"))
    if not whole_part:
        return f"{cardinal(above)} {one if above == 1 else many}"
    return f"{cardinal(int(whole_part))} and {'a' if above == 1 else cardinal(above)} {one if above == 1 else many}"


def read_telephone(match: Match[str]) -> str:
    """+1 (555) 123-4567 is read figure by figure, with a comma between its groups."""
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def read_ordinal(match: Match[str]) -> str:
    """21st is "twenty-first"."""
    return ordinal(int(match[1].replace(",", "")))


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
    return f"{before}{_signed(match)}{number(match['number'])}{after}"


def read_code(match: Match[str]) -> str:
    """The number of A380, GPT-4 and COVID-19: up to two figures are one number, more are read one by one. That of
    other words, such as top-100, stays to be read as any number."""
    letters, figures = match[1], match[2]
    if len(letters) > 1 and letters[1:].islower():
        return match[0]
    return f"{match[1]} {whole(figures) if len(figures) <= 2 else digits(figures)}{' ' if match[3] else ''}"


def _size(written: str) -> str:
    return year(int(written)) if len(written) == 4 and written[2:] != "00" else number(written)


def _signed(match: Match[str]) -> str:
    return {"-": "minus ", "+": "plus ", "±": "plus or minus "}.get(match["sign"] or "", "")


TELEPHONE = (
    Rule(
        r"(?<![\w.,/$£€-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]\d{2,4}){1,4}"
        r"|(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]\d{4}|(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}|\d{3}-\d{4}"
        r"|\(?0\d{1,4}\)?(?: \d{3,4}){1,3}|0\d{9,10})(?![\w-]|[.,]\d)",
        read_telephone,
    ),
)
AMOUNTS = (
    Rule(r"(?<=\d[KMBTkmb])[-—](?=[$£€¥]\d)", " to "),  # $3M-$5M
    Rule(
        rf"(?<![\w.,-])(?P<currency>[$£€¥])?(?P<first>{NUMBER})(?:-[$£€¥]?|—[$£€¥])(?P<last>{NUMBER})(?![\d-]|\.\d)",
        read_range,
    ),
    Rule(
        rf"(?P<minus>(?<![\w)])-)?{_MANY}{_SCALE}\s?(?P<currency>[€£¥₹₩](?!\d)|\$(?![\d])|(?:{'|'.join(_CODES)})\b)",
        read_money_after,
    ),
    Rule(
        rf"(?P<sign>(?<![\w)])-)?(?P<currency>{'|'.join(map(re.escape, sorted(CURRENCIES, key=len, reverse=True)))})\s?"
        rf"{_MANY}{_SCALE}",
        read_money,
    ),
    Rule(rf"(?<![\w.,])({_LINES})([pi])\b", read_lines),
    Rule(r"(?<![\w.,])(\d+)\s?(p\b|¢)", read_pence),
    Rule(r"(?<![\w.,])(\d{1,2})'(?:\s?(\d{1,2})\")?(?![\w'])", read_feet),
    Rule(
        rf"{_SIGN}(?<![\w.,]){_MANY}\s?{_UNIT}(?:/(?P<per>{'|'.join(sorted(_PER, key=len, reverse=True))}))?(?!\w)"
        r"(?P<point>\.(?![\w.]))?",
        read_unit,
    ),
    Rule(rf"{_SIGN}(?<![\w,]){_MANY}\s?(?P<mark>[%‰])", read_percent),
    Rule(r"(?<![\w.,/])(?:(?P<whole>\d{1,3})\s)?(?P<above>\d{1,4})/(?P<below>\d{1,4})(?![\w/]|[.,]\d)", read_fraction),
)
NUMBERS = (
    Rule(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", read_ordinal, re.I),
    Rule(r"(?<![\w.,])\d+(?:\.\d+){2,}(?![\w]|,\d)", read_version),
    Rule(r"(?<![\w.,])(\d+(?:\.\d+)?)\s?[x×](?:\s?(\d+(?:\.\d+)?))?(?!\w)", read_times),
    Rule(r"(?<=\d)\s?\+\s?(?=\d)", " plus "),
    Rule(r"(?<=\d)\s[-−]\s(?=\d)", " minus "),
    Rule(r"(?<=\d)\s?÷\s?(?=\d)", " divided by "),
    Rule(r"(?<=\w)\s?=\s?(?=[\w-])", " equals "),
    Rule(r"(?<![A-Za-z])([A-Za-z]+)-?(\d+)(?![.,]?\d)(?=([A-Za-z]?))", read_code),
    Rule(r"(\d)\+(?!\w)", r"\1 plus"),
    Rule(rf"(?<![\w)])~\s?(?={NUMBER})", "about "),
    Rule(r"(?<=\d):(?=\d)", " to "),
    Rule(rf"{_SIGN}{_MANY}", read_number),
)
