"""Checkpoints of the reference implementation, turned into ours: ``python -m melle import-reference``.

They hold ``{"step": …, "model": state_dict}``, and ``args.json`` beside them the flags of the run. What the weights
show is read from them: sizes, reduction factor, kinds of norm, MLP and positions, post-net or none. Activations come
from the flags; where there are none, from the published run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from melle.audio import MelSpec
from melle.checkpoint import LoadedModel, ModelDescription, read_content, save_model
from melle.errors import UserError
from melle.model import Melle
from melle.text import FIRST
from melle.text.subwords import SubwordTokenizer, open_pretrained

PUBLISHED = {"activation": "relu", "prenet_activation": "relu", "postnet_activation": "tanh", "heads": 16}
FLAGS = {
    "activation": "transformer_activation",
    "prenet_activation": "prenet_activation",
    "postnet_activation": "postnet_activation",
}
MANNERS = ("llama", "qwen")  # of reading texts: with marks around them, or with ids shifted by one
SPARE_IDS = 1024  # by which an embedding may be larger than its tokenizer: padded to a round number


class Source(NamedTuple):
    """A setting of the imported model, and where it was taken from."""

    name: str
    value: Any
    taken_from: str


@dataclass(frozen=True)
class Text:
    """How the reference read texts: with which tokenizer and end mark, and which id has the embedding's first row."""

    tokenizer: SubwordTokenizer
    end: int | None
    first: int


@dataclass(frozen=True)
class Pace:
    """How long texts become, by which unprompted speech is guarded: as in ``ModelDescription``."""

    frames_per_token: float
    length_range: tuple[float, float]
    taken_from: str
    speech_level: float = 0.0


# LibriSpeech in upper case by Llama's tokenizer has 10.8 frames a token, in lower case 19 (measured).
LIBRISPEECH = Pace(10.8, (0.5, 2.0), "LibriSpeech in upper case by Llama's tokenizer")
UNKNOWN = Pace(15.0, (0.1, 6.0), "a guess that does not bind; --calibrate measures it")


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
    checkpoint: str | Path,
    target: str | Path,
    text: Text,
    flags: str | Path | None = None,
    pace: Pace | None = None,
    **told: Any,
) -> tuple[Melle, list[Source]]:
    """Write ``target``, a checkpoint of ours with the weights of ``checkpoint``.

    Args:
        text: see ``open_text``.
        flags: its ``args.json``; None: the one beside ``checkpoint``, where there is one.
        pace: measured lengths of texts; None: those of LibriSpeech where they apply, else guards that do not bind.
        told: ``heads``, ``activation``, ``prenet_activation``, ``postnet_activation``, which win over the flags; None
            counts as not told.

    Returns the network, in eval mode, and what was taken from where. Raises UserError for a file that is no such
    checkpoint, for flags that contradict its weights, and for a tokenizer that does not fit.
    """
    step, weights = _read(Path(checkpoint))
    where, known = _read_flags(Path(checkpoint), flags)
    try:
        arguments, state = _translate(weights, text)
        sources = [Source(name, value, "the weights") for name, value in arguments.items()]
        for name in PUBLISHED:
            if told.get(name) is not None:
                sources.append(Source(name, told[name], "the command"))
            elif FLAGS.get(name) in known:
                sources.append(Source(name, known[FLAGS[name]], str(where)))
            else:
                sources.append(Source(name, PUBLISHED[name], "the published run"))
        arguments |= {source.name: source.value for source in sources}
        arguments["latent_activation"] = arguments["postnet_activation"]  # the reference's perceptron after z has it
        weights.check_all_taken()
        _check_flags(known, arguments, where)
        network = Melle(**arguments)
        network.load_state_dict(state)
    except (ValueError, RuntimeError, LookupError, TypeError) as error:  # what shapes that do not fit raise
        raise UserError(f"{checkpoint} does not fit: {' '.join(str(error).split())}") from None
    tokenizer = text.tokenizer
    if pace is None:
        pace = LIBRISPEECH if tokenizer.bos is not None and tokenizer.upper else UNKNOWN
    marks = "no marks, ids shifted" if tokenizer.bos is None else f"{tokenizer.bos} in front, end mark behind"
    sources += [
        Source("latent_activation", arguments["latent_activation"], "postnet_activation"),
        Source("marks of texts", marks, "the tokenizer"),
        Source("case of texts", "upper" if tokenizer.upper else "as given", "--keep-case, or else LibriSpeech"),
        Source("frames a token", round(pace.frames_per_token, 2), pace.taken_from),
    ]
    description = ModelDescription(
        arguments, MelSpec(), tokenizer, pace.frames_per_token, pace.length_range, pace.speech_level
    )
    save_model(target, LoadedModel(network.eval(), description, step))
    return network, sources


