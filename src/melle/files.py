"""Files and folders that are there whole or not at all, and stamps by which one is known to have changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melle.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 180  # of a text in a file's name, in UTF-8


@contextmanager
def written_whole(path: str | Path, partial: str | Path | None = None, sync: bool = True) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` at the end; an error, a kill or a full disk leaves ``path`` as it was.

    Args:
        partial: where to write until then, on the same file system; ``path`` with ".partial" where not given.
        sync: wait for the disk. A machine that loses its power must not keep the name without the content; for what is
            easily made again the wait is not worth it.
    """
    path = Path(path)
    partial = Path(partial or f"{path}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if sync:
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` at the end, where there is nothing or an empty folder by then."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)  # others may use it, too
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: str | Path, text: str, sync: bool = True) -> None:
    """A text in UTF-8, whole or not at all."""
    with written_whole(path, sync=sync) as partial:
        partial.write_text(text, encoding="utf-8")


def write_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """A safetensors file, whole or not at all, that whoever may read the folder's other files may read."""
    from safetensors.torch import save_file

    with written_whole(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(weights, partial)  # lets nobody else read it
        partial.chmod(mode)


def file_name(text: str, most: int = 120) -> str:
    """A text as part of a file's name: what a name may not hold on every system becomes "-".

    At most ``most`` characters, and of those that take several bytes as many as leave room in the 255 of a name.
    """
    name = "".join(character if character.isalnum() or character in "-_." else "-" for character in text)[:most]
    return name.encode()[:MAX_BYTES].decode(errors="ignore")  # without what is left of a character that is cut


def file_stamp(path: str | Path) -> list[Any]:
    """Changes when the file does: where it is, its size and when it was written; of a folder, of its files."""
    path = Path(path).absolute()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [(file.name, file.stat()) for file in files if file.is_file()]
    return [str(path), *([name, status.st_size, status.st_mtime_ns] for name, status in found)]


def digest(content: Any) -> str:
    """A short name for plain values: 16 hexadecimal digits, the same for the same values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def check_writable(path: str | Path, folder: bool = False) -> None:
    """Raise UserError where ``path`` cannot become a file, or a folder of files; changes nothing."""
    path = Path(path).absolute()
    try:
        _check(path, folder)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UserError(f"{path}: {error.strerror or error}; give another place") from None


def _check(path: Path, folder: bool) -> None:
    if folder and path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; give a folder to write to")
    if not folder and path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file to write")
    there = next(place for place in (path if folder else path.parent, *path.parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"{path}: {there} is a file; give another place to write to")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{path}: no permission to write to {there}; give another place")
