from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.data.batch import collate
from melle.data.batching import EndlessBatches, FrameBudgetSampler
from melle.errors import UserError

utterance = st.tuples(st.integers(-1, 3), st.integers(1, 300), st.integers(1, 20))
items = st.lists(utterance, min_size=1, max_size=60)
many = st.lists(utterance, min_size=60, max_size=100)
budgets = st.integers(330, 3000)
epochs, seeds, ranks = st.integers(0, 3), st.integers(0, 5), st.integers(1, 8)


def make(utterances, **arguments) -> FrameBudgetSampler:
    options = {"batch_frames": 1000, "max_join": 3, "max_row_frames": 400, "seed": 1, **arguments}
    columns = (np.array([u[i] for u in utterances]) for i in range(3))
    return FrameBudgetSampler(*columns, **options)


def size(row, utterances) -> int:
    return sum(utterances[i][1] + utterances[i][2] for i in row) + 1


def all_batches(sampler, epoch: int = 0) -> list:
    plan = sampler.plan(epoch)
    return [plan.batch(number) for number in range(len(plan))]


@settings(max_examples=100, deadline=None)
@given(items, st.integers(1, 4), seeds, st.integers(20, 400), st.integers(1, 30))
def test_rows_hold_every_utterance_once_and_one_speaker_each(utterances, max_join, seed, most_frames, most_tokens):
    sampler = make(utterances, max_join=max_join, seed=seed, max_row_frames=most_frames, max_row_tokens=most_tokens)
    rows = [row for batch in all_batches(sampler) for row in batch]
    assert Counter(i for row in rows for i in row) == Counter(range(len(utterances)))
    for row in rows:
        speakers = {utterances[i][0] for i in row}
        assert len(speakers) == 1 and (speakers != {-1} or len(row) == 1)
        assert len(row) <= max_join
        assert len(row) == 1 or sum(utterances[i][1] for i in row) <= most_frames
        assert len(row) == 1 or sum(utterances[i][2] for i in row) <= most_tokens


def test_utterances_of_a_speaker_are_joined():
    rows = [row for batch in all_batches(make([(0, 20, 2)] * 300)) for row in batch]
    counts = Counter(len(row) for row in rows)
    assert set(counts) == {1, 2, 3} and min(counts.values()) > 20


@settings(max_examples=150, deadline=None)
@given(items, ranks, budgets, seeds, epochs, st.none() | st.integers(110_000, 10**6))
def test_batches_keep_the_budgets_and_ranks_share_evenly(utterances, world_size, budget, seed, epoch, attention):
    arguments = {"batch_frames": budget, "seed": seed, "max_attention": attention}
    samplers = [make(utterances, rank=rank, world_size=world_size, **arguments) for rank in range(world_size)]
    shares = [list(sampler.share(epoch)) for sampler in samplers]
    assert len({len(share) for share in shares}) == 1
    seen = Counter(i for share in shares for batch in share for row in batch for i in row)
    assert all(count == 1 for count in seen.values())
    everything = all_batches(make(utterances, **arguments), epoch)
    assert Counter(i for batch in everything for row in batch for i in row) == Counter(range(len(utterances)))
    assert 0 <= len(everything) - sum(map(len, shares)) < world_size
    for batch in everything:
        widest = max(size(row, utterances) for row in batch)
        assert widest * len(batch) <= budget
        assert attention is None or widest**2 * len(batch) <= attention
    assert [len(make(utterances, world_size=world_size, **arguments)), len(list(samplers[0]))] == [
        len(all_batches(make(utterances, **arguments))) // world_size
    ] * 2


