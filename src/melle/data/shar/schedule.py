"""Which shards are read when, by whom: a function of the seed and the step that every process computes for itself.

The shards of an epoch are shuffled and taken a few at a time, a block; a block's utterances are joined, sorted by
length and cut into batches as a manifest's are. Blocks follow each other without end, epoch after epoch, and each is
read by one reader: a loader process of a rank. The reader that is done first takes the next block. An epoch begins with
the shard of the longest utterance, and its first block with the longest rows, so that want of memory shows at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melle.data.batching import FrameBudgetSampler, Plan
from melle.data.shar.index import ShardIndex

logger = logging.getLogger(__name__)


class Blocks:
    """The batches of every block.

    Args:
        index: of the shards.  kept: the utterances that take part (their numbers, rising).
        shards_at_once: shards of a block.  seed: of their order, of joining and of batches.
        limits: of batches and rows, as ``FrameBudgetSampler`` takes them.
    """

    def __init__(self, index: ShardIndex, kept: NDArray, shards_at_once: int, seed: int, limits: dict[str, Any]):
        self.index, self.kept, self.seed, self.limits = index, kept, seed, limits
        bounds = np.searchsorted(kept, index.column("start"))
        self._bounds = bounds[:-1], bounds[1:]  # in ``kept``, of each shard
        self._shards = np.flatnonzero(bounds[1:] > bounds[:-1])
        sizes = index.column("frames")[kept] + index.column("tokens")[kept]
        self._longest = int(index.shard_of(kept[np.argmax(sizes)])) if len(kept) else -1
        self.size = shards_at_once
        self.per_epoch = -(-len(self._shards) // shards_at_once)

    def shards(self, number: int) -> NDArray:
        """The shards of block ``number``, counted from 0 through all epochs."""
        epoch, place = divmod(number, self.per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self._shards)
        at = int(np.argmax(order == self._longest))
        order[[0, at]] = order[[at, 0]]
        return order[place * self.size : (place + 1) * self.size]

    def plan(self, number: int) -> Plan:
        """The batches of a block, in the order in which they come."""
        first, last = self._bounds
        items = np.concatenate([self.kept[first[shard] : last[shard]] for shard in np.sort(self.shards(number))])
        plan = FrameBudgetSampler(
            speakers=self.index.column("speaker"),
            frames=self.index.column("frames"),
            tokens=self.index.column("tokens"),
            items=items,
            seed=self.seed,
            **self.limits,
        ).plan(number)
        if number % self.per_epoch == 0:
            return plan
        # The sampler puts the longest rows first, to show want of memory at once; once in an epoch is enough.
        return replace(plan, order=np.random.default_rng([self.seed, number, 1]).permutation(plan.order))

    def length(self, number: int) -> int:
        """How many batches a block has."""
        return len(self.plan(number))


class Schedule:
    """Who gives which batch at every step: all ranks get one, each from that of its readers whose turn it is.

    Args:
        length: how many batches a block has.
        ranks, slots: every rank has as many readers as there are ``slots``, which take turns.
        state: of an earlier schedule. With as many ranks and slots it goes on exactly there; else the blocks that were
            being read are handed out again, from where they had got to, so that nothing is repeated or skipped.
    """

    def __init__(self, length: Callable[[int], int], ranks: int, slots: int, state: dict[str, Any] | None = None):
        self._length = length
        self.ranks, self.slots = ranks, slots
        begin = {"steps": 0, "ranks": ranks, "next": 0, "playing": [], "waiting": []}
        state = {**begin, **(state or {})}  # of a run on a manifest there are the steps alone: blocks begin anew
        self.steps, self._next = state["steps"], state["next"]
        # Of each reader: a block, how many of its batches are given, and how many it has.
        readers = [self._restored(*place) if place else () for place in state["playing"]]
        self._waiting = [self._restored(*place) for place in state["waiting"]]
        if (state["ranks"], len(readers)) != (ranks, ranks * slots):
            self._waiting = [place for place in readers if place] + self._waiting
            readers = [()] * (ranks * slots)
        self._readers = readers

    def step(self) -> list[tuple[int, int]]:
        """Go one step on: the block, and the batch of it, that each rank gets."""
        first = self.steps % self.slots * self.ranks
        given = []
        for reader in range(first, first + self.ranks):
            block, done, length = self._readers[reader] or self._take()
            while done >= length:
                block, done, length = self._take()
            given.append((block, done))
            self._readers[reader] = block, done + 1, length
        self.steps += 1
        return given

    def state_dict(self, steps: int = 0) -> dict[str, Any]:
        """Plain values to go on from, after ``steps`` steps in all or as many as there were."""
        while self.steps < steps:
            self.step()
        readers, waiting = ([list(place) for place in places] for places in (self._readers, self._waiting))
        return {"steps": self.steps, "ranks": self.ranks, "next": self._next, "playing": readers, "waiting": waiting}

    def _take(self) -> tuple[int, int, int]:
        if self._waiting:
            return self._waiting.pop(0)
        self._next += 1
        return self._next - 1, 0, self._length(self._next - 1)

    def _restored(self, block: int, done: int, expected: int) -> tuple[int, int, int]:
        length = self._length(block)
        if length != expected:
            logger.warning("The shards or their batches have changed: block %d of them begins anew.", block)
            done = 0
        return block, done, length

    def turns(self, rank: int, worker: int) -> Iterator[tuple[int, list[int]]]:
        """What a reader gives: block after block, and the batches of it. ``worker`` is the one of its rank's loader
        processes that gives the ``worker``-th of the coming steps.
        """
        slot = (self.steps + worker) % self.slots
        block, batches = -1, []
        while True:
            mine = self.steps % self.slots == slot
            given, batch = self.step()[rank]
            if not mine:
                continue
            if given != block and batches:
                yield block, batches
                batches = []
            block = given
            batches.append(batch)
