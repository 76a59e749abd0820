"""Muon, and the pair of Muon for matrices and AdamW for the rest as one optimiser.

Muon (K. Jordan et al., 2024) replaces a matrix's momentum by the nearest semi-orthogonal matrix, found by a few
Newton-Schulz iterations. ``torch.optim.Muon`` does that in bfloat16 and one matrix at a time, which on a CPU without
bfloat16 units costs a hundred times the training step; here matrices of one shape go together, and in float32 there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from melle.devices import has_bf16

# The quintic a·x + b·x³ + c·x⁵ that lifts small singular values fastest without letting large ones grow.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """(N, rows, columns) → matrices with the same singular vectors and singular values near 1 (about 0.7 to 1.2)."""
    x = matrices.bfloat16() if has_bf16(matrices.device.type) else matrices.float()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(iterations):  # three operations each: on a GPU the launches of more would cost as much as the sums
        gram = torch.bmm(x, x.transpose(1, 2))
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, factor, x, beta=a)
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; two-dimensional parameters only.

    The update is scaled by 0.2·√max(rows, columns), which gives it the size of an AdamW update, so that one learning
    rate and weight decay suit both (Liu et al., 2025).
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        iterations: int = 5,
    ):
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations}
        )

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[tuple, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[(tuple(parameter.shape), parameter.device)].append(parameter)
            for (shape, _), parameters in by_shape.items():
                for parameter in parameters:
                    if "momentum" not in self.state[parameter]:
                        self.state[parameter]["momentum"] = torch.zeros_like(parameter)
                gradients = [p.grad for p in parameters]
                momenta = [self.state[p]["momentum"] for p in parameters]
                torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
                blended = torch._foreach_lerp(gradients, momenta, group["momentum"])
                updates = orthogonalise(torch.stack(blended), group["iterations"]).unbind()
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, updates, alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)


class MuonAdamW(torch.optim.Optimizer):
    """Both optimisers behind one face, because Lightning's automatic optimisation drives one."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW):
        self.parts: dict[str, torch.optim.Optimizer] = {"muon": muon, "adamw": adamw}
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """A schedule sets the learning rate in ``param_groups``: they must be the parts' own dictionaries."""
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts.values():
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._share_groups()
