"""The speaker encoder that zero-shot text-to-speech reports its similarity (SIM) with: WavLM-Large + ECAPA-TDNN.

ECAPA-TDNN (arXiv 2005.07143), in the size that UniSpeech calls small, is written over the tensors of its file by their
names there: nothing is trained here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from melle.devices import find_device
from melle.evaluation.judges.base import SpeakerEncoder, audible, pad_to, receptive_field, unit
from melle.evaluation.judges.loading import loading, packages_of

DILATIONS = {"layer2": 2, "layer3": 3, "layer4": 4}  # of ECAPA-TDNN's three SE-Res2 blocks
RATE = 16000  # samples per second, WavLM's
WAVLM_LARGE = {  # arguments of WavLMConfig where they are not its defaults, which are WavLM-Base's
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
Weights = dict[str, Tensor]
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


@dataclass(eq=False)
class Unispeech(SpeakerEncoder):
    """WavLM-Large + ECAPA-TDNN from UniSpeech's fine-tuned checkpoint, ``wavlm_large_finetune.pth``."""

    name = "wavlm-large-ecapa"
    packages = ("transformers", "torch")
    checkpoint: str  # the path of that file
    device: str = "auto"  # "auto", "cpu", "cuda", …

    def __post_init__(self) -> None:
        with packages_of("wavlm", "speaker=unispeech"):
            from transformers import WavLMConfig, WavLMModel
        self.device = find_device(self.device, "device=")
        with loading(f"checkpoint={self.checkpoint}", HINT):
            weights = torch.load(self.checkpoint, map_location="cpu", weights_only=True)["model"]
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
        """Clips shorter than two frames of WavLM, 45 ms, end in silence."""
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


def ecapa_tdnn(weights: Weights, states: Tensor) -> Tensor:
    """Hidden states (S, T, F) of one clip, T > 1, to its embedding (E,): their learned mean, normalised per clip."""
    x = torch.einsum("s,stf->ft", weights["feature_weight"].softmax(dim=0), states)[None]
    x = _conv_relu_norm(weights, "layer1", F.instance_norm(x))
    outputs = []
    for block, dilation in DILATIONS.items():
        x = _se_res2_block(weights, block, x, dilation)
        outputs.append(x)
    x = _conv(weights, "conv", torch.cat(outputs, dim=1)).relu()
    return _linear(weights, "linear", _norm(weights, "bn", _attentive_statistics(weights, "pooling", x)))[0]


def _se_res2_block(weights: Weights, name: str, x: Tensor, dilation: int) -> Tensor:
    """Residual block, (1, C, T) to the same: Res2Net's convolution, and a gate per channel from the whole clip."""
    y = _conv_relu_norm(weights, f"{name}.Conv1dReluBn1", x)
    inner = f"{name}.Res2Conv1dReluBn"
    *groups, last = y.split(weights[f"{inner}.convs.0.weight"].shape[1], dim=1)
    done: list[Tensor] = []
    for number, group in enumerate(groups):  # each sees those before it; the last is unchanged
        seen = group + done[-1] if done else group
        seen = _conv(weights, f"{inner}.convs.{number}", seen, dilation).relu()
        done.append(_norm(weights, f"{inner}.bns.{number}", seen))
    y = _conv_relu_norm(weights, f"{name}.Conv1dReluBn2", torch.cat([*done, last], dim=1))
    gate = _linear(weights, f"{name}.SE_Connect.linear1", y.mean(dim=2)).relu()
    return x + y * _linear(weights, f"{name}.SE_Connect.linear2", gate).sigmoid()[:, :, None]


def _attentive_statistics(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Mean and standard deviation over time, weighted per channel by attention: (1, C, T) to (1, 2 C)."""
    scores = _conv(weights, f"{name}.linear2", _conv(weights, f"{name}.linear1", x).tanh())
    shares = scores.softmax(dim=2)
    mean = (shares * x).sum(dim=2)
    variance = (shares * x.square()).sum(dim=2) - mean.square()
    return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=1)


def _conv_relu_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    return _norm(weights, f"{name}.bn", _conv(weights, f"{name}.conv", x).relu())


def _conv(weights: Weights, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    """As many frames come out as go in."""
    kernel = weights[f"{name}.weight"]
    padding = kernel.shape[2] // 2 * dilation
    return F.conv1d(x, kernel, weights[f"{name}.bias"], padding=padding, dilation=dilation)


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Batch normalisation by the statistics of training."""
    of = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *of)
