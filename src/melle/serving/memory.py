"""How the C library keeps memory that is free: many threads with arenas of their own let a server grow for hours."""

from __future__ import annotations

import ctypes
import sys

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # parameters of glibc's mallopt
ARENAS = 2
LARGE = 1 << 20  # bytes from which memory is given back at once when it is free


def limit_arenas(arenas: int = ARENAS, large: int = LARGE) -> bool:
    """Let all threads share so few arenas, before there are others; returns whether the C library is one that can.

    glibc would give each of up to eight threads a core an arena of its own, which keeps what is freed in it, and raises
    the size from which it gives memory back with what was freed before.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(_ARENA_MAX, arenas)) and bool(mallopt(_MMAP_THRESHOLD, large))
