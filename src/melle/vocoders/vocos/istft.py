"""From spectra back to samples, without a wait for the device."""

from __future__ import annotations

import torch
from torch import Tensor


def istft(spectrum: Tensor, n_fft: int, hop_length: int, window: Tensor) -> Tensor:
    """Complex spectra (B, n_fft / 2 + 1, T) of frames centred at multiples of the hop to samples (B, T · hop_length).

    What ``torch.istft`` gives for the same Hann window (n_fft,), its gradients to rounding. That one also compares the
    sum of the windows with zero at every call, for which it waits until the device has done all that was asked of it;
    here the caller sees to it that the hop is at most half a window, so that the sum is nowhere zero.
    """
    frames = torch.fft.irfft(spectrum.transpose(1, 2), n_fft) * window
    weights = window.square().expand(1, frames.shape[1], n_fft)
    inner = slice(n_fft // 2, n_fft // 2 + frames.shape[1] * hop_length)
    return _overlap_add(frames, hop_length)[:, inner] / _overlap_add(weights, hop_length)[:, inner]


def _overlap_add(frames: Tensor, hop_length: int) -> Tensor:
    """(B, T, n_fft), each frame a hop after the one before, to their sum (B, n_fft + (T - 1) · hop_length)."""
    batch, count, size = frames.shape
    # What takes gradients of ``Tensor.unfold`` back to the whole is this very sum.
    return torch.ops.aten.unfold_backward(
        frames.contiguous(), [batch, size + (count - 1) * hop_length], 1, size, hop_length
    )
