"""What keeps a server's memory flat: the C library gives back what is free, oneDNN remembers few shapes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # parameters of glibc's mallopt
ARENAS = 2
EVERY = 20.0  # seconds: what decoding and vocoding leave in between is some dozen MiB
SHAPES = 16  # for which oneDNN and PyTorch keep compiled products; by themselves 1024
LARGE = 1 << 20  # bytes from which memory is given back at once when it is free


def give_back() -> bool:
    """Give memory that is free back to the system; returns whether the C library is one that can."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)
    return trim is not None


async def give_back_every(seconds: float) -> None:
    """Until it is cancelled; in a thread, for it takes some milliseconds."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(give_back)


def limit_arenas(arenas: int = ARENAS, large: int = LARGE) -> bool:
    """Let all threads share so few arenas, before there are others; returns whether the C library is one that can.

    glibc would give each of up to eight threads a core an arena of its own, which keeps what is freed in it, and raises
    the size from which it gives memory back with what was freed before.
    """
    mallopt = _function("mallopt")
    return mallopt is not None and bool(mallopt(_ARENA_MAX, arenas)) and bool(mallopt(_MMAP_THRESHOLD, large))


def limit_shapes(shapes: int = SHAPES) -> None:
    """Keep compiled products on CPUs for so few shapes, before the first of them; what the environment says goes first.

    Texts and speech of ever other lengths would fill caches of hundreds of MiB, whose entries rarely serve again.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(shapes))


def _function(name: str) -> Callable[..., int] | None:
    """One that glibc has; None of another C library, such as musl."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
