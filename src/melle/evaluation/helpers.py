"""Processes that share the work of an evaluation."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from melle.data.processes import cores, follow_parent
from melle.errors import UserError
from melle.evaluation.ears import Judges
from melle.evaluation.run import Evaluation, help_out
from melle.evaluation.setup import build_judges

VISIBLE = "CUDA_VISIBLE_DEVICES"


def helpers(cfg: DictConfig, evaluation: Evaluation) -> AbstractContextManager[None]:
    """While the block runs, ``cfg.processes`` - 1 processes help with ``evaluation``, which ``cfg`` describes.

    "auto": a process for every GPU, of which each has its own, or one. On a CPU they share the cores. What one fails at
    is left to the others. When the block ends they are ended, too: then they have nothing left to do, and may still be
    loading their models.
    """
    count, devices = _share(cfg.processes, cfg.device)
    # What was found here, such as the folder of a sweep's job or the newest checkpoint, might be found otherwise there.
    # Only the judges are made anew: they hold models, which no process can hand to another.
    values, given = OmegaConf.to_container(cfg, resolve=False), replace(evaluation, judges=Judges())
    return _helped(count, devices, values, given)


@contextmanager
def _helped(count: int, devices: list[str], values: Any, evaluation: Evaluation) -> Iterator[None]:
    threads, own = max(1, cores() // count), torch.get_num_threads()
    context, started = multiprocessing.get_context("spawn"), []
    before = os.environ.get(VISIBLE)
    try:
        for number in range(1, count):
            if devices:
                os.environ[VISIBLE] = devices[number % len(devices)]  # read when the new process begins
            arguments = (values, evaluation, None if devices else threads)
            started.append(context.Process(target=_help, args=arguments, daemon=True))
            started[-1].start()
        _set(before)
        if count > 1 and not devices:
            torch.set_num_threads(threads)
        yield
    finally:
        _set(before)
        torch.set_num_threads(own)
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def _share(processes: int | str, device: str) -> tuple[int, list[str]]:
    """How many processes, and the GPUs that they share, as ``CUDA_VISIBLE_DEVICES`` names them."""
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    names = [name for name in os.environ.get(VISIBLE, "").split(",") if name] or [str(n) for n in range(gpus)]
    if processes == "auto":
        return max(1, gpus), names[:gpus]
    if not isinstance(processes, int) or processes < 1:
        raise UserError(f"processes={processes} must be auto, or 1 or more")
    return processes, names[:gpus]


def _help(values: dict[str, Any], evaluation: Evaluation, threads: int | None) -> None:
    follow_parent()
    if threads is not None:
        torch.set_num_threads(threads)
    with suppress(UserError):  # the process that is helped comes to the same, and tells it
        help_out(replace(evaluation, judges=build_judges(OmegaConf.create(values), tell=False)))


def _set(value: str | None) -> None:
    if value is None:
        os.environ.pop(VISIBLE, None)
    else:
        os.environ[VISIBLE] = value
