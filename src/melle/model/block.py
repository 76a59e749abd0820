"""One Transformer block: attention and MLP, each normalised before and added back."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from melle.model.attention import KVCache, Rotation, SelfAttention
from melle.model.layers import BLOCKS, Mlp, choose, make_norm


class Block(nn.Module):
    """(B, L, D) → (B, L, D); see SelfAttention for ``rotation``, ``mask``, ``cache`` and ``guide``.

    ``kind`` is ``pre_ln`` (paper), or ``sub_ln``, the reference implementation's: each of the two parts has one more
    norm before its last matrix, and its matrices except queries and keys begin √(ln 2N) times as large, N being the
    number of ``blocks`` (Magneto, arXiv 2210.06423, for decoders).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        ff_width: int,
        dropout: float,
        norm: str,
        activation: str,
        mlp: str,
        kind: str = "pre_ln",
        blocks: int = 1,
    ):
        super().__init__()
        inner = norm if choose("block", kind, BLOCKS) == "sub_ln" else None
        self.attention_norm = make_norm(norm, width)
        self.attention = SelfAttention(width, heads, dropout, inner)
        self.mlp_norm = make_norm(norm, width)
        self.mlp = Mlp(width, ff_width, mlp, activation, dropout, inner)
        self.dropout = nn.Dropout(dropout)
        if kind == "sub_ln":
            self._scale_up(math.sqrt(math.log(2 * blocks)))

    @torch.no_grad()
    def _scale_up(self, gain: float) -> None:
        values = self.attention.qkv.weight.chunk(3)[2]
        for weight in (values, self.attention.out.weight, *(p for p in self.mlp.parameters() if p.ndim == 2)):
            weight.mul_(gain)

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
