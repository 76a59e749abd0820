"""The name that was probably meant by a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LIKE = 0.6  # how alike two names must be, by difflib, for one to be suggested for the other


def nearest(name: str, known: Iterable[str], like: float = LIKE) -> str | None:
    """The one of ``known`` that is most like ``name``; None: none is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, like)), None)
