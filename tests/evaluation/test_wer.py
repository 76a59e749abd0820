from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.evaluation.wer import ErrorCounts, corpus_rate, count_errors, normalise

words = st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=8)


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        previous, row = row, [i]
        for j, heard in enumerate(hypothesis, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != heard)))
    return row[-1]


@settings(deadline=None)
@given(words, words)
def test_counts_are_a_shortest_edit(reference, hypothesis):
    counts = count_errors(" ".join(reference), " ".join(hypothesis))
    assert counts.words == len(reference)
    assert counts.errors == edit_distance(reference, hypothesis)
    assert counts.insertions - counts.deletions == len(hypothesis) - len(reference)


def test_each_kind_of_error():
    assert astuple(count_errors("one two three", "one five three")) == (3, 1, 0, 0)
    assert astuple(count_errors("one two three", "one three")) == (3, 0, 1, 0)
    assert astuple(count_errors("one two three", "one two two three")) == (3, 0, 0, 1)
    assert astuple(count_errors("one two three", "")) == (3, 0, 3, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("427", "four two seven"),
        ("4, 2-7.", "four two seven"),
        ("Nine one, ZERO!", "nine one zero"),
        ("for two ate", "for two ate"),  # homophones are errors and stay so
        ("don't stop_now", "dont stop now"),
        ("  “été”\n10 ", "été one zero"),
        ("...", ""),
    ],
)
def test_normalisation(text, expected):
    assert normalise(text) == expected
    assert normalise(expected) == expected


def test_corpus_rate_weighs_words_and_not_utterances():
    rate = corpus_rate([ErrorCounts(9, 0, 0, 0), ErrorCounts(1, 1, 0, 1)])
    assert rate.rate == pytest.approx(0.2)
    assert astuple(rate.counts) == (10, 1, 0, 1)


def test_the_interval_is_reproducible_and_narrows():
    few = [ErrorCounts(4, errors, 0, 0) for errors in (0, 1, 2, 0, 0, 1)]
    assert corpus_rate(few, seed=3) == corpus_rate(few, seed=3)
    rate, many = corpus_rate(few), corpus_rate(few * 20)
    assert rate.low < rate.rate < rate.high
    assert many.high - many.low < (rate.high - rate.low) / 2
    same = corpus_rate([ErrorCounts(4, 1, 0, 0)] * 5)
    assert same.low == same.rate == same.high == 0.25
