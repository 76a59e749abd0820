"""Which utterances share a row, and which rows share a batch: seeded, the same on every rank, and in arrays throughout,
so that an epoch of ten million utterances costs a few hundred megabytes and not a Python object per utterance.
"""

from __future__ import annotations

import logging
import math
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from melle.errors import UserError

logger = logging.getLogger(__name__)

RowIndex = tuple[int, ...]
Numbers = NDArray[np.int64]

NOISE = 0.02  # share by which a row's place in the order of lengths may move, so that its neighbours change


@dataclass(frozen=True)
class Plan:
    """An epoch: batch b holds rows[bounds[b] : bounds[b + 1]], and row k the items[starts[k] : starts[k + 1]]."""

    items: NDArray[np.int32]
    starts: NDArray[np.int32]
    rows: NDArray[np.int32]
    bounds: Numbers
    order: Numbers  # of the batches

    def batch(self, number: int) -> list[RowIndex]:
        """The utterances of each row of the batch that comes as this ``number``."""
        b = self.order[number]
        rows = self.rows[self.bounds[b] : self.bounds[b + 1]]
        return [tuple(self.items[self.starts[k] : self.starts[k + 1]].tolist()) for k in rows]

    def fingerprint(self) -> int:
        """The same number for the same batches in the same order."""
        value = 0
        for part in (self.items, self.starts, self.rows, self.bounds, self.order):
            value = zlib.crc32(np.ascontiguousarray(part), value)
        return value

    def __len__(self) -> int:
        return len(self.order)


def join_rows(
    speakers: NDArray,
    frames: NDArray,
    tokens: NDArray,
    max_join: int,
    max_frames: int,
    max_tokens: int,
    max_positions: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Put every utterance into exactly one row of 1 to ``max_join`` utterances of one speaker: items and row starts.

    Joined utterances teach the network to go on in the voice of what came before, which is what a prompt asks of it.
    A row never grows past ``max_frames``, ``max_tokens`` or ``max_positions`` (of both together) by joining. A negative
    speaker is nobody's: it joins none.
    """
    count = len(speakers)
    items = rng.permutation(count).astype(np.int32)
    if max_join <= 1:
        return items, np.arange(count + 1, dtype=np.int32)
    items = items[np.argsort(speakers[items], kind="stable")]
    own = speakers[items]
    place = np.arange(count, dtype=np.int32)
    changes = np.flatnonzero((own[1:] != own[:-1]) | (own[1:] < 0)).astype(np.int32) + 1
    following = np.append(changes, np.int32(count))[np.searchsorted(changes, place, side="right")]  # the speaker's end
    del own, changes
    np.minimum(following, place + rng.integers(1, max_join + 1, count, dtype=np.int32), out=following)
    for sizes, most in ((frames, max_frames), (tokens, max_tokens), (frames + tokens, max_positions)):
        total = np.concatenate(([0], np.cumsum(sizes[items], dtype=np.int64)))
        room = np.searchsorted(total, total[:-1] + most, side="right").astype(np.int32) - 1
        np.minimum(following, room, out=following)
    np.maximum(following, place + 1, out=following)  # a row holds at least one
    starts, start = array("i", [0]), 0
    jump = memoryview(following)  # faster to read one by one than an array, smaller than a list
    while start < count:
        start = jump[start]
        starts.append(start)
    return items, np.frombuffer(starts, np.int32)


def cut_batches(sizes: Numbers, batch_frames: int, max_attention: int) -> Numbers:
    """Bounds of batches of rows whose ``sizes`` rise; each as many as keep both budgets, at least one row."""

    def fit(last: int) -> int:  # how many rows as long as this one make a batch
        longest = int(sizes[last])
        return max(1, min(batch_frames // longest, max_attention // longest**2))

    bounds, count = [0], len(sizes)
    while bounds[-1] < count:
        start = bounds[-1]
        end = min(count, start + fit(start))
        if end - start > fit(end - 1):
            end = start + fit(end - 1)  # where the last row is shorter than the one counted with, and so it fits
            while end < count and end - start < fit(end):
                end += 1
        bounds.append(end)
    return np.array(bounds)


class FrameBudgetSampler(Sampler[list[RowIndex]]):
    """Batches of rows of similar length that together stay within a budget of positions, padding counted: one epoch.

    Every epoch joins, sorts and shuffles anew from ``seed`` and the epoch. All ranks compute the same list of batches,
    which does not depend on their number, and each takes its share; ranks get the same number of batches. With
    ``shuffle`` up to ``world_size`` - 1 batches of an epoch sit out; without it (validation) every batch comes once,
    and ranks without one get an empty batch, of which ``collate`` makes a stand-in that does not count. The batch with
    the longest rows comes first and the one with the most positions next, so that want of memory shows at once.

    Args:
        speakers, frames, tokens: of each utterance; speaker as a number, negative where unknown.
        items: which utterances take part (their numbers), None for all.
        batch_frames: positions (tokens, mel frames and one more per row) of a batch, padding counted.
        max_attention: most rows × positions² of a batch, what attention costs; None for no limit.
        max_join, max_row_frames, max_row_tokens: how far utterances of a speaker are joined.
    """

    def __init__(
        self,
        speakers: NDArray,
        frames: NDArray,
        tokens: NDArray,
        batch_frames: int,
        max_join: int,
        max_row_frames: int,
        seed: int,
        max_row_tokens: int = 2**31,
        max_attention: int | None = None,
        items: NDArray | None = None,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ):
        self._numbers = items
        take = slice(None) if items is None else items
        self.speakers, self.frames, self.tokens = (np.asarray(x)[take] for x in (speakers, frames, tokens))
        self.batch_frames, self.max_join, self.max_row_frames = batch_frames, max_join, max_row_frames
        self.max_row_tokens = max_row_tokens
        self.max_attention = 2**62 if max_attention is None else int(max_attention)
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.world_size = rank, world_size
        self._plan: tuple[int, Plan] | None = None

    def plan(self, epoch: int = 0) -> Plan:
        """The batches of an epoch, those of all ranks. The last one asked for is kept."""
        if self._plan is None or self._plan[0] != epoch:
            self._plan = None  # let the old one go before the new one is made
            self._plan = epoch, self._make_plan(epoch)
        return self._plan[1]

    def share(self, epoch: int, first: int = 0) -> Iterator[list[RowIndex]]:
        """This rank's batches of an epoch, from the ``first`` of all ranks on."""
        plan = self.plan(epoch)
        for start in range(first, len(plan) - (self.world_size - 1) * self.shuffle, self.world_size):
            yield plan.batch(start + self.rank) if start + self.rank < len(plan) else []

    def __iter__(self) -> Iterator[list[RowIndex]]:
        return self.share(0)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.plan()), self.world_size)
        return whole + (rest > 0 and not self.shuffle)

    def _make_plan(self, epoch: int) -> Plan:
        rng = np.random.default_rng([self.seed, epoch])
        most = min(self.batch_frames, math.isqrt(self.max_attention)) - 1  # with the row's own, a batch by itself
        limits = self.max_join, self.max_row_frames, self.max_row_tokens, most
        items, starts = join_rows(self.speakers, self.frames, self.tokens, *limits, rng)
        positions = self.frames[items] + self.tokens[items]  # what does not fit a batch has been skipped before
        sizes = np.add.reduceat(positions, starts[:-1]) + 1 if len(items) else positions
        noise = rng.random(len(sizes), np.float32) * NOISE if self.shuffle else np.float32(0)
        rows = np.argsort(sizes.astype(np.float32) * (1 + noise), kind="stable").astype(np.int32)
        del positions, noise
        widest = np.maximum.accumulate(sizes[rows]) if len(rows) else sizes
        bounds = cut_batches(widest, self.batch_frames, self.max_attention)
        order = rng.permutation(len(bounds) - 1) if self.shuffle else np.arange(len(bounds) - 1)
        if len(order):
            longest = np.maximum.reduceat(sizes[rows], bounds[:-1])
            for key in (longest * np.diff(bounds), longest):
                order = _to_front(order, int(np.argmax(key)))
        if self._numbers is not None:
            items = np.asarray(self._numbers, np.int32)[items]
        return Plan(items, starts, rows, bounds, order)


