"""English sentences drawn from templates: what people say, with names, numbers in words, lists and single words."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from melle.corpora.english import names
from melle.corpora.english.lexicon import held_out, lines, plural, with_article, words
from melle.text.verbalise.numbers import cardinal, ordinal, year

_HEADING = re.compile(r"\[(\w+)(?: (\d+))?\]")
_CHOICE = re.compile(r"\(([^()]*)\)")  # the innermost
_SLOT = re.compile(r"\{([^{}]*)\}")


def sentences(count: int, seed: int = 0) -> list[str]:
    """So many different sentences, none of which is held out: the first ones of a longer list with the same seed."""
    generator = np.random.default_rng([seed, 4])
    unwanted = {*held_out("validation"), *held_out("test")}
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        text = sentence(generator)
        if text not in unwanted:
            drawn[text] = None
    return list(drawn)


def sentence(generator: np.random.Generator, kind: str | None = None) -> str:
    """One sentence, of a section of templates.txt or any by their shares."""
    templates, shares = _templates()
    if kind is None:
        kinds = list(shares)
        kind = kinds[generator.choice(len(kinds), p=np.array(list(shares.values())) / sum(shares.values()))]
    text = _fill(_one(templates[kind], generator), generator)
    return text[0].upper() + text[1:]


@cache
def _templates() -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
    """The templates of every section, and the shares of those in which sentences begin."""
    sections: dict[str, list[str]] = {}
    shares = {}
    for line in lines("templates.txt"):
        if heading := _HEADING.fullmatch(line):
            current = sections.setdefault(heading[1], [])
            if heading[2]:
                shares[heading[1]] = int(heading[2])
        else:
            current.append(line)
    return {name: tuple(found) for name, found in sections.items()}, shares


def _fill(template: str, generator: np.random.Generator) -> str:
    while _CHOICE.search(template):
        template = _CHOICE.sub(lambda match: _one(match[1].split("|"), generator), template)
    return _SLOT.sub(lambda match: _slot(match[1], generator), template)


def _slot(name: str, generator: np.random.Generator) -> str:
    """What fills a slot: "foods", "a foods", "foods s", "number 2 60", "clauses", …"""
    templates, _ = _templates()
    match name.split():
        case ["first"]:
            return names.first_name(generator)
        case ["surname"]:
            return names.surname(generator)
        case ["full"]:
            return names.full_name(generator)
        case ["place"]:
            return names.place_name(generator)
        case ["town"]:
            return names.town_name(generator)
        case ["number", least, most]:
            return cardinal(_number(int(least), int(most), generator))
        case ["ordinal"]:
            return ordinal(int(generator.integers(1, 32)))
        case ["year"]:
            return year(int(generator.integers(1400, 2060))).replace("oh-", "oh ")
        case ["time"]:
            return clock_time(int(generator.integers(1, 13)), 5 * int(generator.integers(12)))
        case ["a", section]:
            return with_article(_one(words(section), generator))
        case [section, "s"]:
            return plural(_one(words(section), generator))
        case [section] if section in templates:
            return _fill(_one(templates[section], generator), generator)
        case [section]:
            return _one(words(section), generator)
    raise ValueError(f"templates.txt: {{{name}}} is no slot")


def clock_time(hour: int, minute: int) -> str:
    """Of a clock's face, 1 to 12: 6:15 as "a quarter past six", 6:40 as "twenty to seven"."""
    this, following = cardinal(hour), cardinal(hour % 12 + 1)
    named = {0: f"{this} o'clock", 15: f"a quarter past {this}", 30: f"half past {this}"}
    named[45] = f"a quarter to {following}"
    if minute in named:
        return named[minute]
    return f"{cardinal(minute)} past {this}" if minute < 30 else f"{cardinal(60 - minute)} to {following}"


def _number(least: int, most: int, generator: np.random.Generator) -> int:
    """One of any size between the two."""
    return int(np.exp(generator.uniform(np.log(least + 1), np.log(most + 2)))) - 1


def _one(choices: tuple[str, ...] | list[str], generator: np.random.Generator) -> str:
    return choices[generator.integers(len(choices))]
