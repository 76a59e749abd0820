"""Learning-rate schedules, as factors of the peak rate over optimiser steps."""

from __future__ import annotations


class WarmupConstant:
    """Linear warm-up to 1 over ``warmup_steps``, then 1."""

    least = 0  # warm-up steps

    def __init__(self, warmup_steps: int):
        if warmup_steps < self.least:
            raise ValueError(f"optim.schedule.warmup_steps={warmup_steps} must be {self.least} or more")
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        return (step + 1) / self.warmup_steps if step < self.warmup_steps else self.after(step)

    def after(self, step: int) -> float:
        """The factor after the warm-up."""
        return 1.0


class WarmupLinear(WarmupConstant):
    """Linear warm-up to 1 over ``warmup_steps``, then linearly down to ``floor`` at ``total_steps`` (paper A.3)."""

    def __init__(self, warmup_steps: int, total_steps: int, floor: float = 0.0):
        super().__init__(warmup_steps)
        if warmup_steps >= total_steps:
            raise ValueError(f"optim.schedule.warmup_steps={warmup_steps} must be below total_steps={total_steps}")
        self.total_steps, self.floor = total_steps, floor

    def after(self, step: int) -> float:
        left = (self.total_steps - step) / (self.total_steps - self.warmup_steps)
        return self.floor + (1 - self.floor) * max(0.0, left)


class WarmupStableDecay(WarmupConstant):
    """Linear warm-up to 1 over ``warmup_steps``, then 1, then linearly to 0 over the last ``decay_share`` of all steps.

    Until it falls nothing depends on ``total_steps``: a run may be made longer, going on from a checkpoint before that.
    """

    def __init__(self, warmup_steps: int, total_steps: int, decay_share: float):
        super().__init__(warmup_steps)
        if not 0 < decay_share <= 1:
            raise ValueError(f"optim.schedule.decay_share={decay_share} must be above 0 and at most 1")
        self.total_steps, self.decay_steps = total_steps, decay_share * total_steps
        if warmup_steps > self.total_steps - self.decay_steps:
            raise ValueError(
                f"optim.schedule: warmup_steps={warmup_steps} and the last {decay_share:.0%} of {total_steps} steps "
                "overlap; lower one of them"
            )

    def after(self, step: int) -> float:
        return min(1.0, max(0.0, (self.total_steps - step) / self.decay_steps))


class WarmupInverseSqrt(WarmupConstant):
    """Linear warm-up to 1 over ``warmup_steps``, then falling as 1 / √step (the reference implementation's)."""

    least = 1

    def after(self, step: int) -> float:
        return (self.warmup_steps / step) ** 0.5