@settings(max_examples=200, deadline=None)
@given(many, st.lists(st.tuples(ranks, st.integers(0, 40)), min_size=1, max_size=4), seeds, st.integers(0, 9))
def test_training_goes_on_exactly_on_any_number_of_ranks(utterances, legs, seed, ahead):
    state, steps, epoch, place = None, 0, 0, 0
    for world_size, leg in legs:
        streams = [
            EndlessBatches(make(utterances, batch_frames=700, seed=seed, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        if state is not None:
            for stream in streams:
                stream.load_state_dict(state)
        shares = [list(islice(stream, leg + ahead)) for stream in streams]  # loaders run ahead of training
        for step in range(leg):
            whole = all_batches(make(utterances, batch_frames=700, seed=seed), epoch)
            if len(whole) - place < world_size:  # what is left of the epoch does not make a step
                epoch, place = epoch + 1, 0
                whole = all_batches(make(utterances, batch_frames=700, seed=seed), epoch)
            assert [share[step] for share in shares] == whole[place : place + world_size]
            place += world_size
        steps += leg
        state = streams[0].state_dict(steps)
        assert all(stream.state_dict(steps) == state for stream in streams)
        assert len(str(state)) < 80  # a checkpoint need not carry more


def test_changed_data_begins_the_epoch_anew(caplog):
    first = EndlessBatches(make([(0, 50 + n, 3) for n in range(100)]))
    list(islice(first, 5))
    other = EndlessBatches(make([(0, 50 + n, 3) for n in range(150)]))
    other.load_state_dict(first.state_dict(5))
    fresh = EndlessBatches(make([(0, 50 + n, 3) for n in range(150)]))
    assert list(islice(other, 30)) == list(islice(fresh, 30))
    assert "epoch 0 begins anew" in caplog.text
    assert other.state_dict(7)["batches"] == 2


@settings(deadline=None)
@given(items, ranks)
def test_validation_takes_every_batch_once_on_any_number_of_ranks(utterances, world_size):
    samplers = [make(utterances, shuffle=False, rank=rank, world_size=world_size) for rank in range(world_size)]
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers}
    assert {len(share) for share in shares} == {-(-len(all_batches(samplers[0])) // world_size)}
    batches = [batch for share in shares for batch in share if batch]  # an empty one becomes a stand-in
    assert sorted(batches) == sorted(all_batches(make(utterances, shuffle=False)))
    stand_in = collate([], 2, 80)
    assert stand_in.ids == [] and stand_in.mel.shape[0] == 1


def test_too_little_data_for_the_ranks_is_an_error():
    with pytest.raises(UserError, match="1 batches of data for 2 ranks"):
        next(iter(EndlessBatches(make([(0, 50, 3)], world_size=2))))


def test_epochs_differ_and_repeat_from_the_seed():
    utterances = [(0, 50 + i, 3) for i in range(40)]
    sampler = make(utterances)
    first = all_batches(sampler)
    assert first == all_batches(make(utterances)) == list(sampler)
    assert all_batches(sampler, 1) != first
    assert all_batches(sampler, 0) == first
    assert all_batches(make(utterances, seed=2)) != first


def test_the_longest_rows_come_first_and_the_fullest_batch_next():
    rng = np.random.default_rng(0)
    utterances = [(-1, int(n), 5) for n in rng.integers(20, 300, 400)]
    for epoch in range(3):
        batches = all_batches(make(utterances, batch_frames=2000), epoch)
        longest = [max(size(row, utterances) for row in batch) for batch in batches]
        assert longest[0] == max(longest)
        filled = [a * len(batch) for a, batch in zip(longest, batches)]
        assert max(filled) in filled[:2]
        assert longest[2:] != sorted(longest[2:], reverse=True)


def test_padding_is_small_where_there_is_much_to_choose_from():
    rng = np.random.default_rng(0)
    utterances = [(int(s), int(n), 30) for s, n in zip(rng.integers(0, 50, 5000), rng.integers(100, 1000, 5000))]
    batches = all_batches(make(utterances, batch_frames=10000, max_row_frames=1500))
    sizes = [[size(row, utterances) for row in batch] for batch in batches]
    padded = sum(max(rows) * len(rows) for rows in sizes)
    assert 1 - sum(map(sum, sizes)) / padded < 0.02


def test_only_the_chosen_utterances_take_part():
    chosen = np.array([3, 5, 8, 13, 21])
    sampler = make([(0, 50, 3)] * 30, items=chosen)
    assert sorted(i for batch in sampler for row in batch for i in row) == chosen.tolist()
