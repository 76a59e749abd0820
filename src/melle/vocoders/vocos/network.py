"""The network of our own vocoder: Vocos (Siuzdak 2024, arXiv 2306.00814) in small."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from melle.vocoders.vocos.istft import istft
from melle.vocoders.vocos.pitch import PitchNetwork, carrier, count_turns, pitch_of

Turns = tuple[Tensor, Tensor]  # pitch in Hz and turns of a voice, (B, T) each
MAX_LOG_MAGNITUDE = math.log(1e2)  # keeps exp() finite before the network has learned anything


@dataclass(frozen=True)
class VocosSizes:
    """Of ``VocosNetwork``. The defaults make 3.6 million parameters, as the paper's network in small.

    ``pitched``: of so many of the lowest bins the phases are relative to a voice's harmonics; 0: of none.
    """

    width: int = 256
    hidden: int = 768
    blocks: int = 8
    kernel: int = 7
    pitched: int = 0

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
        sample_rate: samples per second, for ``sizes.pitched``.
    """

    def __init__(
        self,
        n_mels: int,
        n_fft: int,
        hop_length: int,
        sizes: VocosSizes,
        mel_mean: float = 0.0,
        mel_std: float = 1.0,
        sample_rate: int = 16000,
    ):
        super().__init__()
        if sizes.kernel % 2 == 0 or min(sizes.width, sizes.hidden, sizes.blocks) < 1:
            raise ValueError(f"{sizes}: an odd kernel, and sizes of 1 or more")
        if 2 * hop_length > n_fft:
            raise ValueError(f"hop_length={hop_length}: at most half of n_fft={n_fft}, or samples stand in no window")
        if not 0 <= sizes.pitched <= n_fft // 2 + 1:
            raise ValueError(f"{sizes}: pitched bins from 0 to {n_fft // 2 + 1}")
        self.sample_rate = sample_rate
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
        with torch.no_grad():  # a harmonic's phase is that in the middle of a window: half a turn from bin to bin
            self.head.bias[n_fft // 2 + 1 :][1 : sizes.pitched : 2] = math.pi
        self.pitch = PitchNetwork(n_mels) if sizes.pitched else None

    @property
    def context(self) -> int:
        """Frames to each side that a frame's samples depend on: the convolutions', and the windows that overlap it.

        Where phases follow the pitch, they depend on all turns before them, too; see ``turns``.
        """
        reach = (len(self.blocks) + 1) * (self.sizes.kernel // 2)
        if self.pitch is not None:
            reach = max(reach, self.pitch.reach)
        return reach + -(-self.n_fft // (2 * self.hop_length))

    def forward(self, mel: Tensor) -> Tensor:
        return self.waveform(mel, self.turns(mel))

    def waveform(self, mel: Tensor, turns: Turns | None) -> Tensor:
        """Samples of mels and what ``turns`` gave for them, or for a whole of which they are a part."""
        return istft(torch.polar(*self.polar(mel, turns)), self.n_fft, self.hop_length, self.window)

    def turns(self, mel: Tensor, logits: Tensor | None = None) -> Turns | None:
        """Pitch in Hz and turns of the voice in mels (B, T, M), (B, T) each; None: phases do not follow it."""
        if self.pitch is None:
            return None
        with torch.no_grad():  # phases say nothing of which pitch would be better
            pitch = pitch_of(self.pitch_logits(mel) if logits is None else logits)
            return pitch, count_turns(pitch, self.sample_rate, self.hop_length)

    def pitch_logits(self, mel: Tensor) -> Tensor:
        """Of what ``PitchNetwork`` says of mels (B, T, M): (B, bins, T)."""
        with torch.autocast(mel.device.type, enabled=False):
            return self.pitch(self._normalised(mel.float()))

    def _normalised(self, mel: Tensor) -> Tensor:
        return ((mel - self.mel_mean) / self.mel_std).transpose(1, 2)

    def polar(self, mel: Tensor, turns: Turns | None) -> tuple[Tensor, Tensor]:
        """Magnitudes and phases, (B, n_fft / 2 + 1, T) each, of what ``waveform`` makes samples of."""
        x = self.embed(self._normalised(mel))
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 phases would be off by a hundredth: a hiss
            predicted = self.head(self.last_norm(x.float().transpose(1, 2))).transpose(1, 2)
        magnitude, phase = predicted.chunk(2, dim=1)
        if turns is not None:
            bins = self.sizes.pitched
            harmonics = carrier(*turns, bins, self.sample_rate / self.n_fft)
            phase = torch.cat((phase[:, :bins] + harmonics, phase[:, bins:]), dim=1)
        return magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp(), phase
