import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from melle.data.batching import FrameBudgetSampler, join_rows

items = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 300), st.integers(1, 20)), min_size=1, max_size=60)


def make(utterances, **arguments) -> FrameBudgetSampler:
    settings = {"batch_frames": 1000, "max_join": 3, "max_row_frames": 400, "seed": 1, **arguments}
    return FrameBudgetSampler(
        [u[0] for u in utterances], [u[1] for u in utterances], [u[2] for u in utterances], **settings
    )


@settings(max_examples=50, deadline=None)
@given(items, st.integers(1, 4))
def test_rows_hold_every_utterance_once_and_one_speaker_each(utterances, max_join):
    speakers, frames = [u[0] for u in utterances], [u[1] for u in utterances]
    rows = join_rows(speakers, frames, max_join, 400, random.Random(0))
    assert Counter(i for row in rows for i in row) == Counter(range(len(utterances)))
    for row in rows:
        assert len({speakers[i] for i in row}) == 1
        assert len(row) <= max_join
        assert len(row) == 1 or sum(frames[i] for i in row) <= 400


@settings(max_examples=50, deadline=None)
@given(items, st.integers(1, 4))
def test_batches_keep_the_budget_and_ranks_share_evenly(utterances, world_size):
    ranks = [list(make(utterances, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == len(make(utterances, world_size=world_size))
    seen = Counter(i for batches in ranks for batch in batches for row in batch for i in row)
    assert all(count == 1 for count in seen.values())
    for batches in ranks:
        for batch in batches:
            widest = max(sum(utterances[i][1] + utterances[i][2] for i in row) + 1 for row in batch)
            assert widest * len(batch) <= 1000 or len(batch) == 1
    everything = make(utterances).batches()
    assert sum(len(batches) for batches in ranks) == len(everything) // world_size * world_size


def test_epochs_differ_and_repeat_from_the_seed():
    utterances = [("a", 50 + i, 3) for i in range(40)]
    sampler = make(utterances)
    first = list(sampler)
    assert first == list(make(utterances))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(make(utterances, seed=2)) != first
    still = make(utterances, shuffle=False)
    kept = list(still)
    still.set_epoch(5)
    assert list(still) == kept
