"""A run that goes on has its rates from its configuration, which may be new; a checkpoint says where it stood."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Settings = list[dict[str, Any]]  # of an optimiser's groups of parameters


def settings_of(optimizer: Optimizer) -> Settings:
    """As they were made, before a checkpoint's take their place."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def forget_schedules(checkpoint: dict[str, Any]) -> None:
    """Take out of a Lightning checkpoint all of its schedules but where they stand: LambdaLR would restore the rest."""
    for state in checkpoint["lr_schedulers"]:
        for name in state.keys() - {"last_epoch", "_step_count", "lr_lambdas"}:
            del state[name]
        state["lr_lambdas"] = [None] * len(state["lr_lambdas"])


def apply_settings(scheduler: LambdaLR, settings: Settings) -> None:
    """Give the optimiser of ``scheduler`` its own ``settings`` back, at the rate that is due."""
    for group, own, base, factor in zip(
        scheduler.optimizer.param_groups, settings, scheduler.base_lrs, scheduler.lr_lambdas
    ):
        group.update(own, lr=base * factor(scheduler.last_epoch))
