"""Self-attention over the joined sequence, with rotary positions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from melle.model.cache import KVCache
from melle.model.linear import Linear

Rotation = tuple[Tensor, Tensor]

# On the newest GPUs PyTorch prefers cuDNN's attention, which plans anew, for tens to hundreds of milliseconds, whenever
# a batch has a shape that was not there before. Ours nearly all do.
GPU_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


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
    """Computes in 32 bits, and rounds the result to x's type."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.empty_like(x)
    left, right = turned.chunk(2, dim=-1)
    torch.addcmul(first * cos, second, sin, value=-1, out=left)
    torch.addcmul(second * cos, first, sin, out=right)
    return turned


class SelfAttention(nn.Module):
    """Multi-head attention, (B, L, D) → (B, L, D).

    ``mask`` (B, 1, queries, keys) is True where a query may look, or is added to the scores; None means causal.
    ``cache`` makes the call a step of decoding: x holds the new positions only, and unless the cache was empty a mask
    must be given or x hold just one, which then looks at everything. With ``guide``, head 0's weights, (B, queries,
    keys), come back too. ``dropout`` is that of the weights, in training; ``norm`` stands before the last matrix (see
    ``Block``).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, norm: nn.Module | None = None):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = Linear(width, 3 * width)
        self.norm = norm or nn.Identity()
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
        causal = mask is None and (cache is None or length > 1)  # no question to ask of a shape when compiled
        mixed = attend(q, k, v, mask, self.dropout if self.training else 0.0, causal)
        weights = head_weights(q[:, 0], k[:, 0], mask) if guide else None
        return self.out(self.norm(mixed.transpose(1, 2).reshape(rows, length, width))), weights


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, causal: bool) -> Tensor:
    """PyTorch's fused attention, (B, H, L, head_width) each, on GPUs by the kernels that need no plan for a shape."""
    options = {"attn_mask": mask, "dropout_p": dropout, "is_causal": causal}
    if not q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, **options)
    with sdpa_kernel(GPU_KERNELS):
        return F.scaled_dot_product_attention(q, k, v, **options)


def head_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Attention weights (B, queries, keys) of one head, which the fused kernel does not give away."""
    scores = q.float() @ k.float().transpose(1, 2) * q.shape[-1] ** -0.5
    if mask is None:
        allowed = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device).tril()
    else:
        allowed = mask[:, 0]
    return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)
