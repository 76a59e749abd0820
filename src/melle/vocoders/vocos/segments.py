"""Recordings as a vocoder learns from them: short segments, with the mel frames of just that place."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from melle.audio import LogMel, MelSpec, load_audio
from melle.console import shell_command
from melle.data.features import FeatureStore
from melle.data.manifest import Utterance, read_manifest
from melle.errors import DataError, UserError

logger = logging.getLogger(__name__)

Segment = tuple[Tensor, Tensor]  # waveform (T · hop_length,) and log10 mel (T, M)


class Recordings:
    """Waveforms of a manifest's utterances at the mel's rate; what cannot be read is left out, with one warning."""

    def __init__(self, manifest: str | Path, spec: MelSpec, cache: bool):
        self.utterances: list[Utterance] = read_manifest(manifest)
        self.look = shell_command("python", "-m", "melle", "check", manifest)
        self.spec, self._cache = spec, {} if cache else None
        self._warned = False

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, number: int) -> Tensor:
        """(N,), perhaps empty where the recording is of no use."""
        if self._cache is not None and number in self._cache:
            return self._cache[number]
        try:
            waveform = load_audio(self.utterances[number].audio_path, self.spec.sample_rate)
        except DataError as error:
            waveform = torch.zeros(0)
            if not self._warned:
                self._warned = True
                logger.warning("left out: %s; all such recordings are listed by: %s", error, self.look)
        if self._cache is not None:
            self._cache[number] = waveform
        return waveform


class Predictions:
    """What a model predicts of recordings (``prepare predictions``), in the place of a share of their own frames.

    Raises UserError where the folder holds none of this mel.
    """

    def __init__(self, folder: str | Path, spec: MelSpec, share: float):
        if not 0 <= share <= 1:
            raise UserError(f"vocoder_data.predicted_share={share} must be at least 0 and at most 1")
        self.store, self.share = FeatureStore(folder, spec, predicted=True), share
        if self.store.is_empty():
            raise UserError(
                f"vocoder_data.predictions={folder}: holds no predictions of such mel frames; {_how_to_predict()}"
            )

    def check(self, utterances: Sequence[Utterance], manifest: str | Path) -> None:
        """Warn where not all recordings have predictions; raises UserError where none has."""
        there = sum(self.store.has(utterance.audio_path) for utterance in utterances)
        if not there:
            raise UserError(
                f"{self.store.folder.parent}: holds predictions of none of the recordings of {manifest} as they are "
                f"now; {_how_to_predict()}"
            )
        if there < len(utterances):
            logger.warning(
                "%d of %d recordings of %s have no predictions and keep their own frames",
                *(len(utterances) - there, len(utterances), manifest),
            )

    def cut(self, path: Path, start: int, frames: int, gain: float) -> Tensor | None:
        """``frames`` frames (T, M) from frame ``start``, ``gain`` times as loud; None where there are none."""
        mel = self.store.get(path)
        if mel is None:
            return None
        floor = math.log10(self.store.spec.floor)
        mel = (mel[start : start + frames] + math.log10(gain)).clamp(min=floor)
        return torch.nn.functional.pad(mel, (0, 0, 0, frames - len(mel)), value=floor)


def _how_to_predict() -> str:
    return "make them with: " + shell_command("python", "-m", "melle", "prepare", "predictions", "--help")


def cut(waveform: Tensor, start: int, frames: int, log_mel: LogMel) -> Segment:
    """``frames`` frames from frame ``start``, with zeros where the recording has ended."""
    hop, reach = log_mel.spec.hop_length, log_mel.spec.n_fft
    # Frames are centred: those of the whole recording, but for its edges, need no more than a window around.
    before = min(start, -(-reach // hop))
    around = waveform[(start - before) * hop : (start + frames) * hop + reach]
    missing = (before + frames) * hop + reach - len(around)
    around = torch.nn.functional.pad(around, (0, max(0, missing)))
    mel = log_mel(around)[before : before + frames]
    return around[before * hop : (before + frames) * hop], mel


class SegmentBatches(IterableDataset[Segment]):
    """Batches without end: number n holds what (seed, n) draws, whichever process makes it, and in every run alike.

    Args:
        first: number of the first batch.  size: segments of a batch.  frames: of a segment.
        gain: (least, most) decibels by which a segment is made louder, for voices of any loudness.
        predictions: in the place of a share of the recordings' frames.
    """

    def __init__(
        self,
        recordings: Recordings,
        first: int,
        size: int,
        frames: int,
        gain: tuple[float, float],
        seed: int,
        predictions: Predictions | None = None,
    ):
        self.predictions = predictions
        self.recordings, self.first, self.size, self.frames = recordings, first, size, frames
        self.gain, self.seed = gain, seed
        self._log_mel = LogMel(recordings.spec)

    def __iter__(self) -> Iterator[Segment]:
        worker = get_worker_info()
        number, stride = (self.first, 1) if worker is None else (self.first + worker.id, worker.num_workers)
        while True:
            yield self.batch(number)
            number += stride

    def batch(self, number: int) -> Segment:
        """Waveforms (B, T · hop_length) and mels (B, T, M)."""
        rng = np.random.default_rng((self.seed, number))
        segments: list[Segment] = []
        failures = 0
        while len(segments) < self.size:
            number = int(rng.integers(len(self.recordings)))
            waveform = self.recordings[number]
            if not len(waveform):
                failures += 1
                if failures > 100 * self.size:
                    raise UserError(
                        f"of the recordings tried none can be read; look at them with: {self.recordings.look}"
                    )
                continue
            last = len(waveform) // self.recordings.spec.hop_length - self.frames
            start = int(rng.integers(max(1, last + 1)))
            louder = min(10 ** (rng.uniform(*self.gain) / 20), 1 / max(float(waveform.abs().max()), 1e-3))
            sound, mel = cut(waveform * louder, start, self.frames, self._log_mel)
            if self.predictions is not None and rng.random() < self.predictions.share:
                path = self.recordings.utterances[number].audio_path
                predicted = self.predictions.cut(path, start, self.frames, louder)
                mel = mel if predicted is None else predicted
            segments.append((sound, mel))
        return torch.stack([wave for wave, _ in segments]), torch.stack([mel for _, mel in segments])


class WholeRecordings(Dataset[Segment]):
    """The first ``count`` recordings, from their beginning, at most ``frames`` frames of each."""

    def __init__(self, recordings: Recordings, count: int, frames: int):
        spread = np.linspace(0, len(recordings) - 1, min(count, len(recordings))).astype(int)
        self.recordings, self.frames = recordings, frames
        self._chosen = [int(number) for number in spread if len(recordings[int(number)])]
        self._log_mel = LogMel(recordings.spec)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Segment:
        waveform = self.recordings[self._chosen[index]]
        return cut(
            waveform, 0, max(1, min(self.frames, len(waveform) // self.recordings.spec.hop_length)), self._log_mel
        )
