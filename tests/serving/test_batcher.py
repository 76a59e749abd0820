"""Threads share one running batch; who asks for much leaves room for others."""

import threading

import pytest
import torch

from melle.serving.batcher import Batcher, Call, Cancelled
from tests.synthesis.test_batched_decoding import FREE, KINDS, make, make_rows, speak


@pytest.fixture
def network():
    return make(**KINDS["r = 4, paced, bidirectional"])


def receive(call, rows) -> list[torch.Tensor]:
    mels = [[] for _ in rows]
    for frames in call.decode(rows, FREE):
        mels[frames.row].append(frames.mel)
    return [torch.cat(parts) for parts in mels]


def test_who_asks_for_much_leaves_room_for_others(network):
    rows = make_rows(network)
    batcher = Batcher(network, FREE, 62.5, rows=3)  # that was not started
    many, one, two = Call(batcher), Call(batcher), Call(batcher)
    first, _, third = batcher.add(many, rows[:3])
    (other,) = batcher.add(one, rows[3:])
    assert list(batcher._next()) == [first, other, first + 1]  # the free row goes to who came first
    batcher._running.pop(other)
    (late,) = batcher.add(two, rows[3:])
    assert list(batcher._next()) == [late]
    batcher.discard({third})
    assert not batcher._waiting


def test_threads_receive_their_own(network):
    rows = make_rows(network)
    received = {}
    with Batcher(network, FREE, 62.5, rows=2) as batcher:
        threads = [
            threading.Thread(target=lambda n=n: received.update({n: receive(Call(batcher), rows[n : n + 2])}))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert batcher.running == 0
    for n in range(3):
        for row, mel in zip(rows[n : n + 2], received[n]):
            torch.testing.assert_close(mel, speak(network, [row])[0], rtol=0, atol=2e-4)


def test_a_call_that_is_cancelled_ends(network):
    rows = make_rows(network)
    with Batcher(network, FREE, 62.5, rows=2) as batcher:
        call = Call(batcher)
        frames = call.decode(rows, FREE)
        next(frames)
        call.cancel()
        with pytest.raises(Cancelled):
            list(frames)
        assert not batcher._waiting
        with pytest.raises(Cancelled):
            next(call.decode(rows, FREE))
        assert len(receive(Call(batcher), rows)) == 4  # others go on
    with pytest.raises(Cancelled):  # the server has stopped
        next(Call(batcher).decode(rows, FREE))


def test_closing_ends_who_waits(network):
    step, running = network.step, threading.Event()
    network.step = lambda *arguments: (running.set(), threading.Event().wait(0.05), step(*arguments))[2]
    ended = []

    def wait():
        with pytest.raises(Cancelled):
            receive(Call(batcher), make_rows(network))
        ended.append(True)

    with Batcher(network, FREE, 62.5, rows=2) as batcher:
        thread = threading.Thread(target=wait)
        thread.start()
        assert running.wait(10)
    thread.join(10)
    assert ended == [True]
