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
from contextlib import closing, contextmanager
from itertools import chain, islice
from typing import TypeVar

import torch

from melle.errors import UserError

AHEAD = 4  # chunks per process that may wait, so that neither jobs nor results fill the memory

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def map_in_processes(
    make: Callable[[], Callable[[Job], Result]], jobs: Iterable[Job], workers: int | None = None, chunk: int = 1
) -> Iterator[Iterator[tuple[Job, Result]]]:
    """Every job with what the function that ``make`` gives makes of it, in order, by ``workers`` (None: one per core).

    ``make`` is called once in each process, so that what is costly to load is loaded once. Processes get ``chunk`` jobs
    at a time and compute on one thread each; one worker, or no more than a chunk of jobs, are done in this process and
    give the same. Python starts the processes by importing the script that runs, which therefore needs
    ``if __name__ == "__main__":``. Raises UserError where a process dies, and what ``make`` raises.
    """
    workers, jobs = cores() if workers is None else workers, iter(jobs)
    first = list(islice(jobs, chunk + 1))
    jobs = chain(first, jobs)
    share = _share_here if workers <= 1 or len(first) <= chunk else _share_out
    with closing(share(make, jobs, workers, chunk)) as results:
        yield results


def _share_here(
    make: Callable[[], Callable[[Job], Result]], jobs: Iterator[Job], _workers: int, _chunk: int
) -> Iterator[tuple[Job, Result]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # their number may show in the last bit
    try:
        work = make()
        for job in jobs:
            yield job, work(job)
    finally:
        torch.set_num_threads(threads)


def _share_out(
    make: Callable[[], Callable[[Job], Result]], jobs: Iterator[Job], workers: int, chunk: int
) -> Iterator[tuple[Job, Result]]:
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (make,))
    waiting = deque()
    try:
        while True:
            while len(waiting) < AHEAD * workers and (some := list(islice(jobs, chunk))):
                waiting.append((some, pool.submit(_work_on, some)))
            if not waiting:
                return
            some, future = waiting.popleft()
            yield from zip(some, future.result())
    except BrokenProcessPool:
        raise UserError("a process was killed, most often for lack of memory; run again with fewer workers") from None
    finally:
        _stop(pool)


_work: Callable | Exception  # of a worker process: its function, or why there is none


def _start(make: Callable[[], Callable]) -> None:
    global _work
    follow_parent()
    torch.set_num_threads(1)
    try:
        _work = make()
    except Exception as error:  # raised here, it would break the pool without a reason
        _work = error


def _work_on(jobs: list) -> list:
    if isinstance(_work, Exception):
        raise _work
    return [_work(job) for job in jobs]


def follow_parent() -> None:
    """In a process that was started for another one: leave Ctrl-C to that one, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # a killed parent cannot stop its workers
    os._exit(1)


def _stop(pool: ProcessPoolExecutor) -> None:
    """Let the processes end their chunks, a moment. Ignores a second Ctrl-C, after which all would wait for ever."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        pool.shutdown(cancel_futures=True)
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pool.shutdown(cancel_futures=True)
    finally:
        signal.signal(signal.SIGINT, handler)


def live_on_for_a_while(_worker: int) -> None:
    """For loader processes, which Ctrl-C and launchers signal together with training, and which it still needs to save.

    They end with the process that they load for, and at SIGTERM after 20 seconds at the latest.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(20))
