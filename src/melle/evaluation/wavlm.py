"""Speaker encoders of transformers: x-vectors over WavLM and its kin."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError, reason
from melle.evaluation.sound import at_least, heard, receptive_field

# Parameters that no embedding depends on, and those of weight normalisation, which older files hold by other names:
# transformers reads these, but some of its releases report them as missing all the same.
UNNEEDED = ("objective.", "classifier.", "masked_spec_embed", "parametrizations.weight.original")


class WavlmSpeaker:
    """Any x-vector model of transformers that hears samples (WavLM, UniSpeech-SAT, wav2vec 2.0, …).

    Args:
        model: hub name, or local folder with the model and its feature extractor.
        device: "auto", "cpu", "cuda", …

    Raises UserError where transformers or the model is missing, or where it is of another kind.
    """

    def __init__(self, model: str = "microsoft/wavlm-base-plus-sv", device: str = "auto"):
        try:
            from transformers import AutoFeatureExtractor, AutoModelForAudioXVector
        except ImportError:
            raise UserError('speaker=wavlm needs transformers: python -m pip install -e ".[wavlm]"') from None
        option = f"speaker.wavlm.model={model}"
        self.name = Path(model).name
        self.settings = {"model": str(model)}
        self.device = find_device(device, "speaker.wavlm.device=")
        try:
            self._extractor = AutoFeatureExtractor.from_pretrained(model)
            loaded, found = AutoModelForAudioXVector.from_pretrained(model, output_loading_info=True)
        except Exception as error:  # of many kinds: broken JSON and weights, other models, no network
            raise UserError(
                f"{option}: cannot be loaded ({reason(error)}); give an x-vector model's hub name or local folder"
            ) from None
        missing = [name for name in found["missing_keys"] if not any(part in name for part in UNNEEDED)]
        if missing:  # transformers would fill it in at random
            raise UserError(f"{option}: has no {min(missing)}; give a model trained to tell speakers apart")
        config = loaded.config
        if loaded.main_input_name != "input_values" or not hasattr(config, "conv_kernel"):
            raise UserError(f"{option}: does not hear samples; give one of WavLM's kin")
        self._model = loaded.to(self.device).eval()
        # Two frames must come out of the x-vector layers, or their standard deviation is not a number.
        frames = 2 + sum((kernel - 1) * step for kernel, step in zip(config.tdnn_kernel, config.tdnn_dilation))
        self._shortest = receptive_field(list(config.conv_kernel), list(config.conv_stride), frames)

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to a vector (E,) of length 1; the zero vector where there is no sound.

        Clips shorter than what the model needs for two frames end in silence.
        """
        rate = self._extractor.sampling_rate
        samples = heard(waveform, sample_rate, rate)
        if samples is None:
            return torch.zeros(self._model.config.xvector_output_dim)
        samples = at_least(samples, self._shortest).numpy()
        values = self._extractor(samples, sampling_rate=rate, return_tensors="pt").input_values  # (1, N)
        embedding = self._model(values.to(self.device)).embeddings[0]
        return F.normalize(embedding.float(), dim=0).cpu()
