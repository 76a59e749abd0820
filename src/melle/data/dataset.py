"""Utterances as token ids and log-mel frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from melle.audio import LogMel, MelSpec, load_audio
from melle.data.batch import Row
from melle.data.batching import RowIndex
from melle.data.manifest import Utterance
from melle.text import Tokenizer


class UtteranceDataset(Dataset[Row]):
    """Rows of utterances, features computed on the fly; with ``cache`` kept in memory once computed (float16)."""

    def __init__(self, utterances: list[Utterance], tokenizer: Tokenizer, spec: MelSpec, cache: bool):
        self.utterances, self.tokenizer = utterances, tokenizer
        self.log_mel = LogMel(spec)
        self._cache: dict[int, Tensor] | None = {} if cache else None

    def mel(self, index: int) -> Tensor:
        """log10 mel (T, M) of one utterance."""
        if self._cache is not None and index in self._cache:
            return self._cache[index].float()
        mel = self.log_mel(load_audio(self.utterances[index].audio_path, self.log_mel.spec.sample_rate))
        if self._cache is not None:
            # Half precision resolves log10 magnitudes to 0.004 (0.08 dB), far below what can be heard.
            self._cache[index] = mel.to(torch.float16)
            return self._cache[index].float()
        return mel

    def __getitem__(self, row: RowIndex) -> Row:
        chosen = [self.utterances[index] for index in row]
        return Row(
            tokens=[self.tokenizer.encode(utterance.transcription) for utterance in chosen],
            mels=[self.mel(index) for index in row],
            ids=[utterance.id for utterance in chosen],
        )

    def __len__(self) -> int:
        return len(self.utterances)
