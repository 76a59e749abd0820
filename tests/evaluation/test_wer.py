from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.evaluation.wer import ErrorCounts, corpus_rate, count_characters, count_errors, errors_marked

words = st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=8)


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        previous, row = row, [i]
        for j, other in enumerate(hypothesis, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != other)))
    return row[-1]


@settings(deadline=None)
@given(words, words)
def test_counts_are_a_shortest_edit(reference, hypothesis):
    counts = count_errors(" ".join(reference), " ".join(hypothesis))
    assert counts.length == len(reference)
    assert counts.errors == edit_distance(reference, hypothesis)
    assert counts.insertions - counts.deletions == len(hypothesis) - len(reference)


def test_each_kind_of_error():
    assert astuple(count_errors("one two three", "one five three")) == (3, 1, 0, 0)
    assert astuple(count_errors("one two three", "one three")) == (3, 0, 1, 0)
    assert astuple(count_errors("one two three", "one two two three")) == (3, 0, 0, 1)
    assert astuple(count_errors("one two three", "")) == (3, 0, 3, 0)


@settings(deadline=None)
@given(words, words)
def test_characters_are_counted_with_the_spaces(reference, hypothesis):
    text, transcript = " ".join(reference), " ".join(hypothesis)
    counts = count_characters(text, transcript)
    assert counts.length == len(text)
    assert counts.errors == edit_distance(list(text), list(transcript))
    assert counts.insertions - counts.deletions == len(transcript) - len(text)


@settings(deadline=None)
@given(words, words)
def test_marked_errors_hold_both_texts_and_as_many_errors_as_are_counted(reference, hypothesis):
    text, transcript = " ".join(reference), " ".join(hypothesis)
    runs = errors_marked(text, transcript)
    assert " ".join(run[1] for run in runs if run[1]) == text
    assert " ".join(run[2] for run in runs if run[2]) == transcript
    assert all((before == after) == (kind == "equal") for kind, before, after in runs)
    wrong = [max(len(before.split()), len(after.split())) for kind, before, after in runs if kind != "equal"]
    assert sum(wrong) == count_errors(text, transcript).errors


def test_errors_are_marked_by_kind():
    assert errors_marked("one two three four", "one five three") == [
        ("equal", "one", "one"),
        ("substitute", "two", "five"),
        ("equal", "three", "three"),
        ("delete", "four", ""),
    ]
    assert [run[0] for run in errors_marked("one two", "three four")] == ["substitute"] * 2  # word by word
    assert errors_marked("two", "one two") == [("insert", "", "one"), ("equal", "two", "two")]
    assert errors_marked("", "one two") == [("insert", "", "one two")]
    assert errors_marked("one two", "") == [("delete", "one two", "")]
    assert errors_marked("", "") == []


def test_an_empty_reference_has_insertions_alone():
    assert astuple(count_errors("", "one two")) == (0, 0, 0, 2)
    assert astuple(count_characters("", "one two")) == (0, 0, 0, 7)
    assert corpus_rate([count_characters("", "")]).rate == 0


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
