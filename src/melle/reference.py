"""Checkpoints of the reference implementation, turned into ours: ``python -m melle import-reference``.

They hold ``{"step": …, "model": state_dict}``. What the weights show is read from them: sizes, reduction factor, kinds
of norm, MLP and positions, post-net or none. What they cannot show is told: heads and activations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melle.audio import MelSpec
from melle.checkpoint import LoadedModel, ModelDescription, read_content, save_model
from melle.errors import UserError
from melle.model import Melle
from melle.text import FIRST, Tokenizer


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


def import_reference(
    source: str | Path,
    target: str | Path,
    tokenizer: Tokenizer,
    eos: int,
    heads: int = 16,
    activation: str = "silu",
    prenet_activation: str = "relu",
    postnet_activation: str = "tanh",
    frames_per_token: float = 18.0,
) -> Melle:
    """Write ``target``, a checkpoint of ours with the weights of ``source``; returns the network, in eval mode.

    Args:
        tokenizer: with the reference's ids (plus the two that ours keep free).  eos: the reference's id of <EOS>.
        heads, activation, prenet_activation, postnet_activation: what the reference was trained with.
        frames_per_token: mean mel frames per text token; only the length guards of unprompted speech go by it.

    Raises UserError for a file that is no such checkpoint, or that does not fit these options.
    """
    step, weights = _read(Path(source))
    told = {
        "heads": heads,
        "activation": activation,
        "prenet_activation": prenet_activation,
        "postnet_activation": postnet_activation,
    }
    try:
        arguments, state = _translate(weights, eos)
        arguments |= told
        weights.check_all_taken()
        network = Melle(**arguments)
        network.load_state_dict(state)
    except (ValueError, RuntimeError, LookupError, TypeError) as error:  # what shapes that do not fit raise
        raise UserError(f"{source} does not fit: {' '.join(str(error).split())}") from None
    if tokenizer.vocab_size > arguments["vocab_size"]:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size - FIRST} ids, the checkpoint {arguments['vocab_size'] - FIRST}; "
            "name the tokenizer that the checkpoint was trained with"
        )
    description = ModelDescription(arguments, MelSpec(), tokenizer, frames_per_token)
    save_model(target, LoadedModel(network.eval(), description, step))
    return network


def _read(path: Path) -> tuple[int, ReferenceWeights]:
    content = read_content(
        path,
        missing="no such file; give a checkpoint of the reference implementation",
        damaged="not a checkpoint, or a damaged one",
    )
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(isinstance(value, Tensor) for value in model.values()):
        raise UserError(f'{path}: no checkpoint of the reference implementation, which holds {{"step", "model"}}')
    tensors = {name.removeprefix("module."): value for name, value in model.items()}
    return int(content.get("step") or 0), ReferenceWeights(tensors)


def _translate(weights: ReferenceWeights, eos: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The network's arguments and its state dict."""
    take = weights.take
    state: dict[str, Tensor] = {}
    embedding = take("text_embedding.weight")
    if not 0 <= eos < len(embedding):
        raise UserError(f"--eos {eos}: the checkpoint's text ids go from 0 to {len(embedding) - 1}")
    width = embedding.shape[1]
    state["text_embedding.weight"] = torch.cat((torch.zeros(1, width), embedding[eos : eos + 1], embedding))
    begin = "mel_bos_embed.weight" if "mel_bos_embed.weight" in weights else "mel_bos_embed"
    state["begin"] = take(begin).reshape(-1)
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
        "vocab_size": len(embedding) + FIRST,
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
