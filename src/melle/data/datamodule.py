"""Manifests to batches, for Lightning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from melle.audio import MelSpec
from melle.data.batch import Batch, collate
from melle.data.batching import FrameBudgetSampler
from melle.data.dataset import UtteranceDataset
from melle.data.manifest import Utterance, read_manifest, with_duration
from melle.errors import UserError
from melle.text import Tokenizer


@dataclass(frozen=True)
class CorpusStatistics:
    """What the network is told about its training data."""

    mel_mean: float  # log10
    mel_std: float  # log10
    frames_per_token: float


class MelleDataModule(lightning.LightningDataModule):
    """Reads JSONL manifests and serves batches within a budget of frames.

    Args:
        train, validation, test: manifests. ``test`` is only for ``evaluate``.
        corpus: an object with ``prepare()`` that makes the manifests where they are missing, or None.
        mel: what a frame is.
        tokenizer: makes the tokenizer from the training texts, such as ``partial(SymbolTokenizer.fit, unit="words")``.
        reduction_factor: r of the network that will read the batches.
        batch_frames: frames and tokens per batch, padding counted.
        max_join: utterances of one speaker joined into a row, at most.  max_row_seconds: limit of joining.
        cache: keep features in memory.  workers: loader processes.  seed: of joining, order and batches.
    """

    def __init__(
        self,
        train: str | Path,
        validation: str | Path,
        reduction_factor: int,
        tokenizer: Callable[[list[str]], Tokenizer],
        test: str | Path | None = None,
        corpus: Any = None,
        mel: MelSpec | None = None,
        batch_frames: int = 50000,
        max_join: int = 3,
        max_row_seconds: float = 20.0,
        cache: bool = False,
        workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.paths = {"train": train, "validation": validation, "test": test}
        self.corpus = corpus
        self.mel = mel or MelSpec()
        self._fit_tokenizer = tokenizer
        self.reduction_factor = reduction_factor
        self.batch_frames, self.max_join, self.max_row_seconds = batch_frames, max_join, max_row_seconds
        self.cache, self.workers, self.seed = cache, workers, seed
        self.tokenizer: Tokenizer | None = None
        self.datasets: dict[str, UtteranceDataset] = {}

    def prepare_data(self) -> None:
        if self.corpus is not None:
            self.corpus.prepare()

    def setup(self, stage: str | None = None) -> None:
        if self.datasets:
            return
        for split in ("train", "validation"):
            utterances = read_manifest(self.paths[split])
            if split == "train":
                self.tokenizer = self._fit_tokenizer([utterance.transcription for utterance in utterances])
            for utterance in utterances:
                self._check(utterance, self.paths[split])
            utterances = [with_duration(utterance) for utterance in utterances]
            self.datasets[split] = UtteranceDataset(utterances, self.tokenizer, self.mel, self.cache)

    def statistics(self, sample: int = 500) -> CorpusStatistics:
        """Mean and deviation of the training mels over up to ``sample`` utterances, and their pace."""
        self.setup()
        data = self.datasets["train"]
        frames = tokens = 0
        total, square, count = 0.0, 0.0, 0
        indices = range(0, len(data), max(1, len(data) // sample))
        for index in tqdm(indices, desc="mel statistics", leave=False):
            mel = data.mel(index).double()
            total, square, count = total + mel.sum().item(), square + mel.square().sum().item(), count + mel.numel()
            frames += len(mel)
            tokens += len(self.tokenizer.encode(data.utterances[index].transcription))
        mean = total / count
        return CorpusStatistics(mean, max(square / count - mean**2, 1e-8) ** 0.5, frames / tokens)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("validation", shuffle=False)

    def _loader(self, split: str, shuffle: bool) -> DataLoader[Batch]:
        data = self.datasets[split]
        trainer = self.trainer
        sampler = FrameBudgetSampler(
            speakers=[u.speaker or u.id for u in data.utterances],
            frames=[round(u.duration * self.mel.frame_rate) + 1 for u in data.utterances],
            tokens=[len(self.tokenizer.encode(u.transcription)) for u in data.utterances],
            batch_frames=self.batch_frames,
            max_join=self.max_join,
            max_row_frames=round(self.max_row_seconds * self.mel.frame_rate),
            seed=self.seed,
            shuffle=shuffle,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return DataLoader(
            data,
            batch_sampler=sampler,
            collate_fn=partial(collate, reduction_factor=self.reduction_factor),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _check(self, utterance: Utterance, manifest: str | Path) -> None:
        if not utterance.audio_path.is_file():
            raise UserError(
                f"{utterance.audio_path}: no such file ({manifest}, utterance {utterance.id}); mend its audio_path"
            )
        try:
            self.tokenizer.encode(utterance.transcription)
        except UserError as error:
            raise UserError(f"{manifest}, utterance {utterance.id}: {error}") from None
