"""Utterances as token ids and log-mel frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from melle.audio import LogMel, MelSpec, load_audio
from melle.data.batch import Row, word_pace
from melle.data.batching import RowIndex
from melle.data.index import Fault, ManifestIndex
from melle.data.manifest import Utterance
from melle.errors import DataError
from melle.text import Tokenizer
from melle.text.words import word_tokens

LONGER = 1.05  # a recording may be this much longer than planned, and
SPARE = 8  # frames more, before its batch would no longer fit


class UtteranceDataset(Dataset[Row]):
    """Rows of utterances of an index, features computed on the fly.

    Args:
        index: the manifest's.  tokenizer: gives the ids.  spec: what a frame is.
        cache: keep the features in memory once computed (float16, in every loader process).
        silence: makes a waveform (N,) at a sample rate shorter, or None.
        features: gives the log10 mel (T, M) of a recording where it was computed before, else None.
    """

    def __init__(
        self,
        index: ManifestIndex,
        tokenizer: Tokenizer,
        spec: MelSpec,
        cache: bool = False,
        silence: Callable[[Tensor, int], Tensor] | None = None,
        features: Callable[[Path], Tensor | None] | None = None,
    ):
        self.index, self.tokenizer = index, tokenizer
        self.log_mel = LogMel(spec)
        self.silence, self.features = silence, features
        self.stored = 0  # how often ``features`` had what was asked for
        self._cache: dict[int, Tensor] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: RowIndex) -> Row:
        """The row without the utterances that cannot be used; those are its faults."""
        return self.row(row, self.load)

    def row(self, numbers: RowIndex, load: Callable[[int], tuple[Utterance, Tensor]]) -> Row:
        """A row of what ``load`` gives of each number: the utterance and its log10 mel (T, M)."""
        row = Row([], [], [], [])
        for number in numbers:
            try:
                utterance, mel = load(number)
            except DataError as error:
                row.faults.append(self.fault(number, error))
                continue
            except Exception as error:  # a broken file can make any of the libraries fail
                unreadable = DataError("unreadable", f"{self.place(number)}: {type(error).__name__}: {error}")
                row.faults.append(self.fault(number, unreadable))
                continue
            tokens = self.tokenizer.encode(utterance.transcription, strict=True, follows=bool(row.ids))
            row.tokens.append(tokens)
            row.pace.append(self._pace(utterance, tokens))
            row.mels.append(mel)
            row.ids.append(utterance.id)
        return row

    def load(self, number: int) -> tuple[Utterance, Tensor]:
        """An utterance and its log10 mel (T, M). Raises DataError where its recording cannot be used."""
        utterance = self.index[number]
        if self._cache is not None and number in self._cache:
            return utterance, self._cache[number].float()
        planned = int(self.index.column("frames")[number])
        mel = self._compute(utterance, round(planned * LONGER) + SPARE)
        if self._cache is not None:
            # Half precision resolves log10 magnitudes to 0.004 (0.08 dB), far below what is audible.
            self._cache[number] = mel.to(torch.float16)
            mel = self._cache[number].float()
        return utterance, mel

    def mel(self, number: int) -> Tensor:
        """log10 mel (T, M) of one utterance. Raises DataError where its recording cannot be used."""
        return self.load(number)[1]

    def place(self, number: int) -> str:
        """What messages call the recording of an utterance."""
        return str(self.index[number].audio_path)

    def fault(self, number: int, error: DataError) -> Fault:
        """What is wrong with an utterance, as a record."""
        name, line = self.index[number].id, int(self.index.column("line")[number])
        return Fault(name, error.kind, f"{error} (utterance {name})", line)

    def _pace(self, utterance: Utterance, tokens: list[int]) -> Tensor | None:
        """How tokens follow frames, by the times of the words; None where they are unknown, or where silences go."""
        if not utterance.words or self.silence is not None:
            return None
        rate = self.log_mel.spec.frame_rate
        words = [(begin * rate, end * rate) for begin, end in utterance.words]
        spans: Sequence[tuple[float, float]] | None = word_tokens(self.tokenizer, utterance.transcription, tokens)
        if len(spans) != len(words):  # a teacher's words are as espeak says them, "in the" being one
            spans = self.tokenizer.word_spans(tokens)
        return word_pace(words, spans, len(tokens), utterance.transcription)

    def _compute(self, utterance: Utterance, most_frames: int) -> Tensor:
        if self.features is not None:
            mel = self.features(utterance.audio_path)
            if mel is not None and len(mel) <= most_frames:
                self.stored += 1
                return mel
        most = most_frames / self.log_mel.spec.frame_rate
        waveform = load_audio(utterance.audio_path, self.log_mel.spec.sample_rate, most)
        if self.silence is not None:
            waveform = self.silence(waveform, self.log_mel.spec.sample_rate)
        return self.log_mel(waveform)
