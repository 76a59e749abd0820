from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import melle.data.pairs as module
from melle.data.manifest import Utterance
from melle.data.pairs import cross_sentence_pairs
from melle.errors import UserError


def utterance(number: int, speaker: str | None, text: str, seconds: float) -> Utterance:
    return Utterance(text, Path(f"{number}.wav"), f"u{number}", speaker, None, seconds)


corpora = st.lists(
    st.tuples(st.sampled_from(["anna", "ben", "cleo", None]), st.sampled_from("abcdef"), st.floats(0.5, 9)), max_size=40
).map(lambda items: [utterance(number, *item) for number, item in enumerate(items)])


@settings(deadline=None)
@given(corpora, st.integers(1, 30), st.integers(0, 3))
def test_pairs_share_the_speaker_but_not_the_text(utterances, count, seed):
    try:
        pairs = cross_sentence_pairs(utterances, count, seed)
    except UserError:
        texts = {(u.speaker, u.transcription) for u in utterances if u.speaker}
        assert len({speaker for speaker, _ in texts}) == len(texts)
        return
    assert 0 < len(pairs) <= count
    assert len({pair.target.id for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert pair.target.speaker == pair.prompt.speaker is not None
        assert pair.target.transcription != pair.prompt.transcription
    assert cross_sentence_pairs(utterances[::-1], count, seed) == pairs
    assert cross_sentence_pairs(utterances, 40, seed)[:count] == pairs


@settings(deadline=None)
@given(corpora, st.floats(0.5, 5), st.floats(5, 9))
def test_targets_have_the_lengths_asked_for_and_prompts_any(utterances, least, most):
    every = {pair.target.id for pair in pairs_of(utterances)}
    some = {pair.target.id for pair in pairs_of(utterances, target_seconds=(least, most))}
    assert some == {u.id for u in utterances if u.id in every and least <= u.duration <= most}


def pairs_of(utterances, **how):
    try:
        return cross_sentence_pairs(utterances, None, **how)
    except UserError:
        return []


def test_targets_spread_evenly_over_speakers():
    utterances = [utterance(n, f"s{n % 7}", f"text {n}", 3) for n in range(140)]
    counts = Counter(pair.target.speaker for pair in cross_sentence_pairs(utterances, count=24))
    assert len(counts) == 7 and max(counts.values()) - min(counts.values()) <= 1


def test_prompts_take_a_few_seconds_where_there_are_such():
    lengths = [0.5, 1.0, 2.5, 4.0, 5.9, 9.0]
    utterances = [utterance(n, "anna", f"text {n}", seconds) for n, seconds in enumerate(lengths)]
    assert all(2 <= pair.prompt.duration <= 6 for pair in cross_sentence_pairs(utterances))
    short = cross_sentence_pairs(utterances[:2] + utterances[5:])
    assert {pair.target.duration: pair.prompt.duration for pair in short} == {0.5: 1.0, 1.0: 0.5, 9.0: 1.0}


def test_the_seed_changes_the_choice():
    utterances = [utterance(n, "anna", f"text {n}", 3) for n in range(30)]
    assert cross_sentence_pairs(utterances, seed=0) != cross_sentence_pairs(utterances, seed=1)


def test_without_speakers_there_is_nothing_to_pair():
    with pytest.raises(UserError, match="no speaker"):
        cross_sentence_pairs([utterance(n, None, f"text {n}", 3) for n in range(4)])
    with pytest.raises(UserError, match=r"0\.wav: no such file"):
        cross_sentence_pairs([utterance(0, "anna", "text", None)])


def test_of_thousands_by_one_speaker_every_text_is_read_twice_at_most(monkeypatch):
    utterances = [Utterance(f"text {n // 2}", Path(f"{n}.wav"), f"{n}", "x", None, 3.0) for n in range(2000)]
    read, calls = module._words, []
    monkeypatch.setattr(module, "_words", lambda utterance: calls.append(utterance) or read(utterance))
    found = cross_sentence_pairs(utterances, 300)
    assert len(found) == 300 and all(p.target.transcription != p.prompt.transcription for p in found)
    assert len(calls) <= 2 * len(utterances)
