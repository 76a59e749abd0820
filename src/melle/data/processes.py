"""Many small jobs shared by processes, answered in order, with bounded memory and a clean end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

import torch

from melle.errors import UserError

AHEAD = 4  # chunks per process that may wait, so that neither jobs nor results fill the memory

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_out(
    work: Callable[[list[Job]], Result],
    jobs: Iterable[Job],
    workers: int,
    chunk: int,
    prepare: Callable[..., None],
    *arguments: Any,
) -> Iterator[tuple[list[Job], Result]]:
    """What ``work`` makes of ``chunk`` jobs at a time, in order, by so many processes.

    Each process first calls ``prepare`` with the arguments. Python starts the processes by importing the script that
    runs, which therefore needs ``if __name__ == "__main__":``. Raises UserError where a process dies.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (prepare, arguments))
    jobs, waiting = iter(jobs), deque()
    try:
        while True:
            while len(waiting) < AHEAD * workers and (some := list(islice(jobs, chunk))):
                waiting.append((some, pool.submit(work, some)))
            if not waiting:
                return
            some, future = waiting.popleft()
            yield some, future.result()
    except BrokenProcessPool:
        raise UserError("a process was ended, often for want of memory; run again with fewer workers") from None
    finally:
        _stop(pool)


def follow_parent() -> None:
    """In a process that was started for another one: leave Ctrl-C to that one, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _start(prepare: Callable[..., None], arguments: tuple) -> None:
    follow_parent()
    torch.set_num_threads(1)
    prepare(*arguments)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # a killed parent cannot tell its workers to end
    os._exit(1)


def _stop(pool: ProcessPoolExecutor) -> None:
    """Let the processes end their chunks, a moment. Ignores a second Ctrl-C, after which all would wait for ever."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        pool.shutdown(cancel_futures=True)
        return
    heed = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pool.shutdown(cancel_futures=True)
    finally:
        signal.signal(signal.SIGINT, heed)


def live_on_for_a_while(_worker: int) -> None:
    """For loader processes, which Ctrl-C and launchers signal together with training, and which it still needs to save.

    They end with the process that they load for, and at SIGTERM after 20 seconds at the latest.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(20))
