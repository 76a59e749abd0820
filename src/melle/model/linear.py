"""A matrix product that is also fast where a CPU multiplies a few rows, as every step of decoding does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEW = 8  # rows up to which oneDNN, too, is slower than the product the other way round


class Linear(nn.Linear):
    """``nn.Linear`` by other kernels where no gradient is asked for, on CPUs, in 32 bits: to rounding the same.

    PyTorch calls MKL there, which copies the matrix for two to a hundred rows, and reads it at two thirds of the
    memory's speed for a single one. On two cores of an AMD EPYC and the paper's sizes this takes 0.7 of its time for
    one row, 0.4 for four, 0.8 for 64.
    """

    def forward(self, x: Tensor) -> Tensor:
        # Compiled code chooses its kernels itself, and shapes are not to be asked for there.
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or not _is_plain(x):
            return super().forward(x)
        rows = x.numel() // max(1, self.in_features)
        if 1 < rows <= FEW:
            y = (self.weight @ x.reshape(rows, -1).t()).t().contiguous()
            y = y if self.bias is None else y + self.bias
            return y.view(*x.shape[:-1], self.out_features)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


def make_plain(module: nn.Module) -> None:
    """Make every ``Linear`` in ``module`` an ``nn.Linear``, in place and with the same weights."""
    for part in module.modules():
        if isinstance(part, Linear):
            part.__class__ = nn.Linear


def _is_plain(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )
