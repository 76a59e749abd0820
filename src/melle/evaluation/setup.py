"""From Hydra's configuration to an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from melle.config import build
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.evaluation.checkpoints import find_checkpoints, read_checkpoints
from melle.evaluation.ears import Judges
from melle.evaluation.protocols import Case
from melle.evaluation.run import Evaluation, or_left_out
from melle.synthesis.guards import DecodingOptions


def evaluation_from(cfg: DictConfig, tell: bool = True) -> Evaluation:
    """What conf/evaluate.yaml describes. ``tell``: which metrics are left out."""
    protocols = protocol_cases(cfg)
    utterances = [u for cases in protocols.values() for case in cases for u in (case.target, case.prompt) if u]
    where = OmegaConf.to_container(cfg.checkpoint) if OmegaConf.is_list(cfg.checkpoint) else cfg.checkpoint
    return Evaluation(
        checkpoints=read_checkpoints(find_checkpoints(where), utterances),
        protocols=protocols,
        output=Path(cfg.output),
        judges=build_judges(cfg, tell),
        vocoder=OmegaConf.to_container(cfg.vocoder),
        options=DecodingOptions(**cfg.decoding),
        samples=cfg.samples,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        device=cfg.device,
        weights=cfg.weights,
        keep_audio=cfg.keep_audio,
    )


def protocol_cases(cfg: DictConfig) -> dict[str, list[Case]]:
    """What is spoken under each protocol of ``cfg.protocol``."""
    if cfg.data.test is None:
        raise UserError("data.test=null: give the manifest to score by data.test=FILE")
    if not cfg.protocol:
        raise UserError("protocol= names none; give cross_sentence, continuation, plain, or several")
    utterances = read_manifest(cfg.data.test)
    least, most = cfg.data.test_seconds
    protocols = [build(node) for node in cfg.protocol.values()]
    return {one.name: one.cases(utterances, (least, most), cfg.utterances, cfg.seed) for one in protocols}


def build_judges(cfg: DictConfig, tell: bool = True) -> Judges:
    """Those of ``cfg.asr``, ``cfg.speaker`` and ``cfg.quality`` that can be had; of the others a line says why not.

    Raises UserError where one lacks what only the user can give.
    """

    for group in ("asr", "speaker", "quality"):
        for key in sorted(OmegaConf.missing_keys(cfg.get(group) or OmegaConf.create())):
            raise UserError(f"{key} is not given: add {key}=… to the command")

    def make(group: str, what: str) -> dict[str, Any]:
        found = {
            name: or_left_out(f"{what} ({name})", lambda node=node: build(node), tell)
            for name, node in (cfg.get(group) or {}).items()
        }
        return {name: judge for name, judge in found.items() if judge is not None}

    return Judges(
        asr=make("asr", "Word error rate"),
        speaker=make("speaker", "Speaker similarity"),
        quality=make("quality", "Naturalness"),
    )
