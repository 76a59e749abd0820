"""The post-net: convolutions over time that refine y' into y'' once all frames are there (paper §3.2.4)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from melle.network.layers import make_activation


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

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        x = frames * valid[..., None]
        places = valid.flatten().nonzero()[:, 0]  # once: a GPU has to be asked how many they are
        last = len(self.norms) - 1
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms)):
            y = convolution(x.transpose(1, 2)).transpose(1, 2)
            normed = norm(y.flatten(0, 1)[places])
            x = normed.new_zeros(valid.numel(), y.shape[2]).index_copy(0, places, normed).unflatten(0, valid.shape)
            if index < last:
                x = self.activation(x)
            x = self.dropout(x)
        return frames + x
