"""Weights that earlier versions named otherwise."""

from __future__ import annotations

from torch import Tensor, nn


def rename_old_weights(_module: nn.Module | None, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Name weights of an earlier version as this one does, in place: <BOS> was ``begin``."""
    if f"{prefix}begin" in state:
        state[f"{prefix}bos"] = state.pop(f"{prefix}begin")
