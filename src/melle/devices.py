"""Where tensors live, random numbers that repeat there, and what a device fails with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from melle.errors import OutOfMemory, UserError, reason


class BrokenDevice(UserError):
    """The device fails whatever it is asked: nothing can be computed on it any more in this process."""


def best_device() -> str:
    """What "auto" stands for."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def cpu_instructions() -> dict[str, Any]:
    """What this machine's processor can do, by PyTorch's names."""
    return torch.cpu.get_capabilities()


def has_bf16(device: str) -> bool:
    """Whether "cuda" or "cpu" has instructions for products of bfloat16 matrices, which elsewhere are emulated."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    instructions = cpu_instructions()
    return device == "cpu" and any(instructions.get(name) for name in ("avx512_bf16", "amx_bf16"))


def best_precision(accelerator: str) -> str:
    """What ``trainer.precision=auto`` stands for with this accelerator of Lightning's: bf16-mixed or 32-true."""
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu" if accelerator == "auto" else accelerator
    return "bf16-mixed" if has_bf16(device) else "32-true"


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
        raise UserError(f"{option}{name}: this device computes nothing; try {option}cpu")
    return device


def count_devices(accelerator: str, devices: Any) -> int:
    """How many ``trainer.devices`` are on a machine, as Lightning understands it: a number, a list, "0,1", "auto"."""
    from lightning.pytorch.accelerators import CUDAAccelerator

    on_gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    if on_gpu:
        chosen = CUDAAccelerator.auto_device_count() if devices == "auto" else devices
        return len(CUDAAccelerator.parse_devices(chosen) or [])
    if devices == "auto" or not str(devices).lstrip("-").isdigit():
        return 1 if devices == "auto" else len(str(devices).strip("[]").split(","))
    return int(devices)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine itself, had not the memory that was asked for."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # PyTorch's allocator for CPUs raises a plain RuntimeError, libraries of CUDA have codes (CUFFT_ALLOC_FAILED,
    # CUBLAS_STATUS_ALLOC_FAILED …), and the system's own sentence may be within another's.
    texts = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "alloc_failed")
    says = str(error).lower()
    return isinstance(error, RuntimeError) and (any(text in says for text in texts) or killed_a_loader(error))


def killed_a_loader(error: BaseException | None) -> bool:
    """Whether the system ended a process that loads data, as it does where there is no memory left."""
    while error is not None:  # the loader reports it, too, by an error whose cause that one is
        says = str(error)
        of_a_loader = isinstance(error, RuntimeError) and "DataLoader worker" in says
        if of_a_loader and ("killed by signal: Killed" in says or "Bus error" in says):
            return True
        error = error.__cause__
    return False


def is_broken(device: str | torch.device, error: BaseException) -> bool:
    """Whether it is the device that fails, and not what it was asked for when it raised ``error``."""
    if isinstance(error, torch.AcceleratorError):
        return True
    try:
        probe(device)
    except RuntimeError:
        return True
    return False


def probe(device: str | torch.device) -> None:
    """The least that a device can be asked for. Raises RuntimeError where it is broken."""
    torch.zeros(1, device=device).item()


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside, torch's generators run from ``seed``; afterwards they are as before. None leaves them to run on."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def device_errors(device: torch.device, what: str, advice: str) -> Iterator[None]:
    """Let a lack of memory while ``what`` is done be OutOfMemory, with ``advice``, and a broken device BrokenDevice."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"out of memory while {what} on {device}; {advice}") from None
        if isinstance(error, RuntimeError) and is_broken(device, error):
            raise BrokenDevice(f"{device} does not work any more ({reason(error)}); start again") from error
        raise
