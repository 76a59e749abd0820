"""Names of people and places: real ones, and ones that nobody ever had, from syllables as English spells them.

The invented ones bring sounds together that the lexicon never does.
"""

from __future__ import annotations

import numpy as np

from melle.corpora.english.lexicon import words

# Spellings of what may begin a syllable, carry it, end it, and of what ends surnames and the names of towns.
_ONSETS = (
    *("b", "bl", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "j", "k", "l", "m"),
    *("n", "p", "pl", "pr", "qu", "r", "s", "sc", "sh", "sk", "sl", "sm", "sn", "sp", "spr", "st", "str", "sw", "t"),
    *("th", "thr", "tr", "tw", "v", "w", "wh", "y", "z", ""),
)
_NUCLEI = (
    *("a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ee", "oo", "ai", "oy", "ow", "ar", "or", "er", "ea", "oa"),
    *("au", "ay", "oi", "ou", "air", "ear", "ire"),
)
_CODAS = (
    *("b", "ck", "d", "ff", "g", "l", "ll", "m", "n", "nd", "ng", "nk", "nt", "p", "pt", "r", "sh", "sk", "ss", "st"),
    *("t", "tch", "th", "x", "ft", "lf", "lk", "lm", "lt", "mp", "nch", "dge", "ve", "ze", "", "", "", ""),
)
_PERSONS = ("son", "man", "er", "ley", "wood", "stone", "by", "well", "kins", "ford", "ard", "ett", "ow", "ski", "", "")
_TOWNS = ("ton", "ham", "ville", "burgh", "field", "ford", "mouth", "bridge", "stead", "wick", "port", "dale", "ia")


def first_name(generator: np.random.Generator) -> str:
    return _one(words("first_names"), generator)


def surname(generator: np.random.Generator) -> str:
    if generator.random() < 0.5:
        return _one(words("surnames"), generator)
    return _invented(_PERSONS, generator)


def full_name(generator: np.random.Generator) -> str:
    """Alice Brown, Mr Thripley."""
    if generator.random() < 0.3:
        return f"{_one(('Mr', 'Mrs', 'Miss', 'Doctor', 'Professor'), generator)} {surname(generator)}"
    return f"{first_name(generator)} {surname(generator)}"


def place_name(generator: np.random.Generator) -> str:
    """A city or country, or a town that is on no map."""
    kind = generator.random()
    if kind < 0.4:
        return _one(words("cities"), generator)
    if kind < 0.65:
        return _one(words("countries"), generator)
    return town_name(generator)


def town_name(generator: np.random.Generator) -> str:
    """A town that is on no map."""
    return _invented(_TOWNS, generator)


def _invented(endings: tuple[str, ...], generator: np.random.Generator) -> str:
    ending = _one(endings, generator)
    count = 1 if ending else 2
    syllables = [_one(_ONSETS, generator) + _one(_NUCLEI, generator) + _one(_CODAS, generator) for _ in range(count)]
    return ("".join(syllables) + ending).capitalize()


def _one(choices: tuple[str, ...], generator: np.random.Generator) -> str:
    return choices[generator.integers(len(choices))]
