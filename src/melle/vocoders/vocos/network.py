"""The network of our own vocoder: Vocos (Siuzdak 2024, arXiv 2306.00814) in small."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from melle.vocoders.vocos.istft import istft

MAX_LOG_MAGNITUDE = math.log(1e2)  # keeps exp() finite before the network has learned anything


@dataclass(frozen=True)
class VocosSizes:
    """Of ``VocosNetwork``. The defaults make 3.6 million parameters."""

    width: int = 256
    hidden: int = 768
    blocks: int = 8
    kernel: int = 7

    def as_dict(self) -> dict:
        return asdict(self)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a perceptron for every frame, added back: (B, D, T) → (B, D, T)."""

    def __init__(self, sizes: VocosSizes):
        super().__init__()
        width = sizes.width
        self.depthwise = nn.Conv1d(width, width, sizes.kernel, padding=sizes.kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up = nn.Linear(width, sizes.hidden)
        self.down = nn.Linear(sizes.hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 1 / sizes.blocks))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.scale * self.down(nn.functional.gelu(self.up(y)))
        return x + y.transpose(1, 2)


class VocosNetwork(nn.Module):
    """Log10 mel (B, T, M) to waveforms (B, T · hop_length).

    All layers run once per frame; what they predict is a spectrum, magnitude and phase, whose inverse short-time
    Fourier transform is the waveform. That makes it many times cheaper than networks that upsample step by step.

    Args:
        mel_mean, mel_std: statistics of log10 mels, taken off what comes in.
    """

    def __init__(
        self, n_mels: int, n_fft: int, hop_length: int, sizes: VocosSizes, mel_mean: float = 0.0, mel_std: float = 1.0
    ):
        super().__init__()
        if sizes.kernel % 2 == 0 or min(sizes.width, sizes.hidden, sizes.blocks) < 1:
            raise ValueError(f"{sizes}: an odd kernel, and sizes of 1 or more")
        if 2 * hop_length > n_fft:
            raise ValueError(f"hop_length={hop_length}: at most half of n_fft={n_fft}, or samples stand in no window")
        self.n_fft, self.hop_length, self.mel_mean, self.mel_std = n_fft, hop_length, mel_mean, mel_std
        self.sizes = sizes
        self.embed = nn.Conv1d(n_mels, sizes.width, sizes.kernel, padding=sizes.kernel // 2)
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)
        self.blocks = nn.ModuleList(ConvNeXtBlock(sizes) for _ in range(sizes.blocks))
        self.last_norm = nn.LayerNorm(sizes.width, eps=1e-6)
        self.head = nn.Linear(sizes.width, n_fft + 2)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        for part in self.modules():
            if isinstance(part, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)

    @property
    def context(self) -> int:
        """Frames to each side that a frame's samples depend on: the convolutions', and the windows that overlap it."""
        return (len(self.blocks) + 1) * (self.sizes.kernel // 2) + -(-self.n_fft // (2 * self.hop_length))

    def forward(self, mel: Tensor) -> Tensor:
        return istft(torch.polar(*self.polar(mel)), self.n_fft, self.hop_length, self.window)

    def polar(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitudes and phases, (B, n_fft / 2 + 1, T) each, of what ``forward`` makes a waveform of."""
        x = self.embed(((mel - self.mel_mean) / self.mel_std).transpose(1, 2))
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 phases would be off by a hundredth: a hiss
            predicted = self.head(self.last_norm(x.float().transpose(1, 2))).transpose(1, 2)
        magnitude, phase = predicted.chunk(2, dim=1)
        return magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp(), phase
