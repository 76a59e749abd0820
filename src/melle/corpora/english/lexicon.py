"""The words of templates, their plurals and articles, and the sentences that are held out, from the text files here."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

VALIDATION_SENTENCES = 60  # the first of the sentences held out; the rest is for the test

_PLURALS = {
    **{"child": "children", "foot": "feet", "tooth": "teeth", "goose": "geese"},
    **{"mouse": "mice", "ox": "oxen", "wife": "wives", "knife": "knives", "wolf": "wolves", "calf": "calves"},
    **{"shelf": "shelves", "leaf": "leaves", "thief": "thieves", "loaf": "loaves", "crossroads": "crossroads"},
    **{"stomach": "stomachs", "crisis": "crises", "physics": "physics", "mathematics": "mathematics"},
    **{name: name for name in ("sheep", "deer", "moose", "salmon", "trout", "shrimp", "fish")},
}
_O_WITH_ES = ("hero", "potato", "tomato", "mosquito", "buffalo", "volcano", "mango")
_VOWELS = "aeiou"
_AN = ("hour", "honest", "heir")  # a silent h
_A = ("uni", "use", "usu", "eu", "one", "ute", "utopia")  # u as in "you", o as in "one"


@cache
def words(section: str) -> tuple[str, ...]:
    """The words of a section of words.txt, each once."""
    return _sections()[section]


@cache
def held_out(split: str) -> tuple[str, ...]:
    """Sentences written by hand, for "validation" or "test"."""
    found = lines("held_out.txt")
    return found[:VALIDATION_SENTENCES] if split == "validation" else found[VALIDATION_SENTENCES:]


@cache
def _sections() -> dict[str, tuple[str, ...]]:
    sections: dict[str, dict[str, None]] = {}
    for line in lines("words.txt"):
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        else:
            current.update(dict.fromkeys(word.replace("_", " ") for word in line.split()))
    return {name: tuple(entries) for name, entries in sections.items()}


def lines(name: str) -> tuple[str, ...]:
    """The lines of a file beside this module that are neither empty nor comments."""
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def plural(noun: str) -> str:
    """box → boxes. Of several words the last one changes."""
    *before, last = noun.split(" ")
    if last.endswith("man") and last not in ("human", "German"):
        last = last[:-3] + "men"
    elif last in _PLURALS:
        last = _PLURALS[last]
    elif last in _O_WITH_ES:
        last += "es"
    else:
        last = _with_s(last)
    return " ".join([*before, last])


def with_article(phrase: str) -> str:
    """old dog → an old dog."""
    word = phrase.lower()
    vowel = (word[0] in _VOWELS and not word.startswith(_A)) or word.startswith(_AN)
    return f"{'an' if vowel else 'a'} {phrase}"


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + "s"
