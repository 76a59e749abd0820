"""What a checkpoint says about its model, and how to get the model back: no config file, no code execution, no GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from melle.audio import MelSpec
from melle.errors import UserError
from melle.network import Melle
from melle.text import Tokenizer, tokenizer_from_dict

KEY = "melle"  # where the description lies in a Lightning checkpoint
FORMAT = 1


@dataclass(frozen=True)
class ModelDescription:
    """All that synthesis needs besides weights."""

    network: dict  # the keyword arguments of Melle
    mel: MelSpec
    tokenizer: Tokenizer
    frames_per_token: float  # mean of the training data

    def as_dict(self) -> dict:
        """Plain Python values, safe to load with ``weights_only=True``."""
        return {
            "format": FORMAT,
            "network": self.network,
            "mel": self.mel.as_dict(),
            "tokenizer": self.tokenizer.as_dict(),
            "frames_per_token": self.frames_per_token,
        }

    @classmethod
    def from_dict(cls, values: dict) -> ModelDescription:
        return cls(
            network=values["network"],
            mel=MelSpec(**values["mel"]),
            tokenizer=tokenizer_from_dict(values["tokenizer"]),
            frames_per_token=values["frames_per_token"],
        )


@dataclass(frozen=True)
class LoadedModel:
    network: Melle  # in eval mode, on the CPU
    description: ModelDescription
    step: int  # optimiser steps trained


def load_model(path: str | Path) -> LoadedModel:
    """Read a checkpoint that training wrote (with EMA, the averaged weights). Raises UserError for anything else."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train one with `python train.py` or give another path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # bytes of another kind make the unpickler raise whatever they happen to spell
        raise UserError(f"{path}: not a checkpoint, or a damaged one; give a .ckpt file that train.py wrote") from None
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict) or "state_dict" not in content:
        raise UserError(f"{path}: a checkpoint of something else; give a .ckpt file that this project's train.py wrote")
    if content[KEY].get("format") != FORMAT:
        raise UserError(f"{path}: written by another version (format {content[KEY].get('format')}); train it again")
    description = ModelDescription.from_dict(content[KEY])
    network = Melle(**description.network)
    prefix = "network."
    weights = {name[len(prefix) :]: w for name, w in content["state_dict"].items() if name.startswith(prefix)}
    network.load_state_dict(weights)
    return LoadedModel(network.eval(), description, int(content.get("global_step", 0)))
