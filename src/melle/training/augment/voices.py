"""More voices than a corpus has: rows of a batch sound as if somebody else spoke them, elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import librosa
import torch
from torch import Tensor, nn

from melle.audio import MelSpec
from melle.data.batch import Batch
from melle.errors import UserError
from melle.model.layout import lengths_to_mask

KNEE = 0.63  # of the highest band: up to there frequencies are scaled, as Jaitly and Hinton's 4800 Hz of 8000 are
POINTS = 5  # of the curve by which bands are raised and lowered, evenly spaced over them
NOISE_SPREAD = 0.25  # standard deviation of a noise band's magnitude around its mean, as a share of it
SLOPE = 1 / 80  # log10 by which noise falls from band to band: 1 dB in 4


class VoicePerturbation(nn.Module):
    """Changes the voice and the room of some rows of a batch, each in a way of its own from beginning to end.

    What is joined in a row stays one voice, so that going on in it, as from a prompt, is what the network learns. With
    the few voices of a small corpus it would learn these by heart.

    - Frequencies are scaled, pitch and formants alike, as those of a shorter or longer vocal tract (vocal tract length
      perturbation; Jaitly and Hinton, 2013).
    - Bands are raised and lowered by a smooth curve, as by another microphone or room.
    - Steady noise is added.

    Args:
        spec: what a frame is.
        probability: that a row is changed.
        warp: largest factor by which frequencies are scaled; factors lie between its inverse and it, evenly in their
            logarithm; 1: none.
        colour: standard deviation of the curve's points, in dB; 0: none.
        noise_probability: that a row that is changed gets noise.
        noise_levels: lowest and highest level of it, in dB of the row's loudest band.

    Raises UserError for values that mean nothing.
    """

    def __init__(
        self,
        spec: MelSpec,
        probability: float = 0.5,
        warp: float = 1.25,
        colour: float = 4.0,
        noise_probability: float = 0.3,
        noise_levels: Sequence[float] = (-70.0, -35.0),
    ):
        super().__init__()
        for name, value in {"probability": probability, "noise_probability": noise_probability}.items():
            if not 0 <= value <= 1:
                raise UserError(f"augment.voices.{name}={value}: give a number from 0 to 1")
        if not 1 <= warp <= 2:
            raise UserError(f"augment.voices.warp={warp}: give a factor of 1 (none) to 2")
        if not 0 <= colour <= 20:
            raise UserError(f"augment.voices.colour={colour}: give 0 to 20 dB")
        levels = list(noise_levels) if isinstance(noise_levels, Sequence) else []
        if len(levels) != 2 or not levels[0] <= levels[1] <= 0:
            raise UserError(
                f"augment.voices.noise_levels={levels or noise_levels}: give the lowest and highest in dB, 0 at most"
            )
        self.spec, self.probability, self.warp, self.colour = spec, probability, warp, colour
        self.noise_probability, self.noise_levels = noise_probability, levels
        centres = librosa.mel_frequencies(n_mels=spec.n_mels + 2, fmin=spec.f_min, fmax=spec.f_max)[1:-1]
        self.register_buffer("centres", torch.from_numpy(centres).float(), persistent=False)  # (M,) Hz

    def forward(self, batch: Batch) -> Batch:
        """The batch with other log10 mels; drawn by torch's global random numbers."""
        return replace(batch, mel=self.perturb(batch.mel, batch.mel_lengths))

    def perturb(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Log10 mel (B, T, M) of rows of ``lengths`` (B,) frames, changed; padding stays as it is."""
        rows, frames, bands = mel.shape
        device, given = mel.device, mel.float()  # places among bands need more than the digits of bfloat16

        def draw() -> Tensor:
            return torch.rand(rows, device=device)

        factors = torch.exp((2 * draw() - 1) * math.log(self.warp))
        curve = torch.randn(rows, 1, POINTS, device=device) * (self.colour / 20)
        curve = nn.functional.interpolate(curve, bands, mode="linear", align_corners=True)  # (B, 1, M)
        curve = curve - curve.mean(-1, keepdim=True)  # neither louder nor softer on the whole
        out = interpolate_bands(given, self.source_bands(factors)) + curve
        inside = lengths_to_mask(lengths, frames)
        peak = given.amax(-1).masked_fill(~inside, -torch.inf).amax(-1)  # (B,)
        low, high = self.noise_levels
        level = peak + (low + (high - low) * draw()) / 20
        hiss = level[:, None, None] - SLOPE * torch.arange(bands, device=device) + curve
        spread = (1 + NOISE_SPREAD * torch.randn_like(out)).clamp(min=0.1)
        with_noise = 0.5 * torch.log10(10 ** (2 * out) + (10**hiss * spread) ** 2)  # powers add up
        out = torch.where((draw() < self.noise_probability)[:, None, None], with_noise, out)
        changed = (draw() < self.probability)[:, None] & inside
        return torch.where(changed[:, :, None], out.clamp(min=math.log10(self.spec.floor)).to(mel.dtype), mel)

    def source_bands(self, factors: Tensor) -> Tensor:
        """Of every band the place among the bands where what is heard in it comes from, (B, M), for voices scaled by
        ``factors`` (B,).

        Frequencies are scaled up to a knee, and from there on so that the highest stays where it is.
        """
        centres, top, factors = self.centres, self.centres[-1], factors[:, None]
        knee = KNEE * top * factors.clamp(max=1)  # where the knee comes to lie
        above = top - (top - knee / factors) * (top - centres) / (top - knee)
        hertz = torch.where(centres <= knee, centres / factors, above)
        below = (torch.searchsorted(centres, hertz, right=True) - 1).clamp(0, len(centres) - 2)
        between = (hertz - centres[below]) / (centres[below + 1] - centres[below])
        return below + between.clamp(0, 1)


def interpolate_bands(mel: Tensor, places: Tensor) -> Tensor:
    """(B, T, M) read at ``places`` (B, M) among the bands, between two of them in proportion."""
    below = places.floor().clamp(max=mel.shape[-1] - 2)
    index = below.long()[:, None].expand_as(mel)
    return torch.lerp(mel.gather(-1, index), mel.gather(-1, index + 1), (places - below)[:, None].expand_as(mel))
