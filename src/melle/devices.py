"""Where tensors live."""

from __future__ import annotations

import torch

from melle.errors import UserError


def best_device() -> str:
    """What "auto" stands for."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def find_device(name: str | torch.device, option: str = "--device ") -> torch.device:
    """The torch device of this name, or of "auto".

    Raises UserError, which names ``option``, where the machine has none such.
    """
    name = best_device() if name == "auto" else name
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise UserError(f"{option}{name}: this machine has none such; try {option}cpu") from None
    if device.type == "meta":
        raise UserError(f"{option}{name}: nothing can be heard there; try {option}cpu")
    return device
