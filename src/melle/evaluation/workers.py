"""Processes that share the tasks of an evaluation: a GPU for each, or a share of the cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from melle.data.processes import cores, follow_parent
from melle.errors import UserError
from melle.evaluation.run import Evaluation
from melle.evaluation.setup import build_judges

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def start_workers(cfg: DictConfig, evaluation: Evaluation) -> Iterator[slice]:
    """A context in which ``cfg.processes`` - 1 other processes do their shares of ``evaluation``, made of ``cfg``.

    Gives the share of this process. "auto": a process for every GPU, or one. On a CPU they share the cores. The end of
    the context waits for the others; what one of them fails at is left undone.
    """
    count, gpus = _share(cfg.processes, cfg.device)
    threads, own = max(1, cores() // count), torch.get_num_threads()
    # What was found here, such as the folder of a sweep's job or the newest checkpoint, might be found otherwise there.
    # Only the judges are built anew: they hold models, which no process can hand to another.
    values, given = OmegaConf.to_container(cfg, resolve=False), replace(evaluation, judges={})
    context, processes = multiprocessing.get_context("spawn"), []
    try:
        for number in range(1, count):
            arguments = (values, given, slice(number, None, count), None if gpus else threads)
            processes.append(context.Process(target=_work, args=arguments, daemon=True))
            with _visible(gpus[number % len(gpus)] if gpus else None):
                processes[-1].start()
        if count > 1 and not gpus:
            torch.set_num_threads(threads)
        yield slice(0, None, count)
        for process in processes:
            process.join()
    finally:
        torch.set_num_threads(own)
        for process in processes:
            process.terminate()
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


@contextmanager
def _visible(gpu: str | None) -> Iterator[None]:
    """Processes that begin within see this GPU alone: once CUDA was asked for its devices it is too late to choose."""
    before = os.environ.get(VISIBLE)
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    try:
        yield
    finally:
        os.environ.pop(VISIBLE, None)
        if before is not None:
            os.environ[VISIBLE] = before


def _work(values: dict[str, Any], evaluation: Evaluation, share: slice, threads: int | None) -> None:
    follow_parent()
    if threads is not None:
        torch.set_num_threads(threads)
    with suppress(UserError):  # the first process comes to the same, and reports it
        judges = build_judges(OmegaConf.create(values), warn=False)
        replace(evaluation, judges=judges).queue().work(share)
