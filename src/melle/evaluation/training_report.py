"""The report at the end of a training: a few held-out texts, spoken and scored. Checked before it begins."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from melle.checkpoint import load_description
from melle.data.manifest import read_manifest
from melle.evaluation.checkpoints import read_checkpoints
from melle.evaluation.filters import filter_by_tokenizer, filter_cases
from melle.evaluation.protocols import Case, CrossSentence
from melle.evaluation.run import Evaluation, score
from melle.evaluation.scores import Results
from melle.evaluation.setup import build_judges, check_judges
from melle.files import check_writable
from melle.text import Tokenizer


def report_cases(cfg: DictConfig, tokenizer: Tokenizer | None = None) -> list[Case]:
    """What the report of conf/train.yaml speaks: ``report.utterances`` of ``data.test``; none where there is no such.

    Args:
        tokenizer: leaves out cases that it cannot express.

    Raises UserError where manifests cannot be read, or hold nothing that can be spoken.
    """
    if cfg.data.test is None or not cfg.report.utterances:
        return []
    protocol = CrossSentence(prompts=cfg.data.test_prompts)
    utterances = read_manifest(cfg.data.test)
    cases = protocol.cases(utterances, tuple(cfg.data.test_seconds), cfg.report.utterances, seed=0)
    cases = filter_cases(protocol.name, cases)
    return cases if tokenizer is None else filter_by_tokenizer(cases, tokenizer)


def check_report(cfg: DictConfig, tokenizer: Tokenizer | None = None) -> None:
    """Raises UserError, within seconds, for what would fail at the end: call it before training.

    Opens ``data.test`` and its prompts as ``report_cases`` does, looks for settings that judges need, and whether the
    report's folder can be written. Judges whose packages or weights are missing are left out of the report, as ever.
    """
    if report_cases(cfg, tokenizer):
        check_judges(cfg)
        check_writable(Path(cfg.run_dir) / "report", folder=True)


def write_training_report(cfg: DictConfig, checkpoint: Path) -> tuple[Results, list[Case]] | None:
    """Speak and score the report's cases with a checkpoint, into RUN/report; None where no report is wanted."""
    cases = report_cases(cfg, load_description(checkpoint).tokenizer)
    if not cases:
        return None
    utterances = [utterance for case in cases for utterance in (case.target, case.prompt) if utterance]
    checkpoints = read_checkpoints([checkpoint], utterances)
    folder = Path(cfg.run_dir) / "report"
    return score(Evaluation(checkpoints, {CrossSentence.name: cases}, folder, build_judges(cfg))), cases
