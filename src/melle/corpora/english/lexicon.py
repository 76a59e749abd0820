"""The words of the grammar and the sentences that are held out, from the text files beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from melle.corpora.english.inflection import past

VALIDATION_SENTENCES = 60  # the first of the sentences held out; the rest is for the test


class Verb(NamedTuple):
    base: str  # may hold a second word: "wake up"
    past: str
    participle: str


@cache
def words(section: str) -> tuple[str, ...]:
    """The words of a section of words.txt, each once."""
    return _sections()[section]


@cache
def verbs(section: str) -> tuple[Verb, ...]:
    """The verbs of a section with their forms."""
    found = []
    for entry in words(section):
        base, *forms = entry.split("/")
        found.append(Verb(base, *(forms or [past(base)] * 2)))
    return tuple(found)


@cache
def held_out(split: str) -> tuple[str, ...]:
    """Sentences written by hand, for "validation" or "test"."""
    lines = _lines("held_out.txt")
    return lines[:VALIDATION_SENTENCES] if split == "validation" else lines[VALIDATION_SENTENCES:]


@cache
def _sections() -> dict[str, tuple[str, ...]]:
    sections: dict[str, dict[str, None]] = {}
    for line in _lines("words.txt"):
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        else:
            current.update(dict.fromkeys(word.replace("_", " ") for word in line.split()))
    return {name: tuple(entries) for name, entries in sections.items()}


def _lines(name: str) -> tuple[str, ...]:
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
