"""Manifests to batches, for Lightning."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from melle.audio import MelSpec
from melle.data.batch import Batch, collate
from melle.data.batching import EndlessBatches, FrameBudgetSampler
from melle.data.build_features import build_features
from melle.data.dataset import UtteranceDataset
from melle.data.features import FeatureStore
from melle.data.index import Fault, open_index, open_tokenizer
from melle.data.processes import live_on_for_a_while
from melle.data.skipped import SkippedItems
from melle.data.statistics import CorpusStatistics, corpus_statistics
from melle.errors import DataError, UserError
from melle.locks import making
from melle.text import Tokenizer, marks_of

MIN_FRAMES = 5  # fewer say nothing, and batch norms need more than one


class MelleDataModule(lightning.LightningDataModule):
    """Reads JSONL manifests and serves batches within a budget of frames.

    What cannot be used is skipped, logged once and counted (see ``SkippedItems``); the rest goes on.

    Args:
        train, val, test: manifests. ``test`` is only for ``evaluate``, and so are ``test_prompts``, a manifest, and
            ``test_seconds``, the shortest and the longest recording that it takes.
        corpus: an object with ``prepare()`` that makes the manifests where they are missing, or None.
        mel: what a frame is.
        tokenizer: makes the tokenizer from the training texts, such as ``partial(SymbolTokenizer.fit, unit="words")``.
        reduction_factor: r of the network that will read the batches.
        batch_frames: positions per batch: text tokens, mel frames and one more per row, padding counted.
        max_attention: most rows × positions² of a batch, None for no limit.
        max_join: utterances of one speaker joined into a row, at most.  max_row_seconds: limit of joining.
        silence: shortens silences, such as ``SileroTrim()``, or None.
        features: folder of log-mels computed before (``python -m melle prepare features``), or None.
        make_features: compute what that folder lacks before training, by a process on every core.
        cache: keep features in memory.
        index: folder for indexes of manifests.
        max_skipped: share of a manifest that may be skipped; three utterances may be in any case, unless it is 0.
        skipped_items: folder in which what is skipped is listed, or None.
        workers: loader processes.  seed: of joining, order and batches.
    """

    def __init__(
        self,
        train: str | Path,
        val: str | Path,
        reduction_factor: int,
        tokenizer: Callable[[Iterable[str]], Tokenizer],
        test: str | Path | None = None,
        test_prompts: str | Path | None = None,
        test_seconds: tuple[float, float] = (4.0, 10.0),
        corpus: Any = None,
        mel: MelSpec | None = None,
        batch_frames: int = 50000,
        max_attention: int | None = None,
        max_join: int = 3,
        max_row_seconds: float = 30.0,
        silence: Callable[[Tensor, int], Tensor] | None = None,
        features: str | Path | None = None,
        make_features: bool = False,
        cache: bool = False,
        index: str | Path = "data/index",
        max_skipped: float = 0.01,
        skipped_items: str | Path | None = None,
        workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.paths = {"train": train, "val": val, "test": test}
        self.corpus = corpus
        self.mel = mel or MelSpec()
        self._fit_tokenizer = tokenizer
        self.reduction_factor = reduction_factor
        self.batch_frames, self.max_attention = batch_frames, max_attention
        self.max_join, self.max_row_seconds = max_join, max_row_seconds
        if make_features and features is None:
            raise UserError("data.make_features=true needs a folder to put them: data.features=")
        self.silence, self.features, self.cache = silence, features, cache
        self.make_features = make_features
        self.index, self.max_skipped, self.skipped_items = index, max_skipped, skipped_items
        self.workers, self.seed = workers, seed
        self.tokenizer: Tokenizer | None = None
        self.datasets: dict[str, UtteranceDataset] = {}
        self.skipped: dict[str, SkippedItems] = {}
        self._kept: dict[str, NDArray] = {}  # (N,) bool: which utterances take part
        self._max_row_tokens = 2**31
        self._batches: EndlessBatches | None = None
        self._begun = (0, 0)  # optimiser steps and batches before this process began
        self._state: dict[str, int] | None = None
        self._found: list[tuple[str, Fault]] = []  # faults that other ranks do not know yet

    def prepare_data(self) -> None:
        if self.corpus is not None:
            self.corpus.prepare()
        if self.make_features:
            with making(Path(self.features), "computing these features"):
                report = build_features([self.paths["train"], self.paths["val"]], self.features, self.mel, self.silence)
            if report.made:
                print(report.text, file=sys.stderr)

    def setup(self, stage: str | None = None) -> None:
        if self.datasets:
            return
        self.tokenizer = open_tokenizer(self.paths["train"], self._fit_tokenizer, self.index)
        stored = None
        if self.features is not None:
            store = FeatureStore(self.features, self.mel, _describe(self.silence))
            if store.is_empty():
                raise UserError(
                    f"data.features={self.features} holds no features of this data.mel and vad; compute them before "
                    "training with data.make_features=true"
                )
            stored = store.get
        for split in ("train", "val"):
            index = open_index(self.paths[split], self.tokenizer, self.mel.frame_rate, self.index)
            data = UtteranceDataset(index, self.tokenizer, self.mel, self.cache, self.silence, stored)
            self._admit(split, data)

    def _admit(self, split: str, data: UtteranceDataset) -> None:
        """Take a dataset, and say what of it is skipped."""
        faults = data.index.faults
        total = len(data.index) + len(faults)
        listing = Path(self.skipped_items) / f"{split}.jsonl" if self.skipped_items else None
        inherited = getattr(self._fit_tokenizer, "keywords", {}).get("checkpoint")
        skipped = SkippedItems(self.paths[split], total, self.max_skipped, listing, _rank(), inherited)
        for fault in faults:  # all of them before the share is checked, so that an error says how many there are
            skipped.count(fault, log=skipped.rank == 0)
        skipped.check()
        self.datasets[split], self.skipped[split] = data, skipped
        self._kept[split] = np.ones(len(data.index), dtype=bool)
        frames = data.index.column("frames")
        short = f"frames, fewer than {MIN_FRAMES}"
        self._skip(split, "too short", frames < MIN_FRAMES, lambda n: f"{frames[n]} {short}")
        self._skip_over_budget(split)

    def keep_within(self, most_tokens: int, most_steps: int) -> None:
        """Skip what is longer than the positions that a network learns; joining keeps within them, too."""
        most_frames = most_steps * self.reduction_factor
        marks = marks_of(self.tokenizer).count
        self._max_row_tokens = most_tokens - marks
        self.max_row_seconds = min(self.max_row_seconds, most_frames / self.mel.frame_rate)
        for split, data in self.datasets.items():
            tokens, frames = data.index.column("tokens"), data.index.column("frames")
            long = (tokens + marks > most_tokens) | (frames > most_frames)
            self._skip(
                split,
                "too long",
                long,
                lambda n, tokens=tokens, frames=frames: (
                    f"{tokens[n] + marks} tokens and {-(-int(frames[n]) // self.reduction_factor)} mel steps, but "
                    f"model.max_text={most_tokens} and model.max_steps={most_steps}"
                ),
            )

    def _skip_over_budget(self, split: str) -> None:
        index = self.datasets[split].index
        size = np.asarray(index.column("frames"), np.int64) + index.column("tokens") + 1
        budgets = f"data.batch_frames={self.batch_frames}"
        over = size > self.batch_frames
        if self.max_attention is not None:
            over |= size**2 > self.max_attention
            budgets += f" and data.max_attention={self.max_attention}"
        self._skip(split, "too long", over, lambda n: f"{size[n]} positions, but {budgets}")

    def _skip(self, split: str, kind: str, out: NDArray, why: Callable[[int], str]) -> None:
        data, kept = self.datasets[split], self._kept[split]
        for number in np.flatnonzero(kept & out).tolist():
            error = DataError(kind, f"{self.paths[split]}: {why(number)}")
            self.skipped[split].add(data.fault(number, error), known_to_all=True)
        kept &= ~out
        if not kept.any():
            why_not = self.skipped[split].example or "add one JSON object per utterance"
            raise UserError(f"{self.paths[split]}: no valid utterance is left; {why_not}")

    def statistics(self, sample: int = 500) -> CorpusStatistics:
        """Of the training data, of up to ``sample`` utterances."""
        self.setup()
        data, kept = self.datasets["train"], np.flatnonzero(self._kept["train"])
        chosen = self._sample(kept, min(sample, len(kept)))
        statistics, faults = corpus_statistics(data, chosen)
        for fault in faults:
            self.skipped["train"].add(fault, known_to_all=True)
        if statistics is None:
            raise UserError(f"{self.paths['train']}: none of {len(chosen)} recordings can be used")
        if self.features is not None and data.stored < len(chosen):
            print(
                f"{self.features} has the features of {data.stored} of {len(chosen)} recordings tried; the rest is "
                "computed on the fly. To add them: data.make_features=true",
                file=sys.stderr,
            )
        return replace(statistics, most_tokens=int(data.index.column("tokens")[kept].max()))

    def _sample(self, kept: NDArray, count: int) -> NDArray:
        """So many of the utterances, spread over all of them."""
        return kept[np.linspace(0, len(kept) - 1, count).astype(int)]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches without end: training is counted in steps."""
        self._batches = EndlessBatches(self._make_sampler("train", shuffle=True))
        self._begin()
        if self._state is not None:
            self._batches.load_state_dict(self._state)
        return self._loader_of("train", self._batches)

    def expected_frames(self) -> float:
        """Mel frames that a training batch is expected to hold, without padding: the mean of the first epoch."""
        sampler = self._make_sampler("train", shuffle=True)
        return float(sampler.frames.sum(dtype=np.int64)) / len(sampler.plan(0))

    def _begin(self) -> None:
        """Note where this process begins to count its batches."""
        step = self.trainer.global_step if self.trainer else 0
        if step and self._state is None and _rank() == 0:
            print("The checkpoint is of a run on another kind of data: batches begin anew.", file=sys.stderr)
        self._begun = step, 0 if self._state is None else self._state["steps"]

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader_of("val", self._make_sampler("val", shuffle=False))

    def state_dict(self) -> dict[str, int]:
        """Where training stands after the last optimiser step; Lightning writes it into checkpoints."""
        if self._batches is None or self.trainer is None:
            return {}
        step, batches = self._begun
        batches += (self.trainer.global_step - step) * self.trainer.accumulate_grad_batches
        return self._batches.state_dict(batches)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Lightning calls this before it asks for the loader."""
        self._state = state_dict or None

    def on_before_batch_transfer(self, batch: Batch, _dataloader_idx: int) -> Batch:
        split = "train" if self.trainer is None or self.trainer.training else "val"
        alone = self.trainer is None or self.trainer.world_size == 1
        for fault in batch.faults:
            if alone:
                self.skipped[split].add(fault)
            else:  # a rank that ended alone would leave the others waiting: they look together
                self.skipped[split].count(fault, log=True)
                self._found.append((split, fault))
        return batch

    def share_faults(self) -> None:
        """Exchange what ranks have found since the last time, so that all count alike; called by all ranks."""
        found: list = [None] * dist.get_world_size()
        dist.all_gather_object(found, self._found)
        self._found = []
        for split, fault in (item for items in found for item in items):
            self.skipped[split].count(fault, log=False)
        for skipped in self.skipped.values():
            skipped.check()

    def _make_sampler(self, split: str, shuffle: bool) -> FrameBudgetSampler:
        index, kept, trainer = self.datasets[split].index, self._kept[split], self.trainer
        return FrameBudgetSampler(
            speakers=index.column("speaker"),
            frames=index.column("frames"),
            tokens=index.column("tokens"),
            items=None if kept.all() else np.flatnonzero(kept).astype(np.int32),
            **self._limits(),
            seed=self.seed,
            shuffle=shuffle,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )

    def _limits(self) -> dict[str, Any]:
        """Of batches and rows, as ``FrameBudgetSampler`` takes them."""
        return {
            "batch_frames": self.batch_frames,
            "max_attention": self.max_attention,
            "max_join": self.max_join,
            "max_row_frames": round(self.max_row_seconds * self.mel.frame_rate),
            "max_row_tokens": self._max_row_tokens,
        }

    def _loader_of(self, split: str, sampler: FrameBudgetSampler | EndlessBatches) -> DataLoader[Batch]:
        how = {"reduction_factor": self.reduction_factor, "n_mels": self.mel.n_mels, "marks": marks_of(self.tokenizer)}
        return self._loader(self.datasets[split], batch_sampler=sampler, collate_fn=partial(collate, **how))

    def _loader(self, data: Dataset, **batching: Any) -> DataLoader[Batch]:
        return DataLoader(
            data,
            **batching,
            num_workers=self.workers,
            worker_init_fn=live_on_for_a_while,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def _rank() -> int:
    """Before there is a trainer the environment knows it, as set by torchrun, SLURM or Lightning.

    Lightning's own launcher does not say how many processes a node has; 1000 a node keep the numbers apart.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return 1000 * int(os.environ.get("NODE_RANK", 0)) + int(os.environ.get("LOCAL_RANK", 0))


def _describe(silence: Any) -> str:
    return "" if silence is None else silence.description
