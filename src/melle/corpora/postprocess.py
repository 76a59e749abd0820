"""Post-processing of synthesized sound before it is written: resampled to 16 kHz, trimmed, set to a voice's level."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from melle.audio import resample

SAMPLE_RATE = 16000  # samples per second
LEVEL = -24.0  # dB, root mean square of an utterance relative to full scale
LEVEL_SPREAD = 1.0  # dB: a voice is louder or softer than LEVEL by up to this
PEAK = 0.98  # no sample is larger

Words = tuple[tuple[float, float], ...]  # begin and end of every word in seconds


def level(voice: str, seed: int) -> float:
    """A voice's root mean square relative to full scale, in dB."""
    generator = np.random.default_rng([seed, zlib.crc32(voice.encode())])
    return LEVEL + LEVEL_SPREAD * generator.uniform(-1, 1)


def postprocess(
    waveform: np.ndarray, sample_rate: int, decibels: float, margin: float, silence: float
) -> tuple[np.ndarray, float]:
    """Resample to 16 kHz, trim to the speech and ``margin`` seconds around it, set the level.

    Silent is what is ``silence`` dB or more below the loudest 10 ms.
    (N samples) to (N' samples), float32, and the seconds by which everything in it comes earlier than it was.
    """
    speech, earlier = _trim(resample(torch.from_numpy(waveform), sample_rate, SAMPLE_RATE).numpy(), margin, silence)
    gain = 10 ** (decibels / 20) / max(float(np.sqrt(np.mean(speech.astype(np.float64) ** 2))), 1e-8)
    gain = min(gain, PEAK / max(float(np.abs(speech).max()), 1e-8))
    return speech * np.float32(gain), earlier


def shifted(words: Words, earlier: float, duration: float) -> Words:
    """The times of words in what was trimmed by ``earlier`` seconds to ``duration``, to the millisecond."""
    times = np.clip(np.asarray(words, dtype=np.float64).reshape(-1, 2) - earlier, 0, duration).round(3)
    return tuple((begin, end) for begin, end in times.tolist())


def _trim(speech: np.ndarray, margin: float, silence: float) -> tuple[np.ndarray, float]:
    """Leave ``margin`` of silence at both ends, cut or filled up; the seconds cut before, negative where filled."""
    frame, kept = SAMPLE_RATE // 100, round(margin * SAMPLE_RATE)
    frames = speech[: len(speech) // frame * frame].reshape(-1, frame)
    loudness = np.sqrt(np.mean(frames.astype(np.float64) ** 2, axis=1))
    loud = np.flatnonzero(loudness > loudness.max(initial=0.0) * 10 ** (silence / 20))
    if len(loud) == 0:
        return speech, 0.0
    start = int(loud[0]) * frame
    return np.pad(speech, kept)[start : (loud[-1] + 1) * frame + 2 * kept], (start - kept) / SAMPLE_RATE
