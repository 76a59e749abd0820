"""The pitch of a voice by its mel frames, and phases of harmonics that follow it.

Layers that run once per frame give the same phases wherever the frames are the same, as within a vowel; but the phase
of a steady tone goes on from frame to frame. So phases are predicted relative to harmonics whose turns are counted up,
as in neural source-filter models (Wang, Takaki and Yamagishi 2019, arXiv 1904.12088), here within spectra.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

LOWEST = 60.0  # Hz
PER_OCTAVE, BINS = 32, 96  # pitches to choose from: three octaves
AROUND = 2  # bins to each side of the likeliest that are averaged
TURN = 2**24  # parts of a turn, a power of 2: integers add up to the same in a stream as in the whole
WINDOW = 0.08  # seconds in which a pitch is measured
PERIODIC = 0.6  # autocorrelation, relative to that at no lag, of what has a pitch
FIRST = 0.93  # of the highest peak: the first one as high as that is the period, not two or three of them
SOFT = 1e-4  # of a segment's loudest frame's energy: what is softer has no pitch
SPREAD = 1.0  # bins: standard deviation of the target


class PitchNetwork(nn.Module):
    """Normalised log10 mel (B, M, T) to logits of pitches (B, ``BINS``, T)."""

    def __init__(self, n_mels: int, width: int = 96, kernel: int = 5):
        super().__init__()
        channels = (n_mels, width, width, width)
        self.reach = (len(channels) - 1) * (kernel // 2)  # frames to each side that a pitch depends on
        hidden = [
            part
            for before, after in pairwise(channels)
            for part in (nn.Conv1d(before, after, kernel, padding=kernel // 2), nn.GELU())
        ]
        self.layers = nn.Sequential(*hidden, nn.Conv1d(width, BINS, 1))

    def forward(self, mel: Tensor) -> Tensor:
        return self.layers(mel)


def pitch_of(logits: Tensor) -> Tensor:
    """Hz (B, T): the mean of the likeliest bin and those around it, of logits (B, ``BINS``, T)."""
    around = torch.arange(-AROUND, AROUND + 1, device=logits.device)[None, :, None]
    bins = (logits.argmax(dim=1, keepdim=True) + around).clamp(0, BINS - 1)
    mean = ((bins + 0.5) * logits.gather(1, bins).softmax(dim=1)).sum(dim=1)
    return LOWEST * 2 ** (mean / PER_OCTAVE)


def pitch_loss(logits: Tensor, pitch: Tensor, periodic: Tensor) -> Tensor:
    """Cross-entropy of logits (B, ``BINS``, T) where a pitch (B, T) in Hz was measured (``periodic``), else 0."""
    place = ((pitch / LOWEST).log2() * PER_OCTAVE - 0.5).clamp(0, BINS - 1)
    bins = torch.arange(BINS, device=logits.device)[None, :, None]
    target = (-0.5 * ((bins - place[:, None]) / SPREAD).square()).softmax(dim=1)
    losses = -(target * logits.log_softmax(dim=1)).sum(dim=1)
    return (losses * periodic).sum() / periodic.sum().clamp(min=1)


def measure_pitch(waveform: Tensor, sample_rate: int, hop_length: int) -> tuple[Tensor, Tensor]:
    """Pitch in Hz, and whether there is one (both (B, N / hop_length)), of samples (B, N) by their autocorrelation.

    Frames are centred at multiples of the hop; the first and last, of which a part is missing, count as without pitch.
    Above 480 Hz what is found is an octave or more too low, of whose harmonics the voice's are some.
    """
    frames, size = waveform.shape[-1] // hop_length, round(WINDOW * sample_rate)
    window = torch.hann_window(size, device=waveform.device)
    padded = nn.functional.pad(waveform.float(), (size // 2, size))
    pieces = padded.unfold(-1, size, hop_length)[:, :frames]
    pieces = (pieces - pieces.mean(dim=-1, keepdim=True)) * window
    own, shape = _autocorrelation(pieces), _autocorrelation(window)
    energy = own[..., :1]
    alike = own / energy.clamp(min=1e-12) / (shape / shape[:1]).clamp(min=1e-3)
    shortest, longest = int(sample_rate / (LOWEST * 2 ** (BINS / PER_OCTAVE))), int(sample_rate / LOWEST)
    seen = alike[..., shortest - 1 : longest + 2]
    here, before, after = seen[..., 1:-1], seen[..., :-2], seen[..., 2:]
    peaks = torch.where((here >= before) & (here > after), here, -1.0)
    lag = (peaks >= FIRST * peaks.amax(dim=-1, keepdim=True)).float().argmax(dim=-1, keepdim=True)
    left, middle, right = (values.gather(-1, lag).squeeze(-1) for values in (before, here, after))
    between = 0.5 * (left - right) / (left - 2 * middle + right).clamp(max=-1e-6)  # of a parabola's top
    pitch = sample_rate / (shortest + lag.squeeze(-1) + between.clamp(-1, 1))
    inside = torch.arange(frames, device=waveform.device) * hop_length
    inside = (inside >= size // 2) & (inside + size // 2 <= waveform.shape[-1])
    loud = energy.squeeze(-1) > SOFT * energy.amax(dim=1)
    return pitch, (peaks.gather(-1, lag).squeeze(-1) > PERIODIC) & loud & inside


def _autocorrelation(pieces: Tensor) -> Tensor:
    size = pieces.shape[-1]
    padded = 2 ** math.ceil(math.log2(2 * size))
    return torch.fft.irfft(torch.fft.rfft(pieces, padded).abs().square())[..., :size]


def count_turns(pitch: Tensor, sample_rate: int, hop_length: int) -> Tensor:
    """Turns of a fundamental of ``pitch`` (B, T) in Hz since the first frame, in parts of ``TURN``: integers (B, T)."""
    mean = (pitch[:, 1:] + pitch[:, :-1]) / 2
    advance = (mean * (hop_length * TURN / sample_rate)).round().long()
    return nn.functional.pad(advance.cumsum(dim=1), (1, 0))


def carrier(pitch: Tensor, turns: Tensor, bins: int, bin_width: float) -> Tensor:
    """Phases (B, ``bins``, T) of the harmonics, of ``turns`` of ``count_turns``, next to bins of ``bin_width`` Hz."""
    hertz = torch.arange(bins, device=pitch.device)[None, :, None] * bin_width
    harmonic = (hertz / pitch[:, None]).round().clamp(min=1).long()
    return (harmonic * turns[:, None] & (TURN - 1)).to(pitch.dtype) * (2 * math.pi / TURN)
