"""The speaker encoder that zero-shot text-to-speech reports its similarity (SIM) with: WavLM-Large + ECAPA-TDNN."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from melle.devices import find_device
from melle.errors import UserError, reason
from melle.evaluation.judges.base import SpeakerEncoder, audible, pad_to, receptive_field, unit
from melle.evaluation.judges.ecapa import EcapaTdnn

RATE = 16000  # samples per second, WavLM's
STRIDES = (5, 2, 2, 2, 2, 2, 2)  # of WavLM's first convolutions; no tensor tells them
MAX_DISTANCE = 800  # frames, beyond which WavLM-Large tells no positions apart; no tensor tells it either
HINT = "give the path of wavlm_large_finetune.pth (github.com/microsoft/UniSpeech, downstreams/speaker_verification)"

WAVLM = "feature_extract.model."  # what the file's names of WavLM start with
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
        option = f"speaker.unispeech.checkpoint={checkpoint}"
        self.settings = {"checkpoint": str(checkpoint)}
        self.device = find_device(device, "speaker.unispeech.device=")
        weights = _read(checkpoint, option)
        try:
            wavlm = _make_wavlm(weights["wavlm"])
            self._model = nn.ModuleDict({"wavlm": wavlm, "ecapa": EcapaTdnn.like(weights["ecapa"])})
        except UserError:
            raise
        except KeyError as error:
            raise UserError(f"{option}: has no {error.args[0]}; {HINT}") from None
        except Exception as error:  # tensors of other shapes, of which transformers complains in many ways
            raise UserError(f"{option}: of another model ({reason(error)}); {HINT}") from None
        for part, names in weights.items():
            _fill(self._model[part], names, option)
        self._model.to(self.device).eval()
        self._shortest = receptive_field(wavlm.config.conv_kernel, wavlm.config.conv_stride, 2)

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to a vector (256,) of length 1; the zero vector where there is no sound.

        Clips shorter than two frames of WavLM, 45 ms, end in silence.
        """
        samples = audible(waveform, sample_rate, RATE)
        if samples is None:
            return torch.zeros(self._model["ecapa"].linear.out_features)
        embedding = self._model["ecapa"](self._states(pad_to(samples, self._shortest).to(self.device)))
        return unit(embedding)

    def _states(self, samples: Tensor) -> Tensor:
        """Samples (N,) to WavLM's hidden states (1 + layers, T, width)."""
        # The encoder was trained over s3prl's WavLM, which normalises the clip as a whole and gives the input of every
        # layer, and then the encoder's output, which is the last layer's after the final layer norm. transformers 4
        # has the same for its hidden states, but transformers 5 the last layer's output without that norm.
        found = self._model["wavlm"](F.layer_norm(samples, samples.shape)[None], output_hidden_states=True)
        return torch.cat([*found.hidden_states[:-1], found.last_hidden_state])


def _read(checkpoint: str, option: str) -> dict[str, dict[str, Tensor]]:
    """The file's tensors for WavLM and for ECAPA-TDNN, by the names of our modules."""
    try:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
        parts: dict[str, dict[str, Tensor]] = {"wavlm": {}, "ecapa": {}}
        for name, value in weights.items():
            if name.startswith(WAVLM):
                parts["wavlm"][_rename(name.removeprefix(WAVLM))] = value
            elif not name.startswith("loss_calculator."):  # the classifier of its training
                parts["ecapa"][name] = value
    except Exception as error:  # no such file, a folder, no PyTorch file, other content
        raise UserError(f"{option}: cannot be loaded ({reason(error)}); {HINT}") from None
    return parts


def _rename(name: str) -> str:
    for pattern, replacement in WAVLM_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _make_wavlm(weights: dict[str, Tensor]) -> Any:
    """transformers' WavLM of the sizes of these weights. Raises KeyError where they lack a name."""
    try:
        from transformers import WavLMConfig, WavLMModel
    except ImportError:
        raise UserError('speaker=unispeech needs transformers: python -m pip install -e ".[wavlm]"') from None
    convs = [weights[f"feature_extractor.conv_layers.{layer}.conv.weight"] for layer in range(len(STRIDES))]
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    positions = weights["encoder.pos_conv_embed.conv.parametrizations.weight.original1"]  # (width, width / groups, K)
    buckets, heads = weights["encoder.layers.0.attention.rel_attn_embed.weight"].shape
    config = WavLMConfig(
        hidden_size=len(positions),
        num_hidden_layers=len(layers),
        num_attention_heads=heads,
        intermediate_size=len(weights["encoder.layers.0.feed_forward.intermediate_dense.weight"]),
        conv_dim=[len(conv) for conv in convs],
        conv_kernel=[conv.shape[2] for conv in convs],
        conv_stride=list(STRIDES),
        conv_bias="feature_extractor.conv_layers.0.conv.bias" in weights,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=positions.shape[2],
        num_conv_pos_embedding_groups=len(positions) // positions.shape[1],
        num_buckets=buckets,
        max_bucket_distance=MAX_DISTANCE,
    )
    return WavLMModel(config)


def _fill(module: nn.Module, weights: dict[str, Tensor], option: str) -> None:
    """Load all weights, and only those, into ``module``."""
    wanted = module.state_dict()
    for what, names in (("has no", wanted.keys() - weights.keys()), ("has an odd", weights.keys() - wanted.keys())):
        if names:
            few = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
            raise UserError(f"{option}: {what} {few}; {HINT}")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:  # shapes that do not fit
        raise UserError(f"{option}: cannot be loaded ({reason(error)}); {HINT}") from None
