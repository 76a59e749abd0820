"""Where tensors live."""

from __future__ import annotations

import torch

from melle.errors import UserError


def find_device(name: str, option: str = "--device ") -> torch.device:
    """The torch device of this name. Raises UserError, which names ``option``, where the machine has none such."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise UserError(f"{option}{name}: this machine has none such; try {option}cpu") from None
    if device.type == "meta":
        raise UserError(f"{option}{name}: nothing can be heard there; try {option}cpu")
    return device
