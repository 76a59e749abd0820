"""What a device can do at best: the denominator of model FLOPs utilisation."""

from __future__ import annotations

import time

import torch

from melle.devices import synchronise

LONG_ENOUGH = 0.02  # seconds of one product on a CPU: short to wait for, long beside what its call costs


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square matrix product: the best of a few measurements."""
    if device.type == "cpu":  # CPUs differ a hundredfold, by cores and by whether they know the type
        size = 256
        while size < 4096 and _seconds(device, dtype, size, 1) < LONG_ENOUGH:
            size *= 2
        return 2 * size**3 / min(_seconds(device, dtype, size, 1) for _ in range(5))
    size = 8192
    return 2 * size**3 / min(_seconds(device, dtype, size, 10) for _ in range(5))


def _seconds(device: torch.device, dtype: torch.dtype, size: int, repetitions: int) -> float:
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = a @ b
    synchronise(device)
    start = time.perf_counter()
    for _ in range(repetitions):
        torch.mm(a, b, out=out)
    synchronise(device)
    return (time.perf_counter() - start) / repetitions
