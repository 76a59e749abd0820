"""Training from shards: tar files read from one end to the other, from disks or from elsewhere.

The lengths, speakers and names of all utterances are read beforehand, as they are of a manifest; so batches keep the
same budgets, every rank takes the same number of steps, and a run goes on exactly where it stopped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from melle.data.batch import Batch, collate
from melle.data.batching import RowIndex
from melle.data.datamodule import MelleDataModule
from melle.data.dataset import LONGER, SPARE, UtteranceDataset
from melle.data.index import Fault, open_index
from melle.data.manifest import Utterance
from melle.data.shar.index import ShardIndex, open_shard_index, open_shard_tokenizer
from melle.data.shar.reading import StoredItem, find_shards, parse_cut, read_items, waveform
from melle.data.shar.schedule import Blocks, Schedule
from melle.data.sources.archives import require_lhotse
from melle.data.statistics import CorpusStatistics
from melle.errors import DataError, UserError
from melle.text import marks_of

StoredItems = dict[int, StoredItem]

logger = logging.getLogger(__name__)


class ShardUtterances(UtteranceDataset):
    """Rows of utterances in shards, features computed on the fly."""

    index: ShardIndex
    _read: StoredItems | None = None  # what was last read by ``load``

    def read(self, numbers: NDArray) -> StoredItems:
        """The utterances of these numbers, their recordings as stored (compressed), in one pass over their shards."""
        items: StoredItems = {}
        owners = self.index.shard_of(numbers)
        for shard in np.unique(owners).tolist():
            lines = self.index.column("line")[numbers[owners == shard]].tolist()
            places = dict(zip(lines, numbers[owners == shard].tolist()))
            found = read_items(self.index.shards[shard], lines)
            items.update({places[line]: item for line, item in found.items()})
        return items

    def load(self, number: int) -> tuple[Utterance, Tensor]:
        """An utterance and its log10 mel (T, M); its shard is read whole. Raises DataError where it cannot be used."""
        if self._read is None or number not in self._read:
            shard = self._shard_of(number)
            self._read = self.read(np.arange(*self.index.column("start")[shard : shard + 2]))
        return self.decode(number, self._read[number])

    def decode(self, number: int, item: StoredItem) -> tuple[Utterance, Tensor]:
        """The utterance that was read, and its log10 mel (T, M). Raises DataError where it cannot be used."""
        name, where, rate = self.index.name(number), self.place(number), self.log_mel.spec.sample_rate
        sound = waveform(item, rate, where)
        if self.silence is not None:
            sound = self.silence(sound, rate)
        mel = self.log_mel(sound)
        planned = int(self.index.column("frames")[number])
        if len(mel) > planned * LONGER + SPARE:
            raise DataError("wrong duration", f"{where}: {len(mel)} frames where its cut says {planned}; write it anew")
        utterance = parse_cut(item.line, name)
        if utterance.id != name:
            raise DataError("changed", f"{name}: its shard has changed; remove the folder data.index names")
        return utterance, mel

    def place(self, number: int) -> str:
        """What messages call the recording of an utterance."""
        return f"{self.index.shards[self._shard_of(number)].recording}, utterance {self.index.name(number)}"

    def fault(self, number: int, error: DataError) -> Fault:
        """What is wrong with an utterance, as a record; its name is in the error already."""
        return Fault(self.index.name(number), error.kind, str(error))

    def _shard_of(self, number: int) -> int:
        return int(self.index.shard_of(np.array([number]))[0])

    def forget(self) -> None:
        """Free what ``load`` has read."""
        self._read = None


class ShardBatches(IterableDataset[Batch]):
    """Batches without end for one rank; each loader process reads its own blocks, the next while it gives the last.

    Args:
        utterances: what is read.  blocks: which batches there are.
        state: of the ``Schedule`` that says who gives them.  rank: this one of its ranks.  reduction_factor: r.
    """

    def __init__(
        self, utterances: ShardUtterances, blocks: Blocks, state: dict[str, Any], rank: int, reduction_factor: int
    ):
        self.utterances, self.blocks, self.state = utterances, blocks, state
        self.rank, self.reduction_factor = rank, reduction_factor

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        ranks, slots = self.state["ranks"], max(1, worker.num_workers if worker else 1)
        turns = Schedule(self.blocks.length, ranks, slots, self.state).turns(self.rank, worker.id if worker else 0)
        coming = self._prepare(*next(turns))
        while True:
            rows, items = coming.result()
            half = len(rows) // 2  # by then half of the memory is free again
            for number, batch in enumerate(rows):
                if number == half:
                    coming = self._prepare(*next(turns))
                yield self._collate(batch, items)

    def _prepare(self, block: int, batches: list[int]) -> Future[tuple[list[list[RowIndex]], StoredItems]]:
        plan = self.blocks.plan(block)
        rows = [plan.batch(batch) for batch in batches]
        numbers = np.sort(np.array([number for batch in rows for row in batch for number in row]))
        return _in_background(lambda: (rows, self.utterances.read(numbers)))

    def _collate(self, rows: list[RowIndex], items: StoredItems) -> Batch:
        spec = self.utterances.log_mel.spec
        marks = marks_of(self.utterances.tokenizer)

        def load(number: int) -> tuple[Utterance, Tensor]:
            return self.utterances.decode(number, items.pop(number))  # whose memory is free again

        return collate([self.utterances.row(row, load) for row in rows], self.reduction_factor, spec.n_mels, marks)


class ShardDataModule(MelleDataModule):
    """Trains on shards; validates on a manifest.

    Utterances share a row (``max_join``) where they are of one speaker and lie in the shards that are read at once.

    Args:
        train: folder of shards, or a JSON file with their addresses.  shards_at_once: shards whose utterances are mixed
            and held in memory, compressed, by every loader process of every rank (up to one and a half times as many).
        allow_pipes: addresses in such a file may be commands, ``pipe:COMMAND``, that a shell runs.
        options: as of ``MelleDataModule``.
    """

    def __init__(
        self, train: str | Path, *arguments: Any, shards_at_once: int = 2, allow_pipes: bool = False, **options: Any
    ):
        super().__init__(train, *arguments, **options)
        require_lhotse("shards")
        if shards_at_once < 1:
            raise UserError(f"data.shards_at_once={shards_at_once}: read at least one shard at once")
        if self.features is not None or self.cache:
            raise UserError("data.features and data.cache are for manifests, not for shards; remove them")
        self.shards_at_once, self.allow_pipes = shards_at_once, allow_pipes

    def setup(self, stage: str | None = None) -> None:
        if self.datasets:
            return
        shards = find_shards(self.paths["train"], self.allow_pipes)
        self.tokenizer = open_shard_tokenizer(shards, self._fit_tokenizer, self.index)
        rate = self.mel.frame_rate
        train = open_shard_index(shards, self.tokenizer, rate, self.index)
        val = open_index(self.paths["val"], self.tokenizer, rate, self.index)
        self._admit("train", ShardUtterances(train, self.tokenizer, self.mel, silence=self.silence))
        self._admit("val", UtteranceDataset(val, self.tokenizer, self.mel, silence=self.silence))

    def statistics(self, sample: int = 500) -> CorpusStatistics:
        """Of the training data, of up to ``sample`` utterances."""
        try:
            return super().statistics(sample)
        finally:
            self.datasets["train"].forget()

    def _sample(self, kept: NDArray, count: int) -> NDArray:
        """So many of the utterances, of the first shards: no others are read for it."""
        return kept[:count]

    def expected_frames(self) -> float:
        """Mel frames that a training batch is expected to hold, without padding: the mean of the first block."""
        plan = self._blocks().plan(0)
        return float(self.datasets["train"].index.column("frames")[plan.items].sum(dtype=np.int64)) / len(plan)

    def _blocks(self) -> Blocks:
        kept = np.flatnonzero(self._kept["train"])
        return Blocks(self.datasets["train"].index, kept, self.shards_at_once, self.seed, self._limits())

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches without end: training is counted in steps."""
        self._begin()
        data, blocks = self.datasets["train"], self._blocks()
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        slots = max(1, self.workers)
        if blocks.per_epoch < ranks * slots and rank == 0:
            logger.warning(
                "%s: %d blocks of %d shards for %d loader processes, so that epochs overlap; make smaller shards, or "
                "lower data.shards_at_once or data.workers",
                *(self.paths["train"], blocks.per_epoch, self.shards_at_once, ranks * slots),
            )
        self._batches = Schedule(blocks.length, ranks, slots, self._state)
        batches = ShardBatches(data, blocks, self._batches.state_dict(), rank, self.reduction_factor)
        return self._loader(batches, batch_size=None)  # they are batches already


def _in_background(work: Callable[[], Any]) -> Future:
    """What ``work`` gives, computed in a thread that does not keep the process from ending."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # for who waits for it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
