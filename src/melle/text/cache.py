"""Readings of texts that are kept, because a small corpus is encoded many times."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps

LONGEST = 400  # characters, more than a sentence of a corpus has; a server's texts would fill the memory


def remembered(read: Callable[..., str], size: int = 20_000, longest: int = LONGEST) -> Callable[..., str]:
    """``read``, a function of a text and what else there is, whose last ``size`` results for short texts are kept."""
    kept = lru_cache(size)(read)

    @wraps(read)
    def reading(text: str, *how: object) -> str:
        return kept(text, *how) if len(text) <= longest else read(text, *how)

    return reading
