"""The words of templates and the sentences that are held out, from the text files beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

VALIDATION_SENTENCES = 60  # the first of the sentences held out; the rest is for the test


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
    """The lines of a file beside this module that are neither empty nor notes."""
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
