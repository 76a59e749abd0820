"""Pitch by librosa: how high a voice is, how much it moves, and how much of the clip is voiced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from melle.evaluation.judges.base import QualityPredictor, audible
from melle.evaluation.judges.loading import packages_of

RATE = 16000  # samples per second
LOWEST, HIGHEST = 60.0, 500.0  # Hz
WINDOW, HOP = 1024, 256  # samples


@dataclass(eq=False)
class Pitch(QualityPredictor):
    """pYIN (Mauch and Dixon 2014). Gives, of frames every 16 ms,

    ``pitch``: median fundamental frequency (F0) of the voiced frames, Hz; ``pitch_deviation``: standard deviation of F0
    about that median, semitones; ``voiced``: share of frames that are voiced. Where none is, ``voiced`` alone.

    librosa compiles itself when it is first used, half a minute; then a second of speech takes about 0.2 s.
    """

    name = "pitch"
    packages = ("librosa",)

    def __post_init__(self) -> None:
        with packages_of("quality", "pitch"):
            import librosa
        self._pyin = librosa.pyin

    def rate(self, waveform: Tensor, sample_rate: int) -> dict[str, float]:
        if len(waveform) * RATE < WINDOW * sample_rate:
            return {}
        samples = audible(waveform, sample_rate, RATE)
        if samples is None:
            return {"voiced": 0.0}
        pitch, voiced, _ = self._pyin(
            samples.numpy(), fmin=LOWEST, fmax=HIGHEST, sr=RATE, frame_length=WINDOW, hop_length=HOP
        )
        pitch = pitch[voiced]
        if not len(pitch):
            return {"voiced": 0.0}
        median = np.median(pitch)
        deviation = np.sqrt(np.mean((12 * np.log2(pitch / median)) ** 2))
        return {"pitch": float(median), "pitch_deviation": float(deviation), "voiced": float(voiced.mean())}
