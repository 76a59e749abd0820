"""The reference implementation's weights under our names, and what they say of the network they are of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from melle.audio import MelSpec
from melle.errors import UserError


@dataclass
class ReferenceWeights:
    """A reference state dict that keeps account of what has been taken out of it."""

    tensors: dict[str, Tensor]
    taken: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise UserError(f"not a checkpoint of the reference implementation: it has no {name}")
        self.taken.add(name)
        return self.tensors[name].float()

    def take_or_zeros(self, name: str, like: Tensor) -> Tensor:
        """A bias (of the length of the matrix's first side), zeros where the reference has none."""
        return self.take(name) if name in self else torch.zeros(len(like))

    def count(self, pattern: str) -> int:
        """How many different numbers stand for the group in ``pattern``."""
        return len({match[1] for name in self.tensors if (match := re.match(pattern, name))})

    def check_all_taken(self) -> None:
        left = sorted(set(self.tensors) - self.taken)
        if left:
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            raise UserError(f"the checkpoint holds what this model has no place for: {', '.join(left[:5])}{more}")


def translate(weights: ReferenceWeights) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The network's arguments and its state dict, with the text embedding as it is there."""
    take = weights.take
    state: dict[str, Tensor] = {}
    state["text_embedding.weight"] = embedding = take("text_embedding.weight")
    width = embedding.shape[1]
    name = "mel_bos_embed.weight" if "mel_bos_embed.weight" in weights else "mel_bos_embed"
    state["bos"] = take(name).reshape(-1)
    for number, name in enumerate(("prenet_l1", "prenet_l2", "prenet_lout")):
        _linear(weights, f"mel_embedding.{name}", state, f"prenet.layers.{number}")
    n_mels = MelSpec().n_mels
    group, hidden = state["prenet.layers.0.weight"].shape[1], state["prenet.layers.0.weight"].shape[0]
    if group % n_mels:
        raise UserError(f"the checkpoint reads {group} values a step, which is no multiple of {n_mels} mel bands")
    layers = weights.count(r"encoder_layers\.(\d+)\.")
    gated = "encoder_layers.0.ffn.gate_proj.weight" in weights
    for number in range(layers):
        _block(weights, f"encoder_layers.{number}", state, f"blocks.{number}", gated)
    _norm(weights, "layer_norm", state, "norm")
    _linear(weights, "stop_projection", state, "stop")
    _linear(weights, "mel_decoder.before_outs_and_logvar_l", state, "latent.project")
    latent_bias = "mel_decoder.vae_decoder.0.bias" in weights
    for number in (0, 3, 6):
        _linear(weights, f"mel_decoder.vae_decoder.{number}", state, f"latent.perceptron.{number}", bias=latent_bias)
    arguments: dict[str, Any] = {
        "vocab_size": len(embedding),
        "n_mels": n_mels,
        "reduction_factor": group // n_mels,
        "width": width,
        "layers": layers,
        "ff_width": state["blocks.0.mlp.up.weight"].shape[0] if layers else 0,
        "block": "sub_ln",
        "norm": "layer" if "layer_norm.bias" in weights else "rms",
        "mlp": "gated" if gated else "plain",
        "prenet_hidden": hidden,
        "latent_hidden": state["latent.perceptron.0.weight"].shape[0],
        "latent_bias": latent_bias,
    }
    arguments |= _positions(weights, state) | _postnet(weights, state)
    return arguments, state


def _linear(weights: ReferenceWeights, source: str, state: dict[str, Tensor], target: str, bias: bool = True) -> None:
    state[f"{target}.weight"] = weight = weights.take(f"{source}.weight")
    if bias:
        state[f"{target}.bias"] = weights.take_or_zeros(f"{source}.bias", weight)


def _norm(weights: ReferenceWeights, source: str, state: dict[str, Tensor], target: str) -> None:
    state[f"{target}.weight"] = weights.take(f"{source}.weight")
    if f"{source}.bias" in weights:
        state[f"{target}.bias"] = weights.take(f"{source}.bias")


def _block(weights: ReferenceWeights, source: str, state: dict[str, Tensor], target: str, gated: bool) -> None:
    parts = [f"{source}.self_attn.{part}_proj" for part in "qkv"]
    matrices = [weights.take(f"{part}.weight") for part in parts]
    state[f"{target}.attention.qkv.weight"] = torch.cat(matrices)
    state[f"{target}.attention.qkv.bias"] = torch.cat(
        [weights.take_or_zeros(f"{part}.bias", matrix) for part, matrix in zip(parts, matrices)]
    )
    _linear(weights, f"{source}.self_attn.o_proj", state, f"{target}.attention.out")
    _norm(weights, f"{source}.self_attn.norm", state, f"{target}.attention.norm")
    _norm(weights, f"{source}.self_attn_norm", state, f"{target}.attention_norm")
    _norm(weights, f"{source}.ffn_norm", state, f"{target}.mlp_norm")
    _norm(weights, f"{source}.ffn.norm", state, f"{target}.mlp.norm")
    names = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"} if gated else {"fc1": "up", "fc2": "down"}
    for theirs, ours in names.items():
        _linear(weights, f"{source}.ffn.{theirs}", state, f"{target}.mlp.{ours}", bias=not gated)


def _positions(weights: ReferenceWeights, state: dict[str, Tensor]) -> dict[str, Any]:
    """Learned tables, which the reference numbers from 1, or rotary positions, which need no weights."""
    if "text_position.weight" not in weights and "mel_position.weight" not in weights:
        return {"position": "rope"}
    for kind in ("text", "mel"):
        state[f"{kind}_position.weight"] = weights.take(f"{kind}_position.weight")[1:]
    return {
        "position": "learned",
        "max_text": len(state["text_position.weight"]),
        "max_steps": len(state["mel_position.weight"]),
    }


def _postnet(weights: ReferenceWeights, state: dict[str, Tensor]) -> dict[str, Any]:
    source = "mel_decoder.postnet"
    numbers = sorted(
        {int(match[1]) for name in weights.tensors if (match := re.match(rf"{re.escape(source)}\.(\d+)\.", name))}
    )
    if not numbers:
        return {"postnet": "none"}
    convolutions = [number for number in numbers if _is_kernel(weights, f"{source}.{number}.weight")]
    for layer, number in enumerate(convolutions):
        kernel = weights.take(f"{source}.{number}.weight")
        state[f"postnet.convolutions.{layer}.weight"] = kernel
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"postnet.norms.{layer}.{name}"] = weights.take(f"{source}.{number + 1}.{name}")
        counter = f"{source}.{number + 1}.num_batches_tracked"
        state[f"postnet.norms.{layer}.num_batches_tracked"] = (
            weights.take(counter).long() if counter in weights else torch.tensor(0)
        )
        # Ours have no bias before the batch norm, which subtracts it again: it moves the running mean.
        state[f"postnet.norms.{layer}.running_mean"] = state[
            f"postnet.norms.{layer}.running_mean"
        ] - weights.take_or_zeros(f"{source}.{number}.bias", kernel)
    first = state["postnet.convolutions.0.weight"]
    return {
        "postnet": "conv",
        "postnet_channels": first.shape[0],
        "postnet_layers": len(convolutions),
        "postnet_kernel": first.shape[2],
    }


def _is_kernel(weights: ReferenceWeights, name: str) -> bool:
    return name in weights and weights.tensors[name].ndim == 3
