"""From Hydra's configuration to an evaluation."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from melle.configs.build import build
from melle.data.manifest import read_manifest
from melle.errors import Unavailable, UserError
from melle.evaluation.checkpoints import find_checkpoints, read_checkpoints
from melle.evaluation.filters import filter_cases
from melle.evaluation.folder import run_folder
from melle.evaluation.judges.base import Judge
from melle.evaluation.protocols import Case
from melle.evaluation.run import Evaluation
from melle.hub import is_hub_name
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
GROUPS = ("asr", "speaker", "quality")  # of judges


def evaluation_from(cfg: DictConfig) -> Evaluation:
    """What conf/evaluate.yaml describes. A warning says which judges are left out."""
    where = OmegaConf.to_container(cfg.checkpoint) if OmegaConf.is_list(cfg.checkpoint) else cfg.checkpoint
    found = find_checkpoints(where)  # before the cases, whose manifest a run of other settings has elsewhere
    check_test(cfg, found)
    protocols = protocol_cases(cfg)
    utterances = [u for cases in protocols.values() for case in cases for u in (case.target, case.prompt) if u]
    return Evaluation(
        checkpoints=read_checkpoints(found, utterances),
        protocols=protocols,
        output=Path(cfg.output),
        judges=build_judges(cfg),
        vocoders=chosen_vocoders(cfg),
        options=DecodingOptions(**cfg.decoding),
        **{name: cfg[name] for name in SAME},
    )


def check_test(cfg: DictConfig, checkpoints: Sequence[Path]) -> None:
    """Raise UserError where ``data.test`` is of a corpus that was not made; it names what the checkpoint's run used."""
    test = cfg.data.test
    if test is None or Path(test).exists() or OmegaConf.select(cfg, "data.corpus") is None:
        return
    records = [run_folder(path) / "config.yaml" for path in checkpoints if not is_hub_name(path)]
    own = next((found for found in map(_test_of_run, records) if found), None)
    hint = f"data.test={own}, as its config.yaml says" if own else "the data.test that its config.yaml names"
    raise UserError(
        f"data.test={test}: no such manifest; no corpus was made with these settings of data.corpus, which "
        f"`python train.py` does; a run with others is scored by {hint}"
    )


def _test_of_run(record: Path) -> str | None:
    """The ``data.test`` of a run's config.yaml that is there."""
    try:
        test = OmegaConf.select(OmegaConf.load(record), "data.test")
    except Exception:  # no such file, or one that is no configuration: there is nothing to suggest
        return None
    return test if isinstance(test, str) and Path(test).is_file() else None


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


def build_judges(cfg: DictConfig, warn: bool = True, without: Collection[str] = ()) -> dict[str, Judge]:
    """Those of ``cfg.asr``, ``cfg.speaker`` and ``cfg.quality`` whose packages and weights are there, by their keys.

    ``warn``: whether a warning says of each other one why it is left out. ``without``: keys that are not tried, for
    they are known to be missing. Raises UserError for settings that no judge can be made of, such as a mistyped model.
    """
    groups = {group: cfg.get(group) or OmegaConf.create() for group in GROUPS}
    for nodes in groups.values():
        for key in sorted(OmegaConf.missing_keys(nodes)):
            raise UserError(f"{key} is not given: add {key}=… to the command")
    judges = {}
    for key, node in ((f"{group}.{name}", node) for group, nodes in groups.items() for name, node in nodes.items()):
        if key in without:
            continue
        try:
            judges[key] = build(node)
        except Unavailable as error:
            if warn:
                group = key.partition(".")[0]
                log.warning("%s is left out: %s (%s=none asks for none)", key, named(error, key, node), group)
        except UserError as error:
            raise UserError(named(error, key, node)) from None
    return judges


def judge_keys(cfg: DictConfig) -> list[str]:
    """Keys of all judges that ``cfg`` names, such as "asr.whisper"."""
    return [f"{group}.{name}" for group in GROUPS for name in cfg.get(group) or ()]


def named(error: UserError, key: str, node: DictConfig) -> str:
    """A judge's message in terms of the command: a judge says "model=…", the command "asr.whisper.model=…"."""
    option = str(error).partition("=")[0]
    return str(error).replace(f"{option}=", f"{key}.{option}=") if option in node else str(error)
