"""Waveforms as the listeners want them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from melle.audio import resample

SILENCE = 1e-4  # largest sample of what counts as no sound: less than four steps of 16-bit sound


def heard(waveform: Tensor, sample_rate: int, rate: int) -> Tensor | None:
    """Waveform (N,) as float32 on the CPU at ``rate``; None where there is no sound in it, or what is no number."""
    samples = waveform.detach().cpu().float()
    if len(samples) and sample_rate != rate:
        samples = resample(samples, sample_rate, rate)
    if not len(samples) or not samples.abs().max() >= SILENCE:  # NaN is neither more nor less
        return None
    return samples


def at_least(waveform: Tensor, samples: int) -> Tensor:
    """Waveform (N,), with silence after it where it has fewer than ``samples``."""
    return F.pad(waveform, (0, max(0, samples - len(waveform))))


def receptive_field(kernels: list[int], strides: list[int], frames: int) -> int:
    """Samples that a stack of convolutions, given from the first to the last, needs for so many frames."""
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        frames = (frames - 1) * stride + kernel
    return frames
