"""Seeds of requests: given, drawn, or derived from one for its parts, attempts and candidates."""

from __future__ import annotations

import operator
import secrets
import zlib
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from melle.errors import UserError


def derive_seed(seed: int, what: str, number: int) -> int:
    """The seed of part, attempt or candidate ``number``; of number 0 it is ``seed`` itself."""
    return seed if number == 0 else zlib.crc32(f"{seed} {what} {number}".encode())


def make_seeds(seed: int | Sequence[int] | None, count: int) -> list[int]:
    """One for each of ``count`` texts; None draws them."""
    seeds = [secrets.randbits(32) if seed is None else operator.index(seed) for seed in each("seed", seed, count)]
    for seed in seeds:
        check_seed(seed)
    return seeds


def check_seed(seed: int) -> None:
    """Raises UserError for a seed that torch's generators cannot take."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise UserError(f"seed={seed} must be 0 or more and below 2^63")


def each(name: str, value: Any, count: int) -> list[Any]:
    """One value for every text, or as many values as texts."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{count} texts, but {len(value)} values of {name}")
    return list(value)
