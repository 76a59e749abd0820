"""Where the steps look in the text: attention weights of every head, which the fused kernel does not give away."""

from __future__ import annotations

import torch
from torch import Tensor

from melle.model import layout
from melle.model.attention import Rotation, SelfAttention, head_weights, rotate
from melle.model.melle import Melle
from melle.model.whole_rows import WholeRows


def attention_weights(attention: SelfAttention, x: Tensor, rotation: Rotation | None, mask: Tensor | None) -> Tensor:
    """The weights (B, heads, L, L), queries before keys, by which ``attention`` mixes its input x (B, L, D)."""
    rows, length, _ = x.shape
    q, k, _ = attention.qkv(x).view(rows, length, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    return torch.stack([head_weights(q[:, head], k[:, head], mask) for head in range(attention.heads)], dim=1)


@torch.no_grad()
def attention_map(network: Melle, **inputs: Tensor) -> Tensor:
    """How each mel step of a teacher-forced pass spreads over the text: (layers, heads, K, S) for one row.

    ``inputs`` are the arguments of ``Melle.forward``. What is missing to a sum of 1 over S went to mel steps.
    """
    (tokens,) = inputs["text_lengths"].tolist()
    maps = []

    def look(attention: SelfAttention, arguments: tuple) -> None:
        x, rotation, mask = arguments[:3]
        maps.append(attention_weights(attention, x, rotation, mask)[0, :, tokens:, :tokens])

    hooks = [block.attention.register_forward_pre_hook(look) for block in network.blocks]
    try:
        # A compiled network knows no hooks that came after it was compiled. Not as a decorator, which would import the
        # compiler together with this module.
        with torch.compiler.set_stance("force_eager"):
            network(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps)


@torch.no_grad()
def guided_attention(network: Melle, rows: WholeRows) -> Tensor:
    """How head 0 of the guided blocks spreads the steps of ``rows`` over the text: (guided layers, B, K, S).

    A step stands for the frames that it predicts. Leaves the network as it is, so that other threads may use it
    meanwhile.
    """
    text, count = rows.text, rows.mel.shape[1] // network.reduction_factor
    x, rotary, mask = rows.join(network)
    own = layout.step_slots(rows.text_lengths, count)
    found = []
    for number, block in enumerate(network.blocks[: max(network.guided_layers, default=-1) + 1]):
        x, weights = block.forward(x, rotary, mask, guide=number in network.guided_layers)
        if weights is not None:
            found.append(weights.gather(1, own[:, :, None].expand(-1, -1, weights.shape[2]))[:, :, : text.shape[1]])
    return torch.stack(found) if found else x.new_zeros(0, len(text), count, text.shape[1])


def diagonality(weights: Tensor, width: float = 0.1) -> Tensor:
    """Mean over steps of the attention near the diagonal, (…, K, S) → (…) from 0 to 1.

    A token counts by a Gaussian around the one that is due if tokens take equal time; ``width`` is its deviation as a
    share of the text (as in guided attention, arXiv 1710.08969, which takes 0.2).
    """
    steps, tokens = weights.shape[-2:]
    step = (torch.arange(steps, device=weights.device) + 0.5) / steps
    token = (torch.arange(tokens, device=weights.device) + 0.5) / tokens
    near = torch.exp(-0.5 * ((token - step[:, None]) / width).square())
    return (weights * near).sum(dim=-1).mean(dim=-1)
