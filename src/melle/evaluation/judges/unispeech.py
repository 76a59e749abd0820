"""The speaker encoder that zero-shot text-to-speech reports its similarity (SIM) with: WavLM-Large + ECAPA-TDNN."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor

from melle.devices import find_device
from melle.evaluation.judges.base import (
    SpeakerEncoder,
    audible,
    loading,
    packages_of,
    pad_to,
    receptive_field,
    unit,
)
from melle.evaluation.judges.ecapa import ecapa_tdnn

RATE = 16000  # samples per second, WavLM's
WAVLM_LARGE = {  # arguments of WavLMConfig where they are not its defaults, which are WavLM-Base's
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
HINT = "give the path of wavlm_large_finetune.pth (github.com/microsoft/UniSpeech, downstreams/speaker_verification)"

WAVLM = "feature_extract.model."  # what the file's names of WavLM start with
CLASSIFIER = "loss_calculator."  # and those of the classifier of its training, which embeddings do not need
# The file's names for what transformers calls otherwise; tried in order, all of them.
WAVLM_NAMES = (
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"(\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"(\.conv_layers\.\d+)\.2\.1\.", r"\1.layer_norm."),
    (r"\.pos_conv\.0\.weight_g$", ".pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"\.pos_conv\.0\.weight_v$", ".pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"\.pos_conv\.0\.", ".pos_conv_embed.conv."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.", ".attention."),
    (r"\.grep_linear\.", ".gru_rel_pos_linear."),
    (r"\.grep_a$", ".gru_rel_pos_const"),
    (r"\.relative_attention_bias\.", ".rel_attn_embed."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)


class Unispeech(SpeakerEncoder):
    """WavLM-Large + ECAPA-TDNN from UniSpeech's fine-tuned checkpoint, ``wavlm_large_finetune.pth``.

    Raises UserError where transformers is missing, or the file is missing or holds something else.
    """

    name = "wavlm-large-ecapa"
    packages = ("transformers", "torch")

    def __init__(self, checkpoint: str, device: str = "auto"):
        with packages_of("wavlm", "speaker=unispeech"):
            from transformers import WavLMConfig, WavLMModel
        self.device = find_device(device, "speaker.unispeech.device=")
        self.settings = {"checkpoint": str(checkpoint), "device": self.device.type}
        with loading(f"speaker.unispeech.checkpoint={checkpoint}", HINT):
            weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
            self.wavlm = WavLMModel(WavLMConfig(**WAVLM_LARGE)).eval()
            kept = {name.removeprefix(WAVLM): weights[name] for name in weights if name.startswith(WAVLM)}
            self.wavlm.load_state_dict({_rename(name): value for name, value in kept.items()})
            self.wavlm.to(self.device)
            own = {name: weights[name] for name in weights if not name.startswith((WAVLM, CLASSIFIER))}
            self.ecapa = {name: value.to(self.device) for name, value in own.items()}
            self._shortest = receptive_field(self.wavlm.config.conv_kernel, self.wavlm.config.conv_stride, 2)
            self.embed(torch.ones(RATE), RATE)  # raises where a tensor of ECAPA-TDNN is missing or does not fit

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to a vector (256,) of length 1; the zero vector where there is no sound.

        Clips shorter than two frames of WavLM, 45 ms, end in silence.
        """
        samples = audible(waveform, sample_rate, RATE)
        if samples is None:
            return torch.zeros(len(self.ecapa["linear.bias"]))
        return unit(ecapa_tdnn(self.ecapa, self.states(pad_to(samples, self._shortest).to(self.device))))

    def states(self, samples: Tensor) -> Tensor:
        """Samples (N,) to WavLM's hidden states (1 + layers, T, width)."""
        # The encoder was trained over s3prl's WavLM, which normalises the clip as a whole and gives the input of every
        # layer, and then the encoder's output, which is the last layer's after the final layer norm. transformers 4
        # has the same for its hidden states, but transformers 5 the last layer's output without that norm.
        found = self.wavlm(F.layer_norm(samples, samples.shape)[None], output_hidden_states=True)
        return torch.cat([*found.hidden_states[:-1], found.last_hidden_state])


def _rename(name: str) -> str:
    for pattern, replacement in WAVLM_NAMES:
        name = re.sub(pattern, replacement, name)
    return name
