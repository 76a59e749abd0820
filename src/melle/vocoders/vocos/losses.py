"""What the training of a vocoder minimises: distances of spectra, and what discriminators tell apart (Vocos, §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor, nn

# Windows in samples with mel bands, the hop being a quarter: what one window blurs another shows.
RESOLUTIONS = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
SMALL = 0.01  # of a recording's magnitude: what is softer has no phase to speak of
TINY = 1e-12  # of a product of magnitudes: keeps silence from dividing by 0


class MelDistance(nn.Module):
    """Mean distance of log10 mel spectrograms of waveforms (B, N), over several resolutions (Kumar et al. 2023)."""

    def __init__(self, sample_rate: int, resolutions: Sequence[tuple[int, int]] = RESOLUTIONS, floor: float = 1e-5):
        super().__init__()
        self.floor = floor
        self.spectra = nn.ModuleList(
            torchaudio.transforms.MelSpectrogram(
                sample_rate, n_fft=size, hop_length=size // 4, n_mels=bands, power=1.0, center=True
            )
            for size, bands in resolutions
        )

    def forward(self, real: Tensor, made: Tensor) -> Tensor:
        with torch.autocast(real.device.type, enabled=False):  # bands in bfloat16 would hide what is closer than 0.4 %
            distances = [
                (_log(spectrum(real), self.floor) - _log(spectrum(made), self.floor)).abs().mean()
                for spectrum in self.spectra
            ]
            return torch.stack(distances).mean()


class PhaseAdvance(nn.Module):
    """How unlike the phases of waveforms (B, N) advance from frame to frame: 0.01 where alike, 1 on average by chance.

    1 - cos of the difference of both advances, weighted by the recording's magnitudes, each segment as much as any
    other; near 1, too, where there is hardly any sound of which to compare a phase. Mel frames determine how fast a
    voice's periods follow each other, not where one begins: the advance alone is learnable (as the differences of
    phases over time in APNet, Ai and Ling 2023, arXiv 2305.07952). Where it errs, overlapping windows cancel each other
    and the voice is rough.
    """

    def __init__(self, n_fft: int = 1024, hop_length: int = 256, lags: Sequence[int] = (1, 2)):
        super().__init__()
        self.n_fft, self.hop_length, self.lags = n_fft, hop_length, lags
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, real: Tensor, made: Tensor) -> Tensor:
        with torch.autocast(real.device.type, enabled=False):
            real, made = self._spectrum(real), self._spectrum(made)
            return torch.stack([self._distance(_advance(real, lag), _advance(made, lag)) for lag in self.lags]).mean()

    def _spectrum(self, waveform: Tensor) -> Tensor:
        return torch.stft(
            waveform.float(),
            self.n_fft,
            self.hop_length,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )

    @staticmethod
    def _distance(real: Tensor, made: Tensor) -> Tensor:
        """Of products (B, F, T) of spectra with those of earlier frames."""
        size = real.abs()
        alike = (real / (size + TINY) * (made / (made.abs() + SMALL * size + TINY)).conj()).real
        weights = size.sqrt()
        weights = weights / (weights.sum(dim=(1, 2), keepdim=True) + TINY)
        return (weights * (1 - alike)).sum(dim=(1, 2)).mean()


def _advance(spectrum: Tensor, lag: int) -> Tensor:
    return spectrum[..., lag:] * spectrum[..., :-lag].conj()


def _log(mel: Tensor, floor: float) -> Tensor:
    return mel.clamp(min=floor).log10()


def discriminator_loss(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Hinge: scores of recordings above 1, of what was made below -1; mean over the discriminators."""
    losses = [(1 - r).clamp(min=0).mean() + (1 + m).clamp(min=0).mean() for r, m in zip(real, made)]
    return torch.stack(losses).mean()


def generator_loss(made: Sequence[Tensor]) -> Tensor:
    """Hinge: what was made should score above 1."""
    return torch.stack([(1 - score).clamp(min=0).mean() for score in made]).mean()


def feature_distance(real: Sequence[Sequence[Tensor]], made: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean distance of what the discriminators' layers see."""
    pairs = [(r.detach(), m) for layers in zip(real, made) for r, m in zip(*layers)]
    return torch.stack([(r - m).abs().mean() for r, m in pairs]).mean()
