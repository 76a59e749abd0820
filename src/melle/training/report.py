"""What a run ends with: held-out texts, spoken and scored, and what to type next."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from melle.audio import MelSpec
from melle.checkpoint import load_description
from melle.configs.build import build
from melle.console import shell_command
from melle.data.manifest import read_manifest
from melle.devices import is_out_of_memory
from melle.entry_points import as_installed
from melle.errors import OutOfMemory, UserError, reason
from melle.evaluation.protocols import Case, cross_sentence
from melle.text import Tokenizer
from melle.vocoders import make_vocoder
from melle.vocoders.vocos.vocoder import load_vocoder

PLACEHOLDER = re.compile(r"\{(text|prompt|prompt_text|data)\}")  # in report.next; other braces stand for themselves

logger = logging.getLogger(__name__)


def choose_cases(cfg: DictConfig) -> list[Case]:
    """The utterances of ``data.test`` that are spoken at the end; none where none are wanted.

    Called at the start of a run, too, so that what is wrong with them is said before days of training.
    """
    if not _is_wanted(cfg):
        return []
    from melle.evaluation.filters import filter_cases

    seconds, prompts = tuple(cfg.data.test_seconds), cfg.data.test_prompts
    try:
        cases = cross_sentence(read_manifest(cfg.data.test), seconds, cfg.report.utterances, 0, prompts=prompts)
        return filter_cases("cross_sentence", cases)
    except UserError as error:
        raise UserError(f"data.test: {error}; report.utterances=0 trains without a report") from None


def check_judges(cfg: DictConfig) -> list[str]:
    """Make the judges of the report once and let them go. Raises UserError where one cannot be made of its settings.

    One whose package is not installed, or whose weights cannot be had without a network, is a warning already now.
    Returns the keys of these, for ``write_report``.
    """
    if not _is_wanted(cfg):
        return []
    from melle.evaluation.setup import build_judges, judge_keys

    return sorted(set(judge_keys(cfg)) - build_judges(cfg).keys())


def check_report(cases: Sequence[Case], tokenizer: Tokenizer) -> None:
    """Raise UserError where the tokenizer of the training data can express none of the report's texts."""
    from melle.evaluation.filters import filter_by_tokenizer

    with _errors_of_the_report():
        filter_by_tokenizer(cases, tokenizer)


def check_vocoder(cfg: DictConfig) -> None:
    """Raise UserError where the vocoder that ``init_from`` was exported with, which speaks the report, is damaged."""
    if _is_wanted(cfg):
        with _errors_of_the_report():
            own_vocoder(cfg, build(cfg.data.mel))


def own_vocoder(cfg: DictConfig, mel: MelSpec) -> dict[str, Any] | None:
    """Arguments of ``make_vocoder`` for the one that the model of ``init_from`` was exported with; None: there is none.

    One that reads other mel frames is none. Raises UserError where it is damaged.
    """
    from melle.evaluation.checkpoints import exported_vocoder

    own = exported_vocoder(cfg.init_from)
    if own is None:
        return None
    if replace(load_vocoder(own["model"])[0].mel, floor=mel.floor) != mel:
        logger.warning("%s has a vocoder of other mel frames: the report speaks through another", cfg.init_from)
        return None
    make_vocoder(spec=mel, **own)
    return own


def write_report(cfg: DictConfig, missing: Sequence[str] = ()) -> None:
    """Let the trained model speak and be scored, and print what to type next. What fails here is a warning.

    ``missing``: judges that ``check_judges`` could not make, which are not tried, nor warned of, again.
    """
    case = None
    try:
        case = _score(cfg, missing)
    except Exception as error:  # the run is good whatever comes of this
        said = str(error) if isinstance(error, UserError) else reason(error)
        if isinstance(error, OutOfMemory) or is_out_of_memory(error):
            said = f"out of memory while speaking {cfg.report.utterances} utterances; lower report.utterances="
        logger.warning("no report: %s. The run itself is complete; evaluate.py scores it", said)
    checkpoint = Path(cfg.run_dir) / "checkpoints" / "last.ckpt"
    print(*next_commands(cfg, case) if checkpoint.exists() else [], sep="\n")


def next_commands(cfg: DictConfig, case: Case | None) -> list[str]:
    """``report.next``, a line on each and its command; those that lack a value are left out.

    {text}, {prompt} and {prompt_text} stand for an utterance of the report, {data} for the option of the group data.
    """
    values = {"data": HydraConfig.get().runtime.choices.data if HydraConfig.initialized() else "jsonl"}
    if case is not None and case.prompt is not None:
        values |= {"text": case.target.transcription, "prompt": case.prompt.audio_path}
        values["prompt_text"] = case.prompt.transcription
    lines = []
    for purpose, parts in OmegaConf.to_container(cfg.report.next, resolve=True).items():
        try:
            filled = [PLACEHOLDER.sub(lambda found: str(values[found[1]]), str(part)) for part in parts or []]
        except KeyError:
            continue
        if filled and not any(part.endswith("=None") for part in filled):
            lines += [f"{purpose}:", f"  {as_installed(shell_command(*filled))}"]
    return lines


def _is_wanted(cfg: DictConfig) -> bool:
    return cfg.task == "speech" and cfg.data.test is not None and bool(cfg.report.utterances)


@contextmanager
def _errors_of_the_report() -> Iterator[None]:
    """Let a UserError say what it is about, and how to train all the same."""
    try:
        yield
    except UserError as error:
        raise UserError(f"the report at the end: {error}; report.utterances=0 trains without one") from None


def _score(cfg: DictConfig, missing: Sequence[str]) -> Case | None:
    """Print the tables; returns one of the utterances that were spoken."""
    cases = choose_cases(cfg)
    checkpoint = Path(cfg.run_dir) / "checkpoints" / "last.ckpt"
    if not cases or not checkpoint.is_file():
        return None
    from melle.evaluation.checkpoints import read_checkpoints
    from melle.evaluation.filters import filter_by_tokenizer
    from melle.evaluation.run import Evaluation, score
    from melle.evaluation.setup import build_judges
    from melle.evaluation.tables import format_tables

    description = load_description(checkpoint)
    cases = filter_by_tokenizer(cases, description.tokenizer)
    utterances = [utterance for case in cases for utterance in (case.target, case.prompt)]
    folder = Path(cfg.run_dir) / "report"
    checkpoints = read_checkpoints([checkpoint], utterances)
    try:
        own = own_vocoder(cfg, description.mel)
    except UserError as error:  # a run that goes on may outlive what it began with
        logger.warning("the report speaks through another vocoder than its model's own: %s", error)
        own = None
    vocoder = {"vocoders": {"own": own}} if own else {}
    judges = build_judges(cfg, without=missing)
    results = score(Evaluation(checkpoints, {"cross_sentence": cases}, folder, judges, **vocoder))
    print(f"\n{format_tables(results)}\n\nHeld-out texts, to listen to: {folder / 'report.html'}")
    return cases[0]
