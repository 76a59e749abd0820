"""Locks between processes, on file systems with and without them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from melle.errors import UserError

WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}  # what such a file system answers

logger = logging.getLogger(__name__)


@contextmanager
def locked(path: str | Path, doing: str = "", wait: bool = True) -> Iterator[None]:
    """Keep out other processes that lock the same file; its folder is made.

    Where the file system knows no locks (some network drives), the presence of ``path.held`` stands for one.

    Args:
        path: the lock's file.
        doing: what is done meanwhile ("another process is …"), said where the lock has to be waited for.
        wait: else a UserError is raised where another process holds the lock.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(path, doing or "at work", wait)
    except OSError as error:
        raise UserError(f"{path.parent}: {error.strerror or error}; give a folder that can be written to") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def making(place: Path, doing: str) -> Iterator[None]:
    """``locked`` beside a file or folder that only one process may make at a time, without leaving the lock behind.

    What is to be made may be there when the wait is over: look again.
    """
    path = place.with_name(place.name + ".lock")
    with locked(path, doing):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes it on release
                path.unlink()


def _acquire(path: Path, doing: str, wait: bool) -> FileLock | SoftFileLock:
    try:
        return _try(FileLock(path), path, doing, wait)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            raise
        held = path.with_name(path.name + ".held")
        logger.warning("%s: no locks on this file system; %s stands for one", path.parent, held.name)
        return _try(SoftFileLock(held), held, f"{doing} (if none is, remove {held})", wait)


def _try(lock: FileLock | SoftFileLock, path: Path, doing: str, wait: bool) -> FileLock | SoftFileLock:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise UserError(f"{path.parent}: another process is {doing}; wait until it is done") from None
        logger.warning("%s: another process is %s; waiting until it is done", path.with_suffix(""), doing)
        lock.acquire()
    return lock
