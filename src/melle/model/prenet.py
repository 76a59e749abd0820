"""The pre-net: the only way in for mel frames, narrowed by a dropout that never rests (paper §3.2.1)."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from melle.model.layers import make_activation
from melle.model.linear import Linear


class PreNet(nn.Module):
    """Perceptron over the frames of one step, (B, K, inputs) → (B, K, D).

    Dropout follows every hidden layer, in training and at inference alike: without it the network learns to copy the
    last frame and forgets the text (§4.2).
    """

    def __init__(self, inputs: int, hidden: int, width: int, layers: int, activation: str, dropout: float):
        super().__init__()
        if layers < 1:
            raise ValueError(f"prenet_layers={layers}: the pre-net needs at least one layer")
        sizes = [inputs] + [hidden] * (layers - 1) + [width]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(sizes))
        self.activation = make_activation(activation, "prenet_activation")
        self.dropout = dropout

    @property
    def units(self) -> int:
        """Units per step that dropout may drop, of all hidden layers."""
        return sum(layer.out_features for layer in self.layers[:-1])

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """``keep`` (B, K, units) decides what is dropped: uniform numbers in [0, 1), instead of torch's generator."""
        used = 0
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
            if keep is None:
                x = F.dropout(x, self.dropout, training=True)
            else:
                x = x * (keep[..., used : used + layer.out_features] >= self.dropout) / (1 - self.dropout)
                used += layer.out_features
        return self.layers[-1](x)
