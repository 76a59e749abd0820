"""From Hydra's configuration to an evaluation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from melle.config import build
from melle.data.manifest import read_manifest
from melle.errors import Unavailable, UserError
from melle.evaluation.checkpoints import find_checkpoints, read_checkpoints
from melle.evaluation.filters import filter_cases
from melle.evaluation.judges.base import Judge
from melle.evaluation.protocols import Case
from melle.evaluation.run import Evaluation
from melle.synthesis.options import DecodingOptions

log = logging.getLogger(__name__)
SAME = (
    "own_vocoder",
    "samples",
    "batch_size",
    "seed",
    "device",
    "weights",
    "keep_audio",
)  # keys as they are
METRICS_OF = {"asr": "Word error rate", "speaker": "Speaker similarity", "quality": "Naturalness"}  # by kind of judge


def evaluation_from(cfg: DictConfig) -> Evaluation:
    """What conf/evaluate.yaml describes. A warning says which metrics are left out."""
    protocols = protocol_cases(cfg)
    utterances = [u for cases in protocols.values() for case in cases for u in (case.target, case.prompt) if u]
    where = OmegaConf.to_container(cfg.checkpoint) if OmegaConf.is_list(cfg.checkpoint) else cfg.checkpoint
    return Evaluation(
        checkpoints=read_checkpoints(find_checkpoints(where), utterances),
        protocols=protocols,
        output=Path(cfg.output),
        judges=build_judges(cfg),
        vocoders=chosen_vocoders(cfg),
        options=DecodingOptions(**cfg.decoding),
        **{name: cfg[name] for name in SAME},
    )


def chosen_vocoders(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """Those of ``cfg.vocoder`` by name, the first one first."""
    chosen = OmegaConf.to_container(cfg.get("vocoder") or OmegaConf.create())
    if not chosen:
        raise UserError("vocoder= names none; give griffin_lim, hifigan, vocos, or several")
    for name, arguments in chosen.items():
        if not isinstance(arguments, dict) or not {"name", "_target_"} & arguments.keys():
            raise UserError(f"vocoder.{name}={arguments}: give a vocoder's settings, such as vocoder.vocos.model=FILE")
    return chosen


def protocol_cases(cfg: DictConfig) -> dict[str, list[Case]]:
    """What is spoken under each protocol of ``cfg.protocol``. Warnings say what is left out, and why."""
    if cfg.data.test is None:
        raise UserError("data.test=null: give the manifest to score by data.test=FILE")
    if not cfg.get("protocol"):
        raise UserError("protocol= names none; give cross_sentence, continuation, plain, or several")
    utterances = read_manifest(cfg.data.test)
    least, most = cfg.data.test_seconds
    protocols = {name: build(node) for name, node in cfg.protocol.items()}
    chosen = {name: choose(utterances, (least, most), cfg.utterances, cfg.seed) for name, choose in protocols.items()}
    return {name: filter_cases(name, cases) for name, cases in chosen.items()}


def build_judges(cfg: DictConfig, warn: bool = True) -> dict[str, Judge]:
    """Those of ``cfg.asr``, ``cfg.speaker`` and ``cfg.quality`` whose packages and weights are there, by their keys.

    ``warn``: whether a warning says of each other one why its metric is left out. Raises UserError for settings that no
    judge can be made of, such as a mistyped model.
    """
    groups = {group: cfg.get(group) or OmegaConf.create() for group in METRICS_OF}
    for nodes in groups.values():
        for key in sorted(OmegaConf.missing_keys(nodes)):
            raise UserError(f"{key} is not given: add {key}=… to the command")
    judges = {}
    for key, node in ((f"{group}.{name}", node) for group, nodes in groups.items() for name, node in nodes.items()):
        try:
            judges[key] = build(node)
        except Unavailable as error:
            if warn:
                group, _, name = key.partition(".")
                log.warning("%s (%s) is left out: %s", METRICS_OF[group], name, error)
        except UserError as error:
            option = str(error).partition("=")[0]  # a judge says "model=…", the command "asr.whisper.model=…"
            said = str(error).replace(f"{option}=", f"{key}.{option}=") if option in node else str(error)
            raise UserError(said) from None
    return judges
