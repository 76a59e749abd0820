"""Networks that learn to tell made waveforms from recordings, and so what still sounds wrong (Vocos, §3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Judgement = tuple[Tensor, list[Tensor]]  # scores of any shape, and what every layer saw


class PeriodDiscriminator(nn.Module):
    """Looks at every ``period``-th sample of waveforms (B, N) side by side (HiFi-GAN, §2.3)."""

    def __init__(self, period: int, channels: int):
        super().__init__()
        self.period = period
        sizes = [1, channels, 2 * channels, 4 * channels, 8 * channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0))) for a, b in pairwise(sizes)
        )
        self.score = weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, waveform: Tensor) -> Judgement:
        rest = -waveform.shape[1] % self.period
        x = nn.functional.pad(waveform[:, None], (0, rest), "reflect")
        return _judge(x.unflatten(2, (-1, self.period)), self.layers, self.score)


class SpectrumDiscriminator(nn.Module):
    """Looks at the complex spectrogram of waveforms (B, N), with windows of ``size`` samples (UnivNet, EnCodec)."""

    def __init__(self, size: int, channels: int):
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        strides = [(1, 1), (2, 1), (2, 1), (2, 1)]  # over frequency and time
        sizes = [2, *[channels] * len(strides)]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (9, 3), stride, padding=(4, 1)))
            for (a, b), stride in zip(pairwise(sizes), strides)
        )
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, waveform: Tensor) -> Judgement:
        spectrum = torch.stft(waveform, self.size, self.size // 4, window=self.window, return_complex=True)
        x = torch.view_as_real(spectrum).permute(0, 3, 1, 2) / self.size**0.5
        if x.device.type == "cpu":  # where these few channels take half the time side by side (PyTorch 2.11, one core)
            x = x.contiguous(memory_format=torch.channels_last)
        return _judge(x, self.layers, self.score)


def _judge(x: Tensor, layers: nn.ModuleList, score: nn.Module) -> Judgement:
    seen = []
    for layer in layers:
        x = nn.functional.leaky_relu(layer(x), 0.1)
        seen.append(x)
    return score(x), seen


class Discriminators(nn.Module):
    """Several of each kind.

    Args:
        periods: in samples.  windows: in samples.  channels: of the first layers; the cost grows with its square.
    """

    def __init__(
        self, periods: Sequence[int] = (2, 3, 5, 7, 11), windows: Sequence[int] = (512, 1024, 2048), channels: int = 32
    ):
        super().__init__()
        self.members = nn.ModuleList(
            [
                *(PeriodDiscriminator(period, channels) for period in periods),
                *(SpectrumDiscriminator(size, channels) for size in windows),
            ]
        )

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Scores, and what the layers saw, of every member; no row of a batch changes another's."""
        judgements = [member(waveform) for member in self.members]
        return [scores for scores, _ in judgements], [seen for _, seen in judgements]
