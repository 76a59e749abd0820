"""Amounts of money."""

from __future__ import annotations

import re
from re import Match

from melle.text.verbalise.numbers import NUMBER, cardinal, number
from melle.text.verbalise.rules import Rule, any_of

CURRENCIES = {  # one, many, a hundredth, hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira", "kurush", "kurush"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₴": ("hryvnia", "hryvnias", "kopeck", "kopecks"),
    "฿": ("baht", "baht", "satang", "satang"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "₫": ("dong", "dong", "xu", "xu"),
    "₿": ("bitcoin", "bitcoin", "", ""),
    "US$": ("US dollar", "US dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "AU$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "CA$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "NZ$": ("New Zealand dollar", "New Zealand dollars", "cent", "cents"),
    "HK$": ("Hong Kong dollar", "Hong Kong dollars", "cent", "cents"),
    "NT$": ("Taiwan dollar", "Taiwan dollars", "cent", "cents"),
    "S$": ("Singapore dollar", "Singapore dollars", "cent", "cents"),
    "R$": ("real", "reais", "centavo", "centavos"),
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
}
_CODES = {"USD": "US$", "AUD": "A$", "CAD": "C$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "CHF": "CHF"}
_CODES |= {"NZD": "NZ$", "HKD": "HK$", "RUB": "₽", "BRL": "R$"}
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "tn": "trillion"}
_SCALES |= {"K": "thousand", "M": "million", "B": "billion", "Bn": "billion", "T": "trillion", "Tn": "trillion"}
_SCALE = (
    r"(?:(?P<middle>[\s-])?(?P<scale>thousand|million|billion|trillion|(?:k|mn|m|bn|b|tn)\b)"
    r"|(?P<capital>(?:K|M|Bn?|Tn?)\b))?"
)
_PER = {"kg": "kilogram", "g": "gram", "lb": "pound", "oz": "ounce", "l": "liter", "L": "liter", "gal": "gallon"}
_PER |= {"m": "meter", "km": "kilometer", "mi": "mile", "kWh": "kilowatt hour", "MWh": "megawatt hour"}
_PER |= {"min": "minute", "h": "hour", "hr": "hour", "wk": "week", "mo": "month", "mth": "month", "yr": "year"}
_PER |= {"sq ft": "square foot", "m²": "square meter", "bbl": "barrel", "sec": "second", "s": "second"}
_PER |= {"GB": "gigabyte", "TB": "terabyte"}
_SIGNS = "".join(sign for sign in CURRENCIES if len(sign) == 1)
_MANY = rf"(?P<number>{NUMBER})"
# After "a $5" these are no noun that the amount describes.
_NO_NOUN = "and|or|to|for|in|on|at|but|from|than|with|by|per|as|is|was|if|when|each|a|an|the|more|less|off|that|which"


def read_money(match: Match[str]) -> str:
    """$3.50 is "three dollars and fifty cents", £2.5m "two point five million pounds", a $5 bill "a five dollar
    bill"."""
    one, many, hundredth, hundredths = CURRENCIES[match["currency"]]
    written, scale = match["number"].replace(",", ""), match["scale"] or match["capital"]
    before, _, after = written.partition(".")
    after_text = match.string[match.end() :]
    joint = match["joint"] is not None or (match["middle"] == "-" and re.match(r"\s[a-z]", after_text))
    describes = joint or (match["a"] is not None and match["noun"] is not None)
    if describes and len(after) != 2:
        many = one
    sign = f"{match['a'] or ''}{'minus ' if match['sign'] == '-' else ''}"
    end = f" per {_PER[match['per']]}" if match["per"] else " " if match["joint"] else ""
    if scale:
        return f"{sign}{number(written)} {_SCALES.get(scale, scale)} {many}{end}"
    if len(after) not in (0, 2):
        return f"{sign}{number(written)} {many}{end}"
    parts = []
    if int(before or 0) or not int(after or 0):
        parts.append(f"{cardinal(int(before or 0))} {one if int(before or 0) == 1 else many}")
    if int(after or 0) and not hundredth:
        return f"{sign}{number(written)} {many}{end}"
    if int(after or 0):
        parts.append(f"{cardinal(int(after))} {hundredth if int(after) == 1 else hundredths}")
    return sign + " and ".join(parts) + end


def read_money_after(match: Match[str]) -> str:
    """5 €, 20 USD: as with the sign in front."""
    sign = match["currency"]
    return f"{match['minus'] or ''}{_CODES.get(sign, sign)}{match['number']}{match['scale'] or match['capital'] or ''}"


def read_pence(match: Match[str]) -> str:
    """50p is "fifty pence", 1¢ "one cent"."""
    one, many = ("penny", "pence") if match[2] == "p" else ("cent", "cents")
    return f"{cardinal(int(match[1]))} {one if int(match[1]) == 1 else many}"


def read_sign_alone(match: Match[str]) -> str:
    """The £ is "the pound", prices in $ are "in dollars"."""
    one, many, *_ = CURRENCIES[match["currency"]]
    return f"{match['in']} {many}" if match["in"] else f" {one} "


def read_european(match: Match[str]) -> str:
    """€1.000,50 as €1,000.50."""
    return f"{match['sign']}{match['whole'].replace('.', ',')}.{match['part']}"


MONEY = (
    Rule(r"(?P<sign>[€$£]\s?)(?P<whole>\d{1,3}(?:\.\d{3})+|\d{1,3}),(?P<part>\d\d)(?![\d.,]*\d)", read_european),
    Rule(r"(?<=\d[KMBTkmb])\s?[-—]\s?(?=[$£€¥]\d)", " to "),  # $3M-$5M
    Rule(rf"(?<=\d)\s[-—]\s(?=[{_SIGNS}]\d)", " to "),  # £10 – £20
    Rule(rf"([{_SIGNS}]{NUMBER})-(an?)-(?=[a-z])", r"\1-\2 "),  # a $20-a-day habit
    Rule(rf"\b(?P<code>{'|'.join(_CODES)})\s?(?={NUMBER})", lambda match: _CODES[match["code"]]),
    Rule(
        rf"(?P<minus>(?<![\w)])-)?{_MANY}{_SCALE}\s?(?P<currency>[{_SIGNS.replace('$', '')}](?!\d)|\$(?![\d])"
        rf"|(?:{'|'.join(_CODES)})\b)",
        read_money_after,
    ),
    Rule(
        rf"(?P<a>\b[Aa]n?\s)?(?P<sign>(?<![\w)])-)?(?<![A-Za-z])(?P<currency>"
        rf"{any_of(CURRENCIES)})\s?{_MANY}{_SCALE}"
        rf"(?:/(?P<per>{any_of(_PER)})(?![\w²])|(?P<joint>-)(?=[a-z])"
        rf"|(?P<noun>(?=\s(?!(?:{_NO_NOUN})\b)[a-z])))?",
        read_money,
    ),
    Rule(r"(?<![\w.,])(\d+)\s?(p\b|¢)", read_pence),
)
SIGNS_ALONE = (Rule(rf"\s?(?P<in>\b[Ii]n)?\s?(?P<currency>[{_SIGNS}])\s?", read_sign_alone),)
