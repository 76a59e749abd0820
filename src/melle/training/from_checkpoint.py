"""What a run takes over from a checkpoint besides its weights: settings of the network and of mel, and the tokenizer.

A configuration leaves them to the checkpoint by null, as ``model=from_checkpoint``, ``tokenizer=from_checkpoint`` and
``experiment=finetune`` do; what it says otherwise wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from melle.checkpoint import ModelDescription
from melle.errors import UserError
from melle.model import Melle
from melle.pretrained import read_description
from melle.text import Tokenizer


def fill_from_checkpoint(cfg: DictConfig, resumed: Path | None = None) -> DictConfig:
    """The configuration copied, with the checkpoint's values where ``model``, ``data.mel`` and ``tokenizer`` say null.

    Args:
        resumed: the checkpoint that the run goes on from, which holds what the run began with, so that it goes on where
            that one is no more; else ``cfg.init_from`` is asked. Raises UserError where there is neither.
    """
    cfg = deepcopy(cfg)
    source = resumed or cfg.init_from
    left = {key: _nulls(cfg, key) for key in ("model", "data.mel")}
    if source and cfg.tokenizer.get("checkpoint", source) is None:
        cfg.tokenizer.checkpoint = str(source)
    if not any(left.values()):
        return cfg
    if not source:
        first, *others = (f"{key}.{name}" for key, names in left.items() for name in names)
        more = f" and {len(others)} more settings are" if others else " is"
        raise UserError(f"{first}{more} left to a checkpoint (null); name it by init_from=PATH")
    description, _ = read_description(source)
    for key, values in (("model", _network(description)), ("data.mel", description.mel.as_dict())):
        for name in left[key]:
            if name in values:
                OmegaConf.update(cfg, f"{key}.{name}", values[name])
    return cfg


def tokenizer_of(texts: Iterable[str], checkpoint: str | None) -> Tokenizer:
    """The tokenizer of a checkpoint; ``texts`` is not used, for there is nothing to learn."""
    if checkpoint is None:
        raise UserError(
            "tokenizer=from_checkpoint: of which? Name it by init_from=PATH, or choose tokenizer=characters"
        )
    return read_description(checkpoint)[0].tokenizer


def _nulls(cfg: DictConfig, key: str) -> list[str]:
    values = OmegaConf.select(cfg, key)
    plain = {} if values is None else OmegaConf.to_container(values, resolve=False)
    return [name for name, value in plain.items() if value is None]


def _network(description: ModelDescription) -> dict[str, Any]:
    """The checkpoint's network in the words of ``conf/model``; what it does not say has the network's defaults."""
    defaults = {name: parameter.default for name, parameter in signature(Melle).parameters.items()}
    return {**defaults, **description.network, "normalise_mel": "mel_mean" in description.network}
