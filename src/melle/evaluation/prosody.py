"""Pitch: how high a voice is, how much it moves, and how much of the clip it sounds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from melle.evaluation.sound import heard

RATE = 16000  # samples per second
LOWEST, HIGHEST = 60.0, 500.0  # Hz
WINDOW = 400  # samples compared with those one period later: 25 ms
HOP = 160  # samples between frames: 10 ms
MOST_APERIODIC = 0.25  # share of a voiced frame's power that does not repeat
TOLERANCE = 0.1  # of that share, by which a shorter period may be the worse one and still be taken
MOST_BELOW = 0.01  # level of the softest voiced frame, to that of the loudest: -40 dB
PIECE = 4096  # frames worked on at a time


def pitch_statistics(waveform: Tensor, sample_rate: int) -> dict[str, float]:
    """Statistics of the fundamental frequency (F0) of a waveform (N,), of frames every 10 ms.

    Gives ``pitch``: median F0 of the voiced frames, Hz; ``pitch_deviation``: standard deviation of F0 about that
    median, semitones; ``voiced``: share of frames that are voiced. Where none is, ``voiced`` alone; where the clip is
    shorter than a frame (42 ms), nothing.

    F0 is found by YIN (de Cheveigné & Kawahara 2002), which is written out here: librosa's spends half a minute or more
    on compiling itself when it is first used and does not say which frames are voiced, its pYIN takes 0.2 s per second
    of speech on one core, and torchaudio's ``detect_pitch_frequency`` falls by an octave where there is some noise.
    """
    shortest, longest = int(RATE / HIGHEST), int(RATE / LOWEST) + 1
    if len(waveform) * RATE < (WINDOW + longest + 1) * sample_rate:
        return {}
    samples = heard(waveform, sample_rate, RATE)
    if samples is None:
        return {"voiced": 0.0}
    samples = F.pad(samples, (0, max(0, WINDOW + longest + 1 - len(samples)))).double()
    frames = samples.unfold(0, WINDOW + longest + 1, HOP)  # (T, samples)
    power = frames[:, :WINDOW].var(dim=1)
    pitch = torch.cat([_yin(piece, shortest, longest) for piece in frames.split(PIECE)])
    pitch = pitch[(pitch > 0) & (power > MOST_BELOW**2 * power.max())]
    if not len(pitch):
        return {"voiced": 0.0}
    median = pitch.median()
    deviation = (12 * torch.log2(pitch / median)).square().mean().sqrt()
    return {"pitch": float(median), "pitch_deviation": float(deviation), "voiced": len(pitch) / len(frames)}


def _yin(frames: Tensor, shortest: int, longest: int) -> Tensor:
    """F0 of every frame (T, WINDOW + longest + 1), in Hz, (T,); zero where it does not repeat itself."""
    lags = longest + 2  # 0 … longest + 1
    size = 2 ** (frames.shape[1] - 1).bit_length()
    window = F.pad(frames[:, :WINDOW], (0, size - WINDOW))
    # What a window shares with the one so many samples later, and what the two differ by.
    spectrum = torch.fft.rfft(frames, size) * torch.fft.rfft(window).conj()
    shared = torch.fft.irfft(spectrum, size)[:, :lags]
    energy = F.pad(frames.square().cumsum(dim=1), (1, 0))
    energy = energy[:, WINDOW : WINDOW + lags] - energy[:, :lags]
    difference = (energy[:, :1] + energy - 2 * shared).clamp(min=0)
    # Over the mean of all shorter lags: about the share of the power that does not repeat, and 1 where nothing does.
    mean = difference[:, 1:].cumsum(dim=1) / torch.arange(1, lags, device=frames.device)
    aperiodic = difference[:, 1:] / mean.clamp(min=1e-12)  # [:, 0] is lag 1
    left, middle, right = (aperiodic[:, shortest - 2 + n : longest - 1 + n] for n in (0, 1, 2))
    # Every multiple of the period repeats as well: the period is the first trough that is as deep as any.
    trough = (middle <= left) & (middle <= right)
    deepest = middle.masked_fill(~trough, torch.inf).amin(dim=1, keepdim=True)
    first = (trough & (middle <= deepest + TOLERANCE)).float().argmax(dim=1, keepdim=True)
    left, middle, right = (values.gather(1, first)[:, 0] for values in (left, middle, right))
    curvature = left - 2 * middle + right
    shift = torch.where(curvature > 0, (left - right) / (2 * curvature.clamp(min=1e-12)), 0.0)  # of a parabola's foot
    period = first[:, 0] + shortest + shift
    return torch.where(deepest[:, 0] < MOST_APERIODIC, RATE / period, 0.0)
