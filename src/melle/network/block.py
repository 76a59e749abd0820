"""One Transformer block: attention and MLP, each normalised before and added back (pre-LN)."""

from __future__ import annotations

from torch import Tensor, nn

from melle.network.attention import KVCache, Rotation, SelfAttention
from melle.network.layers import Mlp, make_norm


class Block(nn.Module):
    """(B, L, D) → (B, L, D); see SelfAttention for ``rotation``, ``mask``, ``cache`` and ``guide``."""

    def __init__(self, width: int, heads: int, ff_width: int, dropout: float, norm: str, activation: str, mlp: str):
        super().__init__()
        self.attention_norm = make_norm(norm, width)
        self.attention = SelfAttention(width, heads, dropout)
        self.mlp_norm = make_norm(norm, width)
        self.mlp = Mlp(width, ff_width, mlp, activation, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        guide: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.attention(self.attention_norm(x), rotation, mask, cache, guide)
        x = x + self.dropout(attended)
        return x + self.dropout(self.mlp(self.mlp_norm(x))), weights
