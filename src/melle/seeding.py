"""Chance that repeats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside, torch's generators run from ``seed``; afterwards they are as before. None leaves them to run on."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
