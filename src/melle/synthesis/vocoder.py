"""From log10 mel back to a waveform."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from melle.audio import MelSpec
from melle.errors import UserError


class GriffinLim(nn.Module):
    """Phase reconstruction without any weights: works offline, sounds a little metallic.

    Mel magnitudes go back to linear ones by the filter bank's pseudo-inverse, then the phase is iterated from zero,
    which makes the result a function of the mel alone.
    """

    def __init__(self, spec: MelSpec, iterations: int = 32):
        super().__init__()
        self.spec, self.iterations = spec, iterations
        self.register_buffer("window", torch.hann_window(spec.n_fft), persistent=False)
        self.register_buffer("inverse", torch.linalg.pinv(spec.filters()), persistent=False)

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        """(T, M) log10 mel to (N,) samples, N = (T - 1) · hop_length."""
        magnitudes = (10.0 ** mel.to(self.inverse) @ self.inverse).clamp(min=0).T
        return torchaudio.functional.griffinlim(
            magnitudes,
            window=self.window,
            n_fft=self.spec.n_fft,
            hop_length=self.spec.hop_length,
            win_length=self.spec.n_fft,
            power=1.0,
            n_iter=self.iterations,
            momentum=0.99,
            length=None,
            rand_init=False,
        )


class HifiGan(nn.Module):
    """SpeechT5's HiFi-GAN from ``transformers``, by hub name or local folder. It knows the paper's mel only."""

    def __init__(self, spec: MelSpec, model: str = "microsoft/speecht5_hifigan"):
        super().__init__()
        try:
            from transformers import SpeechT5HifiGan
        except ImportError:
            raise UserError('vocoder=hifigan needs transformers: python -m pip install -e ".[hifigan]"') from None
        expected = MelSpec(floor=spec.floor)
        if spec != expected:
            raise UserError("vocoder=hifigan reads the paper's mel only; use vocoder=griffin_lim for this checkpoint")
        try:
            self.model = SpeechT5HifiGan.from_pretrained(model)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"vocoder.model={model}: cannot be loaded ({reason}); give a local folder") from None
        self.model.eval()

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        """(T, M) log10 mel to (N,) samples, N = T · hop_length."""
        return self.model(mel.to(next(self.model.parameters())))


VOCODERS = {"griffin_lim": GriffinLim, "hifigan": HifiGan}


def make_vocoder(name: str, spec: MelSpec, **options) -> nn.Module:
    if name not in VOCODERS:
        raise UserError(f"vocoder={name}: choose one of {', '.join(VOCODERS)}")
    return VOCODERS[name](spec, **options)
