"""Rows that join and leave a batch while it runs say what they say alone."""

from dataclasses import replace

import pytest
import torch

from melle.synthesis import running_batch
from melle.synthesis.decoding import decode
from melle.synthesis.options import DecodingOptions
from melle.synthesis.running_batch import RunningBatch
from tests.synthesis.test_batched_decoding import FREE, KINDS, how, make, make_rows, speak


class Listener:
    """Collects what a running batch gives away."""

    def __init__(self, batch: RunningBatch):
        self.batch, self.mels, self.endings = batch, {}, {}

    def join(self, *rows, first: int) -> None:
        self._take(self.batch.join(dict(enumerate(rows, first))))

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._take(self.batch.step())

    def _take(self, given) -> None:
        for frames in given:
            assert frames.row not in self.endings
            self.mels.setdefault(frames.row, []).append(frames.mel)
            if frames.finish_reason is not None:
                self.endings[frames.row] = (frames.finish_reason, frames.stop)

    def mel(self, key: int) -> torch.Tensor:
        return torch.cat(self.mels[key])


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_says_the_same_whenever_it_joins(kind):
    network = make(**KINDS[kind])
    rows = make_rows(network)
    listener = Listener(RunningBatch(network, how(network), 62.5, most_rows=3))
    listener.join(rows[0], first=0)
    listener.step(3)
    listener.join(rows[1], rows[3], first=1)  # the second has five steps: it leaves before the first
    listener.step(6)
    assert set(listener.endings) == {0, 1} and len(listener.batch) == 1
    listener.join(rows[2], rows[0], first=3)
    while len(listener.batch):
        listener.step()
    for key, row in enumerate((rows[0], rows[1], rows[3], rows[2], rows[0])):
        (alone,) = speak(network, [row])
        torch.testing.assert_close(listener.mel(key), alone, rtol=0, atol=2e-4)
        reason, stop = listener.endings[key]
        (expected,) = [piece.stop for piece in decode(network, [row], how(network), 62.5) if piece.finish_reason]
        assert reason == "length"
        torch.testing.assert_close(stop, expected, rtol=0, atol=2e-4)


def test_who_leaves_makes_room_and_changes_nothing_for_others():
    network = make(**KINDS["r = 4, paced, bidirectional"])
    rows = make_rows(network)
    listener = Listener(RunningBatch(network, FREE, 62.5, most_rows=3))
    listener.join(rows[3], rows[2], rows[0], first=0)
    with pytest.raises(ValueError, match="3 at most"):
        listener.join(rows[1], first=7)
    listener.step(2)
    listener.batch.leave({0, 99})
    assert len(listener.batch) == 2
    listener.join(rows[1], first=3)
    while len(listener.batch):
        listener.step()
    assert set(listener.endings) == {1, 2, 3}
    for key, row in ((1, rows[2]), (2, rows[0]), (3, rows[1])):
        torch.testing.assert_close(listener.mel(key), speak(network, [row])[0], rtol=0, atol=2e-4)


def test_memory_grows_for_a_long_row(monkeypatch):
    monkeypatch.setattr(running_batch, "POSITIONS", 32)
    network = make(**KINDS["r = 4, paced, bidirectional"])
    short, *_ = make_rows(network)
    long = replace(short, max_steps=70, seed=3)
    listener = Listener(RunningBatch(network, FREE, 62.5, most_rows=2))
    listener.join(short, first=0)
    listener.step(2)
    listener.join(long, first=1)
    while len(listener.batch):
        listener.step()
    for key, row in enumerate((short, long)):
        torch.testing.assert_close(listener.mel(key), speak(network, [row])[0], rtol=0, atol=2e-4)


def test_rows_end_where_and_why_they_do_alone():
    """By the model's stop, by silence and by one sound held, each row at its own age."""
    network = make(**KINDS["r = 4, paced, bidirectional"])
    rows = make_rows(network, prompts=(0, 0, 12), steps=(40, 30, 35))
    rows[1] = replace(rows[1], level=9.0)  # nothing is as loud, so that it is silent from the beginning
    for options in (
        DecodingOptions(max_silence=0.5, max_still=1e9, stop_threshold=1.0),
        DecodingOptions(max_silence=1e9, max_still=0.5, stop_threshold=1.0),
        DecodingOptions(max_silence=1e9, max_still=1e9, stop_threshold=0.5),
    ):
        listener = Listener(RunningBatch(network, options, 62.5, most_rows=3))
        for number, row in enumerate(rows):
            listener.join(row, first=number)
            listener.step(7)
        while len(listener.batch):
            listener.step()
        for number, row in enumerate(rows):
            *_, last = decode(network, [row], options, 62.5)
            assert listener.endings[number][0] == last.finish_reason
            assert len(listener.endings[number][1]) == len(last.stop)
