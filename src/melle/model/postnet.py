"""The post-net: convolutions over time that refine y' into y'' once all frames are there (paper §3.2.4)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from melle.model.layers import make_activation


class PostNet(nn.Module):
    """y'' = y' + convolutions(y'), (B, T, M) → (B, T, M).

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
