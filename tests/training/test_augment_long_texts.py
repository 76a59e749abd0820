"""Utterances of a row that count as one."""

import pytest
import torch

from melle.data.batch import Batch, Row, collate
from melle.errors import UserError
from melle.training.augment.long_texts import LongTexts

R = 2


def batch() -> Batch:
    """Rows of three, one and two utterances, with 4, 3, 2 tokens and so on."""
    lengths = [[(4, 8), (3, 7), (2, 5)], [(5, 11)], [(1, 2), (6, 9)]]
    rows = [
        Row([[5] * tokens for tokens, _ in row], [torch.zeros(frames, 80) for _, frames in row], ["a"] * len(row))
        for row in lengths
    ]
    return collate(rows, R)


def segments(made: Batch) -> list[list[tuple[int, int]]]:
    """Tokens and steps of each segment of each row."""
    found = []
    for owners, steps in zip(made.text_segments.tolist(), made.segment_steps.tolist()):
        found.append([(owners.count(number), steps[number]) for number in range(max(owners) + 1)])
    return found


BEGUN = [[(4, 4), (3, 3), (3, 3)], [(6, 6)], [(1, 1), (7, 5)]]  # <EOS> is the last one's


def test_nothing_or_all_goes_on():
    assert segments(batch()) == segments(LongTexts(0.0)(batch())) == BEGUN
    assert segments(LongTexts(1.0)(batch())) == [[(10, 10)], [(6, 6)], [(8, 6)]]


def test_each_goes_on_by_itself_and_nothing_else_changes():
    torch.manual_seed(0)
    before, times = batch(), 2000
    seen = [LongTexts(0.3)(before) for _ in range(times)]
    for made in seen[:50]:
        assert (made.text_segments < 0).equal(before.text_segments < 0)
        assert made.segment_steps.sum(1).equal(before.segment_steps.sum(1)) and made.longest == before.longest
        assert made.text is before.text and made.mel is before.mel
        assert made.recorded == (before.text_segments, before.segment_steps)
        again = LongTexts(1.0)(made)
        assert again.recorded is made.recorded and (again.segment_steps > 0).sum(1).tolist() == [1, 1, 1]
    ways = {
        ((4, 4), (3, 3), (3, 3)): 0.7 * 0.7,
        ((7, 7), (3, 3)): 0.3 * 0.7,
        ((4, 4), (6, 6)): 0.7 * 0.3,
        ((10, 10),): 0.3 * 0.3,
    }
    rows = [tuple(segments(made)[0]) for made in seen]
    assert set(rows) == set(ways)
    for way, share in ways.items():
        assert abs(rows.count(way) / times - share) < 0.04
    both = sum(segments(made)[2] == [(8, 6)] and row == ((10, 10),) for made, row in zip(seen, rows))
    assert abs(both / times - 0.3 * 0.09) < 0.015  # rows are drawn apart


def test_a_probability_is_one():
    with pytest.raises(UserError, match=r"augment\.long_texts\.probability=2: give a number"):
        LongTexts(2)
