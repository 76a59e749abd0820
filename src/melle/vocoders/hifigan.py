"""SpeechT5's HiFi-GAN, which reads the paper's mel."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from melle.audio import MelSpec
from melle.errors import UserError, reason
from melle.hub import is_hub_name, locate
from melle.vocoders.base import Vocoder

NAME, REVISION = "microsoft/speecht5_hifigan", "bb6f429406e86a9992357a972c0698b22043307d"  # on the hub


def reads(spec: MelSpec) -> bool:
    """Whether it was trained on such frames, which are the paper's."""
    return spec == MelSpec(floor=spec.floor)


class HifiGan(Vocoder):
    """From ``transformers``: a name on the hub ("hf://user/model") or a local folder. It knows the paper's mel only.

    ``local_only``: what is not on this disk is not asked for.
    """

    title = "HiFi-GAN"

    def __init__(self, spec: MelSpec, model: str = f"hf://{NAME}@{REVISION}", local_only: bool = False):
        super().__init__(spec)
        try:
            from transformers import SpeechT5HifiGan
        except ImportError:
            raise UserError('vocoder=hifigan needs transformers: python -m pip install -e ".[hifigan]"') from None
        if not reads(spec):
            raise UserError("vocoder=hifigan reads the paper's mel only; use vocoder=griffin_lim for this checkpoint")
        model = f"hf://{NAME}@{REVISION}" if model == NAME else model  # as earlier versions named it
        where, revision = locate(model, "vocoder.hifigan.model")
        local_only = local_only or not is_hub_name(model)
        try:
            self.model, found = SpeechT5HifiGan.from_pretrained(
                where, revision=revision or "main", output_loading_info=True, local_files_only=local_only
            )
        except Exception as error:  # of many kinds: broken JSON and weights, shapes that do not fit, no network
            raise UserError(
                f"vocoder.hifigan.model={model}: cannot be loaded ({reason(error)}); give a local folder"
            ) from None
        if found["missing_keys"]:
            raise UserError(
                f"vocoder.hifigan.model={model}: has no {min(found['missing_keys'])}; give a HiFi-GAN of SpeechT5's"
            )
        config = self.model.config
        made_for = {
            "samples per second": (config.sampling_rate, spec.sample_rate),
            "mel bands": (config.model_in_dim, spec.n_mels),
            "samples per frame": (math.prod(config.upsample_rates), spec.hop_length),
        }
        for what, (its, ours) in made_for.items():
            if its != ours:
                raise UserError(f"vocoder.hifigan.model={model}: made for {its} {what}, where this model has {ours}")
        self.model.eval()
        self.context = _reach(config)

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        return self.model(mel.to(next(self.model.parameters())))


def _reach(config: Any) -> int:
    """Frames to each side that a frame's samples depend on."""
    reach, rate = 3.0, 1  # the first convolution has a kernel of 7; the rate is in samples per frame
    for factor, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes):
        reach += math.ceil(kernel / factor) / rate
        rate *= factor
        blocks = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes)
        reach += max(sum(size // 2 * (dilation + 1) for dilation in dilations) for size, dilations in blocks) / rate
    return math.ceil(reach + 3 / rate)  # and so has the last
