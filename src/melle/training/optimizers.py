"""Optimisers for a network, one function each: the options of the group ``optim``."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from melle.training.muon import Muon, MuonAdamW


def build_muon_adamw(
    network: nn.Module,
    lr: float,
    muon_lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    iterations: int,
    fused: bool = False,
) -> MuonAdamW:
    """Muon on the matrices of ``network.blocks``, AdamW on everything else (biases and norms without decay)."""
    matrices = [p for p in network.blocks.parameters() if p.ndim == 2]
    taken = {id(p) for p in matrices}
    others = [p for p in network.parameters() if id(p) not in taken]
    return MuonAdamW(
        Muon(matrices, lr=muon_lr, weight_decay=weight_decay, iterations=iterations),
        _adamw(others, lr, betas, weight_decay, fused),
    )


def build_adamw(
    network: nn.Module,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    decay_all: bool = False,
    fused: bool = False,
) -> torch.optim.AdamW:
    """AdamW on all parameters (paper A.3), decay on matrices only unless ``decay_all``; ``fused`` where that exists."""
    if decay_all:
        return torch.optim.AdamW(
            network.parameters(), lr=lr, betas=tuple(betas), weight_decay=weight_decay, fused=fused
        )
    return _adamw(network.parameters(), lr, betas, weight_decay, fused)


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _adamw(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], weight_decay: float, fused: bool
) -> torch.optim.AdamW:
    groups = decay_groups(parameters, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=tuple(betas), fused=fused)
