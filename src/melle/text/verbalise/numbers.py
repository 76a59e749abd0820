"""Numbers as words in any language, by num2words; without the commas that it puts after thousands."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

LONGEST = 15  # figures that are read as one number; more are read one by one
# 1,234.5, 3.5, .5; never from within a row of figures, or the time for long ones would grow with its square
NUMBER = r"(?:(?<!\d)(?<!\d,)\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|(?<!\d)\d+(?:\.\d+)?|(?<![\w.])\.\d+)"


def cardinal(number: int, language: str = "en") -> str:
    """1234 as "one thousand two hundred and thirty-four"."""
    return _without_commas(num2words(number, lang=language))


def ordinal(number: int, language: str = "en") -> str:
    """23 as "twenty-third"."""
    return _without_commas(num2words(number, lang=language, to="ordinal"))


def year(number: int, language: str = "en") -> str:
    """1984 as "nineteen eighty-four", 2008 as "two thousand and eight"."""
    return _without_commas(num2words(number, lang=language, to="year"))


def digits(figures: str, language: str = "en") -> str:
    """Figures one by one: "007" as "zero zero seven"; what is no figure is passed over."""
    return " ".join(cardinal(int(figure), language) for figure in figures if figure.isdecimal())


def whole(figures: str, language: str = "en") -> str:
    """Figures as one number, or one by one where they begin with 0 or are very many."""
    if (figures.startswith("0") and len(figures) > 1) or len(figures) > LONGEST:
        return digits(figures, language)
    return cardinal(int(figures), language)


def number(written: str) -> str:
    """An English number, with commas for thousands and a decimal point: "1,234.50" is "one thousand … point five
    zero"."""
    before, _, after = written.replace(",", "").partition(".")
    words = whole(before) if before else ""
    return f"{words} point {digits(after)}".lstrip() if after else words


def plain_figures(text: str) -> str:
    """½ as 1/2, and figures of other scripts as ours; ² and ³ stay, for a unit's."""
    if text.isascii():
        return text
    return "".join(_plain_figure(text, place) for place in range(len(text)))


def _plain_figure(text: str, place: int) -> str:
    character = text[place]
    if character.isdecimal():
        return str(int(character))
    if "FRACTION" in unicodedata.name(character, "") and unicodedata.category(character) == "No":
        figures = unicodedata.normalize("NFKC", character).replace("⁄", "/")
        return f" {figures}" if text[place - 1 : place].isdecimal() else figures
    return character


def roman(numeral: str) -> int | None:
    """The value of a Roman numeral in capitals; None for what is none."""
    if not numeral or not re.fullmatch("M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})", numeral):
        return None
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}[letter] for letter in numeral]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0]))


def _without_commas(words: str) -> str:
    return words.replace(",", "")
