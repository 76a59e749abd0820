"""Latent sampling: the step from a hidden state to frames (paper §3.2.3, equations 3 and 4)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from melle.model.layers import make_activation
from melle.model.linear import Linear

LOG_VARIANCE_RANGE = (-14.0, 10.0)  # keeps exp() and the KL term finite in every precision


class LatentOutput(NamedTuple):
    """All (B, K, r·M): the distribution's mean and log variance, and the frames y' made from a sample of it."""

    mean: Tensor
    log_variance: Tensor
    frames: Tensor


class LatentSampler(nn.Module):
    """e → μ, log σ²;  z = μ + σ ⊙ ε;  y' = z + perceptron(z).

    The perceptron has no biases and dropout after every layer, the last one too, as in the reference implementation:
    the flux loss alone would move μ far from the frames, and a perceptron that can add a constant undoes such a shift
    at no cost. ``sampling=False`` is the paper's ablation, z = μ.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        hidden: int,
        layers: int,
        activation: str,
        dropout: float,
        bias: bool,
        sampling: bool,
    ):
        super().__init__()
        self.sampling = sampling
        self.project = Linear(width, 2 * outputs)
        nn.init.normal_(self.project.weight, std=0.02)
        nn.init.zeros_(self.project.bias)
        sizes = [outputs] + [hidden] * (layers - 1) + [outputs]
        parts: list[nn.Module] = []
        for index, (a, b) in enumerate(pairwise(sizes)):
            parts.append(Linear(a, b, bias=bias))
            if index < layers - 1:
                parts.append(make_activation(activation, "latent_activation"))
            parts.append(nn.Dropout(dropout))
        self.perceptron = nn.Sequential(*parts)

    def forward(self, hidden: Tensor, temperature: float = 1.0, noise: Tensor | None = None) -> LatentOutput:
        """``temperature`` scales σ; 0 takes the mean. ``noise`` is ε (B, K, r·M), else drawn by torch's generator."""
        mean, log_variance = self.project(hidden).float().chunk(2, dim=-1)
        log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
        latent = mean
        if self.sampling and temperature > 0:
            noise = torch.randn_like(mean) if noise is None else noise
            latent = mean + temperature * torch.exp(0.5 * log_variance) * noise
        return LatentOutput(mean, log_variance, latent + self.perceptron(latent.to(hidden.dtype)).float())
