"""Word and character error rates: the edits between two texts, and their rate over a corpus."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from melle.evaluation.judges.loading import packages_of


@dataclass(frozen=True)
class ErrorCounts:
    """Words, or characters, of a reference, and the edits that turn it into the hypothesis."""

    length: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(*map(operator.add, astuple(self), astuple(other)))

    def __str__(self) -> str:
        """Substitutions, deletions and insertions of how many words, or characters."""
        return f"{self.substitutions}+{self.deletions}+{self.insertions}/{self.length}"

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per word, or character; an empty reference counts as one."""
        return self.errors / max(self.length, 1)


@dataclass(frozen=True)
class ErrorRate:
    """Errors per word, or character, over a corpus (0.1 is 10 %), its 95 % interval, and what it is made of."""

    rate: float
    low: float
    high: float
    counts: ErrorCounts


def import_jiwer() -> Any:
    """The package that counts; recognisers ask for it before they begin. Raises UserError where it is missing."""
    with packages_of("eval", "the word error rate"):
        import jiwer
    return jiwer


def count_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """The edits of words between two normalised texts, by jiwer."""
    return _count(import_jiwer().process_words, reference, hypothesis, str.split)


def count_characters(reference: str, hypothesis: str) -> ErrorCounts:
    """The edits of characters between two normalised texts, by jiwer; the spaces between words count."""
    return _count(import_jiwer().process_characters, reference, hypothesis, list)


def _count(align: Callable[..., Any], reference: str, hypothesis: str, units: Callable[[str], list]) -> ErrorCounts:
    if not reference:  # which not every release of jiwer takes
        return ErrorCounts(insertions=len(units(hypothesis)))
    found = align(reference, hypothesis)
    return ErrorCounts(len(units(reference)), found.substitutions, found.deletions, found.insertions)


def errors_marked(reference: str, hypothesis: str) -> list[tuple[str, str, str]]:
    """The alignment of two normalised texts by jiwer, for showing where the errors are.

    Runs of words in order, each as (kind, words of the reference, words of the hypothesis); kind is "equal",
    "substitute" (word by word), "delete" or "insert". An insertion has no words of the reference, a deletion none of
    the hypothesis.
    """
    jiwer = import_jiwer()
    if not reference:
        return [("insert", "", hypothesis)] if hypothesis else []
    runs: list[tuple[str, str, str]] = []
    for run in jiwer.process_words(reference, hypothesis).alignments[0]:
        words = reference.split()[run.ref_start_idx : run.ref_end_idx]
        found = hypothesis.split()[run.hyp_start_idx : run.hyp_end_idx]
        if run.type == "substitute":
            runs += [(run.type, *pair) for pair in zip(words, found)]
        else:
            runs.append((run.type, " ".join(words), " ".join(found)))
    return runs


def corpus_rate(counts: Sequence[ErrorCounts], seed: int = 0, resamples: int = 1000) -> ErrorRate:
    """All errors over all words, or characters.

    The interval is a bootstrap over utterances: 2.5th to 97.5th percentile.
    """
    errors = np.array([count.errors for count in counts])
    lengths = np.array([count.length for count in counts])
    drawn = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    rates = errors[drawn].sum(1) / np.maximum(lengths[drawn].sum(1), 1)
    low, high = np.quantile(rates, [0.025, 0.975])
    total = sum(counts, ErrorCounts())
    return ErrorRate(total.rate, float(low), float(high), total)
