"""A prompt's recording before a model reads it: silence trimmed, level matched, faults of the sound pointed out."""

from __future__ import annotations

import torch
from torch import Tensor

from melle.audio import LogMel, loudness, speech_level
from melle.data.silence import speech_span

MOST_OFF = 0.3  # log10, 6 dB: a level that differs less from the training data's is left as it is
FULL_SCALE, CLIPPED_RUN, CLIPPED_SHARE = 0.999, 3, 1e-3  # of the peak; samples in a row; of all samples
# Hz, and how far (log10) below loud speech the bands above are on average, even in hissing sounds. Of 200 recordings of
# full band all but one have less than 2.9; 400 that went through 8,000 samples a second have more than 3.4.
NARROW = (4400.0, 3.1)
NOISY = 0.95  # log10, 19 dB: the least distance of loud speech from what is between words


def trim_silence(waveform: Tensor, log_mel: LogMel) -> Tensor:
    """Waveform (N,) without the silence before its first and after its last sound (see ``silence.speech_span``)."""
    begin, end = speech_span(log_mel(waveform), log_mel.spec)
    return waveform[begin:end]


def match_level(waveform: Tensor, level: float, log_mel: LogMel) -> tuple[Tensor, float]:
    """Waveform (N,) scaled to ``level`` (see ``audio.speech_level``) where it is far from it, and the gain in dB."""
    difference = level - speech_level(log_mel(waveform))
    if abs(difference) <= MOST_OFF:
        return waveform, 0.0
    return waveform * 10**difference, 20 * difference


def sound_faults(waveform: Tensor, log_mel: LogMel) -> list[str]:
    """A sentence for each of what makes a bad prompt of a recording (N,): clipping, narrow band, noise."""
    mel = log_mel(waveform)
    level = loudness(mel)
    loud = float(level.quantile(0.95))
    faults = []
    if clipped_share(waveform) > CLIPPED_SHARE:
        faults.append("is clipped; record it with less gain")
    hertz, below = NARROW
    high = mel[:, band_centres(log_mel) > hertz].mean(dim=1)
    if high.isfinite().all() and float(high.quantile(0.98)) < loud - below:
        faults.append("has nothing above 4 kHz, as over a telephone; the voice will sound so")
    power = (10 ** (2 * mel)).sum(dim=1).log10() / 2
    if float(power.quantile(0.95) - power.quantile(0.05)) < NOISY:
        faults.append("is noisy, or has no pause; the voice may sound so")
    return faults


def clipped_share(waveform: Tensor) -> float:
    """Share of the samples (N,) that stand at the recording's peak in runs."""
    flat = (waveform.abs() >= FULL_SCALE * waveform.abs().max()).int()
    edges = torch.diff(flat, prepend=flat.new_zeros(1), append=flat.new_zeros(1))
    runs = (edges == -1).nonzero()[:, 0] - (edges == 1).nonzero()[:, 0]
    return float(runs[runs >= CLIPPED_RUN].sum()) / len(waveform)


def band_centres(log_mel: LogMel) -> Tensor:
    """Hz (M,): where each mel band's filter is highest."""
    return log_mel.filters.argmax(dim=0) * log_mel.spec.sample_rate / log_mel.spec.n_fft
