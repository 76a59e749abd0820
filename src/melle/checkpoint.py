"""What a checkpoint says about its model, and how to get the model back: no config file, no code execution, no GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch

from melle.audio import MelSpec
from melle.errors import UserError
from melle.files import written_whole
from melle.model import Melle
from melle.text import Tokenizer, tokenizer_from_dict

DESCRIPTION_KEY = "melle"  # where the description lies in a Lightning checkpoint
FORMAT = 1
# What a model may say of how it speaks best.
DECODING = (
    "temperature",
    "attention_window",
    "guidance_scale",
    "prompt_guidance",
    "prompt_correction",
    "pace",
    "prompt_pause",
    "prenet_dropout",
)
WEIGHTS_PREFIX = "network."  # of the network's weights: the LightningModule's attribute

MISSING = "no such checkpoint; train one with `python train.py` or give another path"
DAMAGED = "not a checkpoint, or a damaged one; give a .ckpt file that train.py wrote"
FOREIGN = "a checkpoint of something else; give a .ckpt file that this project's train.py wrote"


@dataclass(frozen=True)
class ModelDescription:
    """All that synthesis needs besides weights."""

    network: dict  # the keyword arguments of Melle
    mel: MelSpec
    tokenizer: Tokenizer
    # Of the training data; only synthesis goes by them.
    frames_per_token: float  # mean, of speech without the silence before and after it
    length_range: tuple[float, float] = (0.7, 1.5)  # of 98 in 100 utterances: frames, as multiples of tokens × the mean
    # log10: the loudest band of a loud frame (``audio.speech_level``), median; None: not known
    speech_level: float | None = None
    most_tokens: int | None = None  # of the longest text; None: not known
    # As length_range, without the silence before and after speech. None: written when frames_per_token counted it, too.
    pace_range: tuple[float, float] | None = None
    # How it speaks best, where nobody says otherwise: what ``DECODING`` names of ``DecodingOptions``.
    decoding: dict[str, float] = field(default_factory=dict)

    @property
    def paces(self) -> tuple[float, float]:
        """Between which multiples of ``frames_per_token`` the pace of a trimmed recording is usual."""
        return self.pace_range or self.length_range

    def unsupported(self) -> dict[str, str]:
        """Names of the decoding options that this model was not trained for, each with how it was trained."""
        trained = {
            "attention_window": (self.network.get("guided_layers"), "without guided attention"),
            "guidance_scale": (self.network.get("text_dropout"), "without text_dropout"),
            "pace": (self.network.get("position") == "paced", "without paced positions"),
        }
        return {name: how for name, (has, how) in trained.items() if not has}

    def as_dict(self) -> dict:
        """Plain Python values, safe to load with ``weights_only=True``."""
        return {
            "format": FORMAT,
            "network": self.network,
            "mel": self.mel.as_dict(),
            "tokenizer": self.tokenizer.as_dict(),
            "frames_per_token": self.frames_per_token,
            "length_range": list(self.length_range),
            "speech_level": self.speech_level,
            "most_tokens": self.most_tokens,
            "pace_range": None if self.pace_range is None else list(self.pace_range),
            "decoding": self.decoding,
        }

    @classmethod
    def from_dict(cls, values: dict) -> ModelDescription:
        known = {name: values[name] for name in ("speech_level", "most_tokens") if name in values}
        if known.get("speech_level") == 0.0:  # what was written where nobody had measured it
            known["speech_level"] = None
        known |= {name: tuple(values[name]) for name in ("length_range", "pace_range") if values.get(name)}
        decoding = values.get("decoding") or {}
        known["decoding"] = {name: float(decoding[name]) for name in DECODING if name in decoding}
        return cls(
            network=current_arguments(values["network"]),
            mel=MelSpec(**values["mel"]),
            tokenizer=tokenizer_from_dict(values["tokenizer"]),
            frames_per_token=values["frames_per_token"],
            **known,
        )


def current_arguments(network: dict) -> dict:
    """Arguments of ``Melle`` as an earlier version wrote them, in the words of this one."""
    # Of which training alone knew, or did not know yet.
    network = {"attention_dropout": 0.0, "mlp_dropout": 0.0, "text_dropout": 0.0, **network}
    if network.get("text_attention") == "both_ways":
        network["text_attention"] = "bidirectional"
    return network


@dataclass(frozen=True)
class LoadedModel:
    network: Melle  # in eval mode, on the CPU
    description: ModelDescription
    step: int  # optimiser steps trained
    vocoder: Path | None = None  # the folder of its vocoder, where it was exported with one


def read_content(path: str | Path, missing: str, damaged: str) -> Any:
    """What ``torch.save`` wrote, on the CPU. The texts complete the UserError for a file not there, or of no use."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: {missing}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception:  # bytes of another kind make the unpickler raise whatever they happen to spell
        raise UserError(f"{path}: {damaged}") from None


def save_model(path: str | Path, model: LoadedModel) -> None:
    """Write a checkpoint that ``load_model`` reads, whole or not at all; training cannot be resumed from it."""
    content = {
        "state_dict": {WEIGHTS_PREFIX + name: value for name, value in model.network.state_dict().items()},
        "global_step": model.step,
        DESCRIPTION_KEY: model.description.as_dict(),
    }
    with written_whole(path) as partial:
        torch.save(content, partial)


def load_description(path: str | Path) -> ModelDescription:
    """What a checkpoint says about its model, without its weights. Raises UserError for anything else."""
    return ModelDescription.from_dict(_read(path)[DESCRIPTION_KEY])


def read_hyperparameters(path: str | Path) -> dict[str, Any]:
    """The resolved configuration of a checkpoint's run; empty where it was written without."""
    return dict(_read(path).get("hyper_parameters", {}))


def load_step(path: str | Path) -> int:
    """After how many optimiser steps training wrote a checkpoint, of whatever it trains. UserError for another file."""
    content = read_content(path, MISSING, DAMAGED)
    if not isinstance(content, dict) or not {"state_dict", "global_step"} <= content.keys():
        raise UserError(f"{path}: {FOREIGN}")
    return int(content["global_step"])


def load_model(path: str | Path, average: bool = True) -> LoadedModel:
    """Read a checkpoint that training wrote. Raises UserError for anything else.

    ``average``: of a run with EMA the averaged weights, else those that were being trained.
    """
    content = _read(path)
    description = ModelDescription.from_dict(content[DESCRIPTION_KEY])
    network = Melle(**description.network)
    saved = content["state_dict"] if average else content.get("current_model_state", content["state_dict"])
    network.load_state_dict(
        {name[len(WEIGHTS_PREFIX) :]: w for name, w in saved.items() if name.startswith(WEIGHTS_PREFIX)}
    )
    return LoadedModel(network.eval(), description, int(content.get("global_step", 0)))


def _read(path: str | Path) -> dict[str, Any]:
    content = read_content(path, MISSING, DAMAGED)
    if (
        not isinstance(content, dict)
        or not isinstance(content.get(DESCRIPTION_KEY), dict)
        or "state_dict" not in content
    ):
        raise UserError(f"{path}: {FOREIGN}")
    if content[DESCRIPTION_KEY].get("format") != FORMAT:
        raise UserError(
            f"{path}: written by another version (format {content[DESCRIPTION_KEY].get('format')}); train it again"
        )
    return content
