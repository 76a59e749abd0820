"""One Transformer block: attention and MLP, each normalised before and added back; norms and activations by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import Tensor, nn

from melle.model.attention import KVCache, Rotation, SelfAttention
from melle.model.linear import Linear

NORMS = {"layer": nn.LayerNorm, "rms": partial(nn.RMSNorm, eps=1e-6)}
ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
MLPS = ("plain", "gated")
BLOCKS = ("pre_ln", "sub_ln")


def choose(name: str, value: str, choices: Iterable[str]) -> str:
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


def initialise(module: nn.Module, deviation: float) -> None:
    """Begin with normal matrices and embeddings of this deviation, and with biases of zero (as the reference does)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=deviation)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


class Mlp(nn.Module):
    """The feed-forward part of a block, D → F → D: ``plain`` (paper), or ``gated`` by a second projection (Qwen2).

    ``dropout`` is that of the F hidden values; ``norm`` stands before the last matrix (see ``Block``).
    """

    def __init__(
        self, width: int, hidden: int, kind: str, activation: str, dropout: float = 0.0, norm: nn.Module | None = None
    ):
        super().__init__()
        choose("mlp", kind, MLPS)
        self.gate = Linear(width, hidden, bias=False) if kind == "gated" else None
        self.up = Linear(width, hidden, bias=kind == "plain")
        self.down = Linear(hidden, width, bias=kind == "plain")
        self.activation = make_activation(activation)
        self.norm = norm or nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            hidden = self.activation(self.up(x))
        else:
            hidden = self.activation(self.gate(x)) * self.up(x)
        return self.down(self.norm(self.dropout(hidden)))


class Block(nn.Module):
    """(B, L, D) → (B, L, D); see SelfAttention for ``rotation``, ``mask``, ``cache`` and ``guide``.

    ``kind`` is ``pre_ln`` (paper), or ``sub_ln``, the reference implementation's: each of the two parts has one more
    norm before its last matrix (Magneto, arXiv 2210.06423). ``dropout`` follows attention and the plain MLP; the gated
    one has none, as in the reference and in Qwen2. ``attention_dropout`` is on attention weights, ``mlp_dropout``
    inside the MLP.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        ff_width: int,
        norm: str,
        activation: str,
        mlp: str,
        kind: str = "pre_ln",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        mlp_dropout: float = 0.0,
    ):
        super().__init__()
        inner = choose("block", kind, BLOCKS) == "sub_ln"
        self.attention_norm = make_norm(norm, width)
        self.attention = SelfAttention(width, heads, attention_dropout, make_norm(norm, width) if inner else None)
        self.mlp_norm = make_norm(norm, width)
        self.mlp = Mlp(width, ff_width, mlp, activation, mlp_dropout, make_norm(norm, ff_width) if inner else None)
        self.attention_out = nn.Dropout(dropout)
        self.mlp_out = nn.Dropout(dropout if mlp == "plain" else 0.0)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        guide: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.attention(self.attention_norm(x), rotation, mask, cache, guide)
        x = x + self.attention_out(attended)
        return x + self.mlp_out(self.mlp(self.mlp_norm(x))), weights
