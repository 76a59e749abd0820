"""The small parts that come in several kinds: norms, activations, and the MLP of a block."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from melle.model.linear import Linear

NORMS = {"layer": nn.LayerNorm, "rms": partial(nn.RMSNorm, eps=1e-6)}
ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
MLPS = ("plain", "gated")
BLOCKS = ("pre_ln", "sub_ln")


def choose(name: str, value: str, choices) -> str:
    """``value`` if it is one of ``choices``; otherwise a ValueError that names the argument."""
    if value not in choices:
        raise ValueError(f"{name}={value!r}: choose one of {', '.join(choices)}")
    return value


def make_norm(kind: str, width: int) -> nn.Module:
    """``layer`` (paper) or ``rms`` (as in Qwen2)."""
    return NORMS[choose("norm", kind, NORMS)](width)


def make_activation(kind: str, name: str = "activation") -> nn.Module:
    """``name`` is the argument that an error speaks of."""
    return ACTIVATIONS[choose(name, kind, ACTIVATIONS)]()


class Mlp(nn.Module):
    """The feed-forward part of a block, D → F → D: ``plain`` (paper), or ``gated`` by a second projection (Qwen2).

    ``norm`` names the norm before the last matrix, None for none (see ``Block``).
    """

    def __init__(self, width: int, hidden: int, kind: str, activation: str, dropout: float, norm: str | None = None):
        super().__init__()
        choose("mlp", kind, MLPS)
        self.gate = Linear(width, hidden, bias=False) if kind == "gated" else None
        self.up = Linear(width, hidden, bias=kind == "plain")
        self.down = Linear(hidden, width, bias=kind == "plain")
        self.activation = make_activation(activation)
        self.norm = nn.Identity() if norm is None else make_norm(norm, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            hidden = self.activation(self.up(x))
        else:
            hidden = self.activation(self.gate(x)) * self.up(x)
        return self.down(self.norm(self.dropout(hidden)))
