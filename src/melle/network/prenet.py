"""The pre-net: the only way in for mel frames, narrowed by a dropout that never rests (paper §3.2.1)."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from melle.network.layers import make_activation


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
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activation = make_activation(activation, "prenet_activation")
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.dropout(self.activation(layer(x)), self.dropout, training=True)
        return self.layers[-1](x)
