"""Self-attention over the joined sequence, with rotary positions and a preallocated cache for decoding."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from melle.model.layers import make_norm
from melle.model.linear import Linear

Rotation = tuple[Tensor, Tensor]

# On the newest GPUs PyTorch prefers cuDNN's attention, which plans anew, for tens to hundreds of milliseconds, whenever
# a batch has a shape that was not there before. Ours nearly all do.
torch.backends.cuda.enable_cudnn_sdp(False)


def rotation(positions: Tensor, head_width: int, base: float = 10000.0) -> Rotation:
    """Cosines and sines of rotary embedding, (B, 1, L, head_width / 2), for positions (B, L), whole or fractional."""
    frequencies = base ** (-torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width)
    angles = positions.float()[:, None, :, None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn each pair (first half, second half) of x (…, B, H, L, head_width) by its position's angles."""
    cos, sin = by
    if torch.compiler.is_compiling():  # which makes one kernel of this
        first, second = x.float().chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)
    return _Rotate.apply(x, cos, sin) if torch.is_grad_enabled() else _turn(x, cos, sin)


class _Rotate(torch.autograd.Function):
    """By itself, autograd would keep both halves in 32 bits, and read and write them three times as often."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(gradient, cos, -sin), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Reckons in 32 bits, and rounds the result to x's."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.empty_like(x)
    left, right = turned.chunk(2, dim=-1)
    torch.addcmul(first * cos, second, sin, value=-1, out=left)
    torch.addcmul(second * cos, first, sin, out=right)
    return turned


class KVCache:
    """Keys and values of one layer, room for ``capacity`` positions of B rows, filled from the left.

    All rows write to the same slots; which slots a row may read is the attention mask's business. There is room for a
    few more than asked for: a GPU's attention would copy, in every layer, a mask whose rows are not multiples of 8.
    """

    def __init__(self, rows: int, heads: int, capacity: int, head_width: int, device, dtype):
        capacity = -(-capacity // 8) * 8
        # Not set to zero: memory that no step reaches is then never taken.
        self.keys = torch.empty(rows, heads, capacity, head_width, device=device, dtype=dtype)
        self.values = torch.empty_like(self.keys)
        self.capacity, self.length = capacity, 0
        self.place: Tensor | None = None

    def fix(self, place: Tensor) -> None:
        """From now on write one position at a time where ``place`` (1,) says, and return the whole capacity."""
        for part in (self.keys, self.values):
            part[:, :, self.length :] = 0  # a mask hides what was never written, but it must be numbers
        self.place = place

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (B, H, n, head_width) and return all that is stored so far, without copying it."""
        if self.place is not None:
            self.keys.index_copy_(2, self.place, keys.to(self.keys.dtype))
            self.values.index_copy_(2, self.place, values.to(self.values.dtype))
            return self.keys, self.values
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        filled = self.length if self.place is None else self.capacity
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(len(rows), *old.shape[1:])
            torch.index_select(old[:, :, :filled], 0, rows, out=new[:, :, :filled])
            setattr(self, name, new)


class SelfAttention(nn.Module):
    """Multi-head attention, (B, L, D) → (B, L, D).

    ``mask`` (B, 1, queries, keys) is True where a query may look, or is added to the scores; None means causal.
    ``cache`` makes the call a step of decoding: x holds the new positions only, and unless the cache was empty a mask
    must be given or x hold just one, which then looks at everything. With ``guide``,
    head 0's weights, (B, queries, keys), come back too. ``norm`` names the norm before the last matrix, None for none
    (see ``Block``).
    """

    def __init__(self, width: int, heads: int, dropout: float, norm: str | None = None):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = Linear(width, 3 * width)
        self.norm = nn.Identity() if norm is None else make_norm(norm, width)
        self.out = Linear(width, width)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        guide: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        rows, length, width = x.shape
        parts = self.qkv(x).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts
        if rotation is not None:
            q, k = rotate(parts[:2], rotation)
        if cache is not None:
            k, v = cache.append(k, v)
        dropout = self.dropout if self.training else 0.0
        if mask is None and dropout > 0 and x.device.type == "cpu" and not torch.compiler.is_compiling():
            mixed = causal_in_pieces(q, k, v, dropout)
        else:
            causal = mask is None and (cache is None or length > 1)  # no question to ask of a shape when compiled
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal)
        weights = head_weights(q[:, 0], k[:, 0], mask) if guide else None
        return self.out(self.norm(mixed.transpose(1, 2).reshape(rows, length, width))), weights


def causal_in_pieces(q: Tensor, k: Tensor, v: Tensor, dropout: float, pieces: int = 8) -> Tensor:
    """Causal attention, (B, H, L, head_width) each, by pieces of the queries, which skip most of what is yet to come.

    The fused kernel of CPUs knows no dropout, and what PyTorch does instead computes the whole square at once: this
    takes a third of its time at a thousand positions.
    """
    mixed = []
    for start, end in pairwise(q.shape[2] * n // pieces for n in range(pieces + 1)):
        mask = torch.ones(end - start, end, dtype=torch.bool).tril(start)
        part = q[:, :, start:end], k[:, :, :end], v[:, :, :end]
        mixed.append(F.scaled_dot_product_attention(*part, attn_mask=mask, dropout_p=dropout))
    return torch.cat(mixed, dim=2)


def head_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Attention weights (B, queries, keys) of one head, which the fused kernel does not give away."""
    scores = q.float() @ k.float().transpose(1, 2) * q.shape[-1] ** -0.5
    if mask is None:
        allowed = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device).tril()
    else:
        allowed = mask[:, 0]
    return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)
