"""Checkpoints of the reference implementation, turned into ours: ``python -m melle import-reference``.

They hold ``{"step": …, "model": state_dict}``, and ``args.json`` beside them the flags of the run. What the weights
show is read from them: sizes, reduction factor, kinds of norm, MLP and positions, post-net or none. Activations come
from the flags; where there are none, from the published run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from melle.audio import MelSpec
from melle.checkpoint import LoadedModel, ModelDescription, read_content, save_model
from melle.errors import UserError
from melle.model import Melle
from melle.reference_weights import ReferenceWeights, translate
from melle.text import FIRST
from melle.text.subwords import SubwordTokenizer, is_spaced, open_pretrained

PUBLISHED = {"activation": "relu", "prenet_activation": "relu", "postnet_activation": "tanh", "heads": 16}
FLAGS = {
    "activation": "transformer_activation",
    "prenet_activation": "prenet_activation",
    "postnet_activation": "postnet_activation",
}
MANNERS = ("llama", "qwen")  # of reading texts: with marks around them, or with ids shifted by one
SPARE_IDS = 64  # by which, and by a hundredth, an embedding may be larger than its tokenizer: padded to a round number


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
    """How long texts become, which bounds the length of unprompted speech: as in ``ModelDescription``."""

    frames_per_token: float
    length_range: tuple[float, float]
    taken_from: str
    speech_level: float | None = None
    pace_range: tuple[float, float] | None = None


# LibriSpeech in upper case by Llama's tokenizer has 10.8 frames a token, in lower case 19 (measured).
LIBRISPEECH = Pace(10.8, (0.5, 2.0), "LibriSpeech in upper case by Llama's tokenizer")
UNKNOWN = Pace(15.0, (0.1, 6.0), "a guess that does not bind; --calibrate measures it")


def import_reference(
    checkpoint: str | Path,
    target: str | Path,
    text: Text,
    flags: str | Path | None = None,
    pace: Pace | None = None,
    **overrides: Any,
) -> tuple[Melle, list[Source]]:
    """Write ``target``, a checkpoint of ours with the weights of ``checkpoint``.

    Args:
        text: see ``open_text``.
        flags: its ``args.json``; None: the one beside ``checkpoint``, where there is one.
        pace: measured lengths of texts; None: those of LibriSpeech where they apply, else bounds that never apply.
        overrides: ``heads``, ``activation``, ``prenet_activation``, ``postnet_activation``, which win over the flags;
            None counts as not given.

    Returns the network, in eval mode, and what was taken from where. Raises UserError for a file that is no such
    checkpoint, for flags that contradict its weights, and for a tokenizer that does not fit.
    """
    step, weights = _read(Path(checkpoint))
    if Path(target).exists() and Path(target).samefile(checkpoint):
        raise UserError(f"{target} is the reference's checkpoint itself; give another file to write by -o")
    where, known = _read_flags(Path(checkpoint), flags)
    try:
        arguments, state = translate(weights)
        state["text_embedding.weight"] = embedding = _embedding(state["text_embedding.weight"], text)
        arguments["vocab_size"] = len(embedding)
        sources = [Source(name, value, "the weights") for name, value in arguments.items()]
        for name in PUBLISHED:
            if overrides.get(name) is not None:
                sources.append(Source(name, overrides[name], "the command"))
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
        arguments,
        MelSpec(),
        tokenizer,
        pace.frames_per_token,
        pace.length_range,
        pace.speech_level,
        pace_range=pace.pace_range,
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
    opened = open_pretrained(name, "--tokenizer")
    manner = manner or ("qwen" if type(opened).__name__.startswith("Qwen") else "llama")
    if manner not in MANNERS:
        raise UserError(f"--text {manner}: choose one of {', '.join(MANNERS)}")
    description = opened.backend_tokenizer.to_str()
    if manner == "qwen":
        return Text(SubwordTokenizer(description, None, False, upper, is_spaced(description)), None, first=1)
    for mark, what in (("bos_token", "begin"), ("eos_token", "end")):
        if getattr(opened, mark) is None:
            raise UserError(
                f"the tokenizer {name} names no {what} mark ({mark}), which the reference puts around every text; give "
                "Llama's tokenizer, or --text qwen for a checkpoint that was trained without marks"
            )
    tokenizer = SubwordTokenizer(description, opened.bos_token, True, upper, is_spaced(description))
    return Text(tokenizer, opened.eos_token_id, first=0)


def _read_flags(checkpoint: Path, flags: str | Path | None) -> tuple[Path, dict[str, Any]]:
    """The file of the run's flags, and what it says; nothing where there is none."""
    path = checkpoint.parent / "args.json" if flags is None else Path(flags)
    if flags is None and not path.is_file():
        return path, {}
    try:
        known = json.loads(path.read_text(encoding="utf-8-sig"))
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


def _embedding(rows: Tensor, text: Text) -> Tensor:
    """Our table: padding, <EOS>, then a row for each of the tokenizer's ids."""
    ids = text.tokenizer.vocab_size - FIRST
    if not ids + text.first <= len(rows) <= ids + text.first + SPARE_IDS + ids // 100:
        raise UserError(
            f"the tokenizer has {ids} ids, the checkpoint's text embedding {len(rows)} rows; name the tokenizer that "
            "the checkpoint was trained with"
        )
    nothing = torch.zeros(1, rows.shape[1])
    end = nothing if text.end is None else rows[text.end : text.end + 1]
    return torch.cat((nothing, end, rows[text.first :]))
