"""One batch for all that many threads want spoken: what waits joins as rows end, and what nobody wants leaves."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from melle.model import Melle
from melle.synthesis.decoding import Frames
from melle.synthesis.options import DecodingOptions
from melle.synthesis.request import Request
from melle.synthesis.running_batch import RunningBatch

logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """Nobody waits for this speech any longer, or the server stops."""


class Call:
    """What one client wants spoken; ``decode`` is a ``Synthesizer.decoder`` in a thread of the client's own."""

    def __init__(self, batcher: Batcher):
        self._batcher = batcher
        self._frames: queue.SimpleQueue[Frames | Exception] = queue.SimpleQueue()
        self.cancelled = False

    def decode(self, requests: Sequence[Request], options: DecodingOptions) -> Iterator[Frames]:
        """Frames as they become final, with the places of ``requests``. Raises Cancelled after ``cancel``."""
        own = self._batcher.options
        # Each row has these of its own.
        of_a_row = ("pace", "prompt_pause", "prenet_dropout", "prompt_correction", "speed", "sentence_gap")
        alike = replace(options.with_defaults(), **{name: getattr(own, name) for name in of_a_row})
        if alike != own:
            raise ValueError("the rows of a running batch have one set of options")
        frames = self._frames
        keys = self._batcher.add(self, requests)
        waiting = set(keys)
        try:
            while waiting:
                given = frames.get()
                if isinstance(given, Exception):
                    raise given
                if given.row not in waiting:  # of rows that this call has given up
                    continue
                if given.finish_reason is not None:
                    waiting.discard(given.row)
                yield given._replace(row=given.row - keys.start)
        finally:
            self._batcher.discard(waiting)

    def send(self, frames: Frames | Exception) -> None:
        """Give frames, or what went wrong, to the thread that decodes."""
        self._frames.put(frames)

    def cancel(self) -> None:
        """From any thread: its rows become free, and its own thread ends soon."""
        self.cancelled = True
        self.send(Cancelled())


class Batcher:
    """Decodes in a thread of its own; a context manager.

    Args:
        rows: that are decoded at a time. Of those that wait, the next is of the call with the fewest rows decoded, so
            that the many parts of a long text leave room for others.
    """

    def __init__(self, network: Melle, options: DecodingOptions, frame_rate: float, rows: int = 16):
        self.options = options = options.with_defaults()
        self.steps = self.row_steps = 0  # made so far; of all rows
        self._make = lambda: RunningBatch(network, options, frame_rate, rows)
        self._rows = rows
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[Call, Request]] = {}  # by key, first come
        self._running: dict[int, Call] = {}
        self._unwanted: set[int] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._decode, name="decoding", daemon=True)

    def __enter__(self) -> Batcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @property
    def running(self) -> int:
        """Rows that are decoded now."""
        return len(self._running)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def add(self, call: Call, requests: Sequence[Request]) -> range:
        """Let requests wait for their turn; returns their keys."""
        with self._changed:
            if self._closed or call.cancelled:
                raise Cancelled()
            keys = [next(self._numbers) for _ in requests]
            self._waiting.update((key, (call, request)) for key, request in zip(keys, requests))
            self._changed.notify()
        return range(keys[0], keys[0] + len(keys)) if keys else range(0)

    def discard(self, keys: set[int]) -> None:
        """Forget requests, decoded or waiting."""
        with self._changed:
            for key in keys:
                self._waiting.pop(key, None)
            self._unwanted |= keys & self._running.keys()

    def _decode(self) -> None:
        batch = self._make()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting or self._running)
                if self._closed:
                    self._fail(Cancelled())
                    return
                unwanted, self._unwanted = self._unwanted, set()
                for key in unwanted:
                    self._running.pop(key, None)
                new = self._next()
            try:
                batch.leave(unwanted)
                given = batch.join(new) if new else []
                self.steps, self.row_steps = self.steps + 1, self.row_steps + len(batch)
                given += batch.step()
            except Exception as error:  # memory, say: all rows share it, and those to come have a chance
                logger.exception("decoding failed; its %d rows are given up", len(batch) + len(new))
                with self._changed:
                    self._fail(error, waiting=False)
                batch = self._make()
                continue
            with self._changed:
                for frames in given:
                    call = self._running.get(frames.row)
                    if frames.finish_reason is not None:
                        self._running.pop(frames.row, None)
                    if call is not None:
                        call.send(frames)

    def _next(self) -> dict[int, Request]:
        """The requests that join now."""
        new = {}
        while self._waiting and len(self._running) < self._rows:
            busy = Counter(map(id, self._running.values()))
            key = min(self._waiting, key=lambda key: busy[id(self._waiting[key][0])])  # the first of the least
            call, new[key] = self._waiting.pop(key)
            self._running[key] = call
        return new

    def _fail(self, error: Exception, waiting: bool = True) -> None:
        """Notify those whose rows are decoded, and those who wait, that they get no more."""
        calls = {id(call): call for call in self._running.values()}
        if waiting:
            calls |= {id(call): call for call, _ in self._waiting.values()}
            self._waiting.clear()
        self._running.clear()
        for call in calls.values():
            call.send(error)