def open_text(name: str, manner: str | None = None, upper: bool = True) -> Text:
    """How the reference read texts with the Hugging Face tokenizer of this name or folder.

    Args:
        manner: "llama" (``<s>`` in front, ``</s>`` behind) or "qwen" (ids shifted by one, no marks); None: by the
            tokenizer's kind.
        upper: put texts into upper case, as LibriSpeech's are, on which the reference trains.

    Raises UserError for a tokenizer that cannot be loaded or lacks a mark.
    """
    opened = open_pretrained(name)
    manner = manner or ("qwen" if type(opened).__name__.startswith("Qwen") else "llama")
    if manner not in MANNERS:
        raise UserError(f"--text {manner}: choose one of {', '.join(MANNERS)}")
    description = opened.backend_tokenizer.to_str()
    if manner == "qwen":
        return Text(SubwordTokenizer(description, eos=False, upper=upper), end=None, first=1)
    for mark, what in (("bos_token", "begin"), ("eos_token", "end")):
        if getattr(opened, mark) is None:
            raise UserError(
                f"the tokenizer {name} names no {what} mark ({mark}), which the reference puts around every text; give "
                "Llama's tokenizer, or --text qwen for a checkpoint that was trained without marks"
            )
    return Text(SubwordTokenizer(description, opened.bos_token, upper=upper), opened.eos_token_id, first=0)


def _read_flags(checkpoint: Path, flags: str | Path | None) -> tuple[Path, dict[str, Any]]:
    """The file of the run's flags, and what it says; nothing where there is none."""
    path = checkpoint.parent / "args.json" if flags is None else Path(flags)
    if flags is None and not path.is_file():
        return path, {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the args.json of the run") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not JSON ({error}); give the args.json of the run, or move it away") from None
    if not isinstance(known, dict):
        raise UserError(f"{path}: holds no flags; give the args.json of the run, or move it away")
    return path, known


def _check_flags(known: dict[str, Any], arguments: dict[str, Any], where: Path) -> None:
    """Raise UserError where the flags say another network than the weights are of."""
    weights = {
        "norm": arguments["norm"],
        "using_rope": arguments["position"] == "rope",
        "using_postnet": arguments["postnet"] == "conv",
        "using_qwen2mlp": arguments["mlp"] == "gated",
    }
    for name, value in weights.items():
        if name in known and known[name] != value:
            raise UserError(
                f"{where} says {name}={known[name]}, the weights say {name}={value}; give the args.json of this "
                "checkpoint by --args"
            )


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


def _translate(weights: ReferenceWeights, text: Text) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The network's arguments and its state dict."""
    take = weights.take
    state: dict[str, Tensor] = {}
    state["text_embedding.weight"] = embedding = _embedding(take("text_embedding.weight"), text)
    width = embedding.shape[1]
    begin = "mel_bos_embed.weight" if "mel_bos_embed.weight" in weights else "mel_bos_embed"
    state["bos"] = take(begin).reshape(-1)
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


def _embedding(rows: Tensor, text: Text) -> Tensor:
    """Our table: padding, <EOS>, then a row for each of the tokenizer's ids."""
    ids = text.tokenizer.vocab_size - FIRST
    if not ids + text.first <= len(rows) <= ids + text.first + SPARE_IDS:
        raise UserError(
            f"the tokenizer has {ids} ids, the checkpoint's text embedding {len(rows)} rows; name the tokenizer that "
            "the checkpoint was trained with"
        )
    nothing = torch.zeros(1, rows.shape[1])
    end = nothing if text.end is None else rows[text.end : text.end + 1]
    return torch.cat((nothing, end, rows[text.first :]))


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
