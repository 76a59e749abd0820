"""Which utterances share a row, and which rows share a batch: seeded, and the same on every rank."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

RowIndex = tuple[int, ...]


def join_rows(
    speakers: Sequence[str], frames: Sequence[int], max_join: int, max_row_frames: int, rng: random.Random
) -> list[RowIndex]:
    """Put every utterance into exactly one row of 1 to ``max_join`` utterances of one speaker.

    Joined utterances teach the network to go on in the voice of what came before, which is what a prompt asks of it.
    A row never grows past ``max_row_frames`` by joining.
    """
    by_speaker = defaultdict(list)
    for index, speaker in enumerate(speakers):
        by_speaker[speaker].append(index)
    rows = []
    for speaker in sorted(by_speaker):
        own = by_speaker[speaker]
        rng.shuffle(own)
        row: list[int] = []
        wanted = rng.randint(1, max_join)
        for index in own:
            if row and (len(row) == wanted or sum(frames[i] for i in row) + frames[index] > max_row_frames):
                rows.append(tuple(row))
                row, wanted = [], rng.randint(1, max_join)
            row.append(index)
        rows.append(tuple(row))
    return rows


class FrameBudgetSampler(Sampler[list[RowIndex]]):
    """Batches of rows of similar length that together stay within a budget of frames, padding counted.

    Every epoch joins, sorts and shuffles anew from ``seed`` and the epoch. All ranks compute the same list and each
    takes its share; ranks get the same number of batches (up to ``world_size`` - 1 batches of an epoch sit out).
    """

    def __init__(
        self,
        speakers: Sequence[str],
        frames: Sequence[int],
        tokens: Sequence[int],
        batch_frames: int,
        max_join: int,
        max_row_frames: int,
        seed: int,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.speakers, self.frames, self.tokens = speakers, frames, tokens
        self.batch_frames, self.max_join, self.max_row_frames = batch_frames, max_join, max_row_frames
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def batches(self) -> list[list[RowIndex]]:
        """This epoch's batches, those of all ranks."""
        rng = random.Random(f"{self.seed}-{self.epoch if self.shuffle else 0}")
        rows = join_rows(self.speakers, self.frames, self.max_join, self.max_row_frames, rng)
        # A little noise in the order keeps rows of equal length from always meeting the same neighbours.
        rows.sort(key=lambda row: self._size(row) * (rng.uniform(0.95, 1.05) if self.shuffle else 1.0))
        batches: list[list[RowIndex]] = []
        widest = 0
        for row in rows:
            size = self._size(row)
            if batches and max(widest, size) * (len(batches[-1]) + 1) <= self.batch_frames:
                batches[-1].append(row)
                widest = max(widest, size)
            else:
                batches.append([row])
                widest = size
        if self.shuffle:
            rng.shuffle(batches)
        return batches

    def __iter__(self) -> Iterator[list[RowIndex]]:
        batches = self.batches()
        for index in range(len(batches) // self.world_size):
            yield batches[index * self.world_size + self.rank]

    def __len__(self) -> int:
        return len(self.batches()) // self.world_size

    def _size(self, row: RowIndex) -> int:
        return sum(self.frames[i] + self.tokens[i] for i in row) + 1
