"""What stands around the Transformer: the pre-net, latent sampling and the post-net (paper §3.2)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from melle.model.block import make_activation
from melle.model.guidance import NO_GUIDANCE, Guidance, guided
from melle.model.linear import Linear

LOG_VARIANCE_RANGE = (-14.0, 10.0)  # keeps exp() and the KL term finite in every precision


class PreNet(nn.Module):
    """Perceptron over the frames of one step, (B, K, inputs) → (B, K, D): the only way in for mel frames (§3.2.1).

    Dropout follows every hidden layer in training: without it the network learns to copy the last frame and forgets
    the text (§4.2). At inference the paper keeps it; here decoding may say how much (see ``StepNoise``).
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
        """``keep`` (B, K, units): what hidden units are multiplied by, as in ``StepNoise``; None: torch's generator."""
        used = 0
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
            if keep is None:
                x = F.dropout(x, self.dropout, training=True)
            else:
                x = (x * keep[..., used : used + layer.out_features]).to(x.dtype)  # factors are not to be rounded
                used += layer.out_features
        return self.layers[-1](x)


class LatentOutput(NamedTuple):
    """All (B, K, r·M): the distribution's mean and log variance, and the frames y' made from a sample of it."""

    mean: Tensor
    log_variance: Tensor
    frames: Tensor


class LatentSampler(nn.Module):
    """e → μ, log σ²;  z = μ + σ ⊙ ε;  y' = z + perceptron(z) (§3.2.3, equations 3 and 4).

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

    def forward(
        self,
        hidden: Tensor,
        temperature: float = 1.0,
        noise: Tensor | None = None,
        guidance: Guidance = NO_GUIDANCE,
    ) -> LatentOutput:
        """``temperature`` scales σ; 0 takes the mean. ``noise`` is ε (B, K, r·M), else drawn by torch's generator.

        ``guidance``: ``hidden`` (G B, K, D) holds its rows of each request, for which one comes back. σ is that of the
        first, which reads text and prompt.
        """
        mean, log_variance = self.project(hidden).float().chunk(2, dim=-1)
        if guidance.rows > 1:
            mean, log_variance = guided(mean, guidance), log_variance[:: guidance.rows]
        log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
        latent = mean
        if self.sampling and temperature > 0:
            noise = torch.randn_like(mean) if noise is None else noise
            latent = mean + temperature * torch.exp(0.5 * log_variance) * noise
        return LatentOutput(mean, log_variance, latent + self.perceptron(latent.to(hidden.dtype)).float())


class PostNet(nn.Module):
    """y'' = y' + convolutions(y'), (B, T, M) → (B, T, M), once all frames are there (§3.2.4).

    Frames where ``valid`` (B, T) is False read as zero in every layer and do not enter the batch norms' statistics, so
    that an utterance gets the same in a ragged batch as alone.
    """

    def __init__(self, n_mels: int, channels: int, layers: int, kernel: int, activation: str, dropout: float):
        super().__init__()
        if layers < 2 or kernel % 2 == 0:
            raise ValueError(f"postnet_layers={layers}, postnet_kernel={kernel}: two layers or more, an odd kernel")
        sizes = [n_mels] + [channels] * (layers - 1) + [n_mels]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, kernel, padding=kernel // 2, bias=False) for a, b in pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:])
        self.activation = make_activation(activation, "postnet_activation")
        self.dropout = nn.Dropout(dropout)

    @property
    def context(self) -> int:
        """Frames that the post-net sees to each side."""
        return sum(convolution.kernel_size[0] // 2 for convolution in self.convolutions)

    def forward(self, frames: Tensor, valid: Tensor, count: int | None = None) -> Tensor:
        """``count``: how many frames are valid. Without it training asks, for which a GPU has to be waited for."""
        if count == valid.numel():  # nothing to leave out
            y = frames.transpose(1, 2)
            for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms)):
                y = norm(convolution(y))
                y = self.dropout(self.activation(y) if index < len(self.norms) - 1 else y)
            return frames + y.transpose(1, 2)
        x = frames * valid[..., None]
        places = _places(valid, count) if self.training else None
        last = len(self.norms) - 1
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms)):
            y = convolution(x.transpose(1, 2)).transpose(1, 2)
            if places is None:  # by running statistics every frame is normed for itself
                x = torch.where(valid[..., None], norm(y.flatten(0, 1)).unflatten(0, valid.shape), 0)
            else:
                # Not by y[places], whose gradient a GPU adds up after sorting all places.
                normed = norm(y.flatten(0, 1).index_select(0, places))
                x = normed.new_zeros(valid.numel(), y.shape[2]).index_copy(0, places, normed).unflatten(0, valid.shape)
            if index < last:
                x = self.activation(x)
            x = self.dropout(x)
        return frames + x


def _places(valid: Tensor, count: int | None) -> Tensor:
    """Where ``valid`` (B, T), read as (B·T,), is True."""
    flat = valid.flatten()
    return (flat.nonzero() if count is None else flat.nonzero_static(size=count))[:, 0]
