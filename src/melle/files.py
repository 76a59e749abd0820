"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | Path, partial: str | Path | None = None) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` at the end; an error, a kill or a full disk leaves ``path`` as it was.

    Args:
        partial: where to write until then, on the same file system; ``path`` with ".partial" where not given.
    """
    path = Path(path)
    partial = Path(partial or f"{path}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())  # a machine that loses its power must not keep the name without the content
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
