"""Word error rate over a corpus, and the normalisation that makes texts comparable."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melle.errors import UserError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def normalise(text: str) -> str:
    """Lower case, no punctuation, one space between words, every digit spelled by itself ("427": "four two seven").

    Nothing else is mended: "for" stays wrong where "four" was said.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"\d", lambda digit: f" {DIGITS[int(digit.group())]} ", text)
    text = re.sub(r"['’]", "", text)  # "don't" is one word
    return " ".join(re.sub(r"[\W_]", " ", text).split())


@dataclass(frozen=True)
class ErrorCounts:
    """Words of a reference, and the edits that turn it into the hypothesis."""

    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class WordErrorRate:
    """Errors per word over a corpus (0.1 is 10 %), with its 95 % interval and what it is made of."""

    rate: float
    low: float
    high: float
    counts: ErrorCounts


def count_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """The edits between two normalised texts, by jiwer."""
    try:
        import jiwer
    except ImportError:
        raise UserError('word error rates need jiwer: python -m pip install -e ".[eval]"') from None
    if not reference:  # which jiwer refuses
        return ErrorCounts(0, 0, 0, len(hypothesis.split()))
    found = jiwer.process_words(reference, hypothesis)
    return ErrorCounts(len(reference.split()), found.substitutions, found.deletions, found.insertions)


def corpus_rate(counts: Sequence[ErrorCounts], seed: int = 0, resamples: int = 1000) -> WordErrorRate:
    """All errors over all words. The interval is a bootstrap over utterances: 2.5th to 97.5th percentile."""
    errors = np.array([count.errors for count in counts])
    words = np.array([count.words for count in counts])
    drawn = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    rates = errors[drawn].sum(1) / np.maximum(words[drawn].sum(1), 1)
    low, high = np.quantile(rates, [0.025, 0.975])
    total = ErrorCounts(
        words=int(words.sum()),
        substitutions=sum(count.substitutions for count in counts),
        deletions=sum(count.deletions for count in counts),
        insertions=sum(count.insertions for count in counts),
    )
    return WordErrorRate(total.errors / max(total.words, 1), float(low), float(high), total)
