"""Processes that share the work of an evaluation."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from melle.data.processes import cores, follow_parent
from melle.errors import UserError
from melle.evaluation.run import help_out
from melle.evaluation.setup import evaluation_from

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def helpers(cfg: DictConfig) -> Iterator[int]:
    """While the block runs, ``cfg.processes`` - 1 processes help with the evaluation that it describes.

    "auto": a process for every GPU, of which each has its own, or one. On a CPU they share the cores. What one fails at
    is left to the others, and all end with this process.
    """
    count, devices = _share(cfg.processes, cfg.device)
    threads = max(1, cores() // count)
    context, started = multiprocessing.get_context("spawn"), []
    before = os.environ.get(VISIBLE)
    try:
        for number in range(1, count):
            if devices:
                os.environ[VISIBLE] = devices[number % len(devices)]  # read when the new process begins
            values = OmegaConf.to_container(cfg, resolve=False)
            started.append(context.Process(target=_help, args=(values, None if devices else threads), daemon=True))
            started[-1].start()
        _set(before)
        own = torch.get_num_threads()
        if count > 1 and not devices:
            torch.set_num_threads(threads)
        yield count
        torch.set_num_threads(own)
        for process in started:
            process.join()
    finally:
        _set(before)
        for process in started:
            process.terminate()


def _share(processes: int | str, device: str) -> tuple[int, list[str]]:
    """How many processes, and the GPUs that they share, as ``CUDA_VISIBLE_DEVICES`` names them."""
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    names = [name for name in os.environ.get(VISIBLE, "").split(",") if name] or [str(n) for n in range(gpus)]
    if processes == "auto":
        return max(1, gpus), names[:gpus]
    if not isinstance(processes, int) or processes < 1:
        raise UserError(f"processes={processes} must be auto, or 1 or more")
    return processes, names[:gpus]


def _help(values: dict[str, Any], threads: int | None) -> None:
    follow_parent()
    if threads is not None:
        torch.set_num_threads(threads)
    help_out(evaluation_from(OmegaConf.create(values), tell=False))


def _set(value: str | None) -> None:
    if value is None:
        os.environ.pop(VISIBLE, None)
    else:
        os.environ[VISIBLE] = value