class EpochStart(NamedTuple):
    """Where an epoch began, or was gone on with."""

    step: int  # optimiser steps before it
    epoch: int
    done: int  # batches of it, of all ranks, that had been seen before


class EndlessBatches(Sampler[list[RowIndex]]):
    """Epoch after epoch of a sampler without end, and where in them training stands.

    Training is counted in steps: epochs differ in length, as rows are joined anew in each.
    """

    def __init__(self, sampler: FrameBudgetSampler):
        self.sampler = sampler
        self._begun = [EpochStart(0, 0, 0)]  # every epoch so far
        self._plans: dict[int, int] = {}  # fingerprints of the plans of the epochs that were begun
        self._expected: int | None = None  # that of the epoch which was interrupted

    def __iter__(self) -> Iterator[list[RowIndex]]:
        step, epoch, done = self._begun[-1]
        empty = 0  # epochs in a row that gave no step
        while True:
            plan = self.sampler.plan(epoch)
            length, self._plans[epoch] = len(plan), plan.fingerprint()
            if self._expected not in (None, self._plans[epoch]):
                logger.warning("The data or its batches have changed: epoch %d begins anew.", epoch)
                done, self._begun[-1] = 0, EpochStart(step, epoch, 0)
            self._expected = None
            empty = empty + 1 if length < self.sampler.world_size else 0
            if empty == 3:
                raise UserError(
                    f"{length} batches of data for {self.sampler.world_size} ranks; lower data.batch_frames or take "
                    "fewer devices"
                )
            yield from self.sampler.share(epoch, done)
            step += (length - done) // self.sampler.world_size
            epoch, done = epoch + 1, 0
            self._begun.append(EpochStart(step, epoch, done))

    def state_dict(self, steps: int) -> dict[str, int]:
        """Where training stands after ``steps`` steps in all, for any number of ranks to go on from."""
        # What is left of an epoch for too few ranks may be enough for those that go on.
        begun = next((start for start in reversed(self._begun) if start.step < steps), self._begun[0])
        batches = begun.done + (steps - begun.step) * self.sampler.world_size
        return {"steps": steps, "epoch": begun.epoch, "batches": batches, "plan": self._plans.get(begun.epoch)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches already seen, by however many ranks; of a run on shards the steps alone count."""
        self._begun = [EpochStart(state["steps"], state.get("epoch", 0), state.get("batches", 0))]
        self._expected = state.get("plan")


def _to_front(order: Numbers, batch: int) -> Numbers:
    return np.concatenate(([batch], order[order != batch]))
