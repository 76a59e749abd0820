"""More voices than a corpus has: batches whose rows sound as if somebody else spoke them, elsewhere."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from melle.audio import MelSpec
from melle.data.batch import Batch
from melle.errors import UserError

KNEE = 0.63  # of the highest band: up to there frequencies are scaled, as Jaitly and Hinton's 4800 Hz of 8000 are
POINTS = 5  # of the curve by which bands are raised and lowered, evenly spaced over them
NOISE_SPREAD = 0.25  # standard deviation of a noise band's magnitude around its mean, as a share of it


class VoicePerturbation:
    """Changes the voice and the room of some rows of a batch, each in a way of its own from beginning to end.

    What is joined in a row stays one voice, so that going on in it, as from a prompt, is what the network learns. With
    the few voices of a small corpus it would learn these by heart.

    - Frequencies are scaled, pitch and formants alike, as those of a shorter or longer vocal tract (vocal tract length
      perturbation; Jaitly and Hinton, 2013).
    - Bands are raised and lowered by a smooth curve, as by another microphone or room.
    - Steady noise is added.

    Args:
        spec: what a frame is.
        share: probability that a row is changed.
        warp: largest factor by which frequencies are scaled; factors lie between its inverse and it, evenly in their
            logarithm; 1: none.
        colour: standard deviation of the curve, in dB; 0: none.
        noisy: probability that a row that is changed gets noise.
        noise: lowest and highest level of it, in dB of the row's loudest band; it falls by 1 dB a 4 bands.

    Raises UserError for values that mean nothing.
    """

    def __init__(
        self,
        spec: MelSpec,
        share: float = 0.5,
        warp: float = 1.25,
        colour: float = 4.0,
        noisy: float = 0.3,
        noise: tuple[float, float] = (-70.0, -35.0),
    ):
        for name, value in {"share": share, "noisy": noisy}.items():
            if not 0 <= value <= 1:
                raise UserError(f"augment.voices.{name}={value}: give a probability, 0 to 1")
        if not 1 <= warp <= 2:
            raise UserError(f"augment.voices.warp={warp}: give a factor of 1 (none) to 2")
        if not 0 <= colour <= 20:
            raise UserError(f"augment.voices.colour={colour}: give 0 to 20 dB")
        if len(noise) != 2 or not noise[0] <= noise[1] <= 0:
            raise UserError(
                f"augment.voices.noise={list(noise)}: give the lowest and the highest level in dB, 0 at most"
            )
        self.spec, self.share, self.warp, self.colour = spec, share, warp, colour
        self.noisy, self.noise = noisy, tuple(noise)
        self.centres = librosa.mel_frequencies(n_mels=spec.n_mels + 2, fmin=spec.f_min, fmax=spec.f_max)[1:-1]

    def __call__(self, batch: Batch) -> Batch:
        """The batch with other log10 mels; drawn by torch's global random numbers."""
        return replace(batch, mel=self.perturb(batch.mel, batch.mel_lengths))

    def perturb(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Log10 mel (B, T, M) of rows of ``lengths`` (B,) frames, changed; padding stays as it is."""
        rows, frames, bands = mel.shape
        # Drawn on the CPU, (B,) and (B, POINTS) numbers, so that any device sees the same voices.
        changed = torch.rand(rows) < self.share
        factors = torch.exp((2 * torch.rand(rows) - 1) * np.log(self.warp))
        curve = torch.randn(rows, POINTS) * (self.colour / 20)
        noisy = changed & (torch.rand(rows) < self.noisy)
        level = torch.empty(rows).uniform_(*self.noise) / 20
        if not changed.any():
            return mel
        source = torch.stack([torch.from_numpy(self.source_bands(float(factor))) for factor in factors])
        curve = torch.nn.functional.interpolate(curve[:, None], bands, mode="linear", align_corners=True)
        curve = curve - curve.mean(-1, keepdim=True)  # neither louder nor softer on the whole
        floor = float(np.log10(self.spec.floor))
        device, kind = mel.device, mel.dtype
        out = interpolate_bands(mel, source.to(device, kind)) + curve.to(device, kind)
        inside = torch.arange(frames, device=device) < lengths[:, None]
        peak = mel.amax(-1).masked_fill(~inside, -torch.inf).amax(-1)  # (B,)
        slope = torch.arange(bands, device=device, dtype=kind) / 80  # 1 dB is 1/20 in log10
        hiss = (peak + level.to(device, kind))[:, None, None] - slope + curve.to(device, kind)
        spread = (1 + NOISE_SPREAD * torch.randn_like(out)).clamp(min=0.1)
        with_noise = 0.5 * torch.log10(10 ** (2 * out) + (10**hiss * spread) ** 2)  # powers add up
        out = torch.where(noisy.to(device)[:, None, None], with_noise, out).clamp(min=floor)
        keep = ~changed.to(device)[:, None, None] | ~inside[:, :, None]
        return torch.where(keep, mel, out)

    def source_bands(self, factor: float) -> NDArray[np.float32]:
        """Of every band (M,) the place among the bands where what is heard in it comes from, for a voice so scaled.

        Frequencies are scaled up to a knee, and from there on so that the highest stays where it is.
        """
        top = self.centres[-1]
        knee = KNEE * top * min(factor, 1)  # where the knee comes to lie
        above = top - (top - knee / factor) * (top - self.centres) / (top - knee)
        hertz = np.where(self.centres <= knee, self.centres / factor, above)
        return np.interp(hertz, self.centres, np.arange(len(self.centres))).astype(np.float32)


def interpolate_bands(mel: Tensor, places: Tensor) -> Tensor:
    """(B, T, M) read at ``places`` (B, M) among the bands, between two of them in proportion."""
    below = places.floor().clamp(max=mel.shape[-1] - 2)
    index = below.long()[:, None].expand_as(mel)
    return torch.lerp(mel.gather(-1, index), mel.gather(-1, index + 1), (places - below)[:, None].expand_as(mel))
