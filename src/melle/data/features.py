"""Log-mels computed once and kept on disk, so that training need not decode sound.

A folder holds a store for each mel spec and setting of silences: ``mel-<hash>``, with ``spec.json`` saying which. In it

- ``frames-00000`` and so on: log10 mels (T, M) one after the other, float16, up to some gigabytes each;
- ``index``: a record of 32 bytes for each recording, appended once its frames are safely on disk. Of two records of one
  path the later one counts, and it counts only while the file has the size and time of change that it had then;
- ``lookup``: the hashes of all paths, sorted, and where their records are. It can be made from the index at any time;
- ``skipped.jsonl``: what the last run could not use, and why.

They are mapped, not read: a process holds no object per recording, and all processes share one copy in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from melle.audio import MelSpec

FORMAT = 1  # raise it when LogMel or the files change
FRAME = np.dtype("<f2")  # resolves log10 magnitudes to 0.004 (0.08 dB), far below what can be heard
RECORD = np.dtype(
    [("path", "<u8"), ("identity", "<u8"), ("shard", "<u4"), ("first", "<u4"), ("frames", "<u4"), ("spare", "<u4")]
)

Mel = NDArray[np.float16]


class Label(NamedTuple):
    """64-bit hashes: of where a file is, and of that with its size and the time of its last change."""

    path: int
    identity: int


class FeatureStore:
    """The log10 mels of one spec in a folder, for reading. Costs little to send to loader processes.

    Args:
        folder: where ``build`` put them.  spec: what a frame is.
        silence: how silences were shortened (``SileroTrim.description``), empty where they were not.
    """

    def __init__(self, folder: str | Path, spec: MelSpec, silence: str = ""):
        key = json.dumps([FORMAT, plain(spec), silence], sort_keys=True)
        self.folder = Path(folder) / f"mel-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self.bands = spec.n_mels
        self.refresh()

    def __getstate__(self) -> dict:  # a loader process maps the files itself
        return {"folder": self.folder, "bands": self.bands}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._close()

    def get(self, path: str | Path) -> Tensor | None:
        """log10 mel (T, M), float32, of a recording; None where it is not there or the file has changed since."""
        label = label_of(path)
        frames = label and self.find(label)
        return None if frames is None else torch.from_numpy(frames.astype(np.float32))

    def find(self, label: Label) -> Mel | None:
        """The frames (T, M) on disk of a recording, None where they are not."""
        if self._lookup is None:
            self._open()
        keys, rows = self._lookup.keys, self._lookup.rows
        place = int(np.searchsorted(keys, np.uint64(label.path)))  # a Python number would become a float
        if place == len(keys) or int(keys[place]) != label.path:
            return None
        path, identity, shard, first, count, _ = self._index[rows[place]].item()
        if (path, identity) != label:
            return None
        frames = self._shard(shard)[first : first + count]
        return frames if len(frames) == count else None

    def __len__(self) -> int:
        """Recordings of which there are features, changed ones counted."""
        if self._lookup is None:
            self._open()
        return len(self._lookup.keys)

    def refresh(self) -> None:
        """See what was added since, and leave a lookup of it for other processes."""
        self._close()
        lookup = _read_lookup(self.folder)
        if lookup is None or lookup.records != count_records(self.folder):
            with suppress(OSError):  # where it cannot be written, an older lookup only finds less
                _write_lookup(self.folder, _sort(self.folder))

    def _open(self) -> None:
        lookup = _read_lookup(self.folder) or _sort(self.folder)
        self._index = map_file(
            self.folder / "index", RECORD, count_records(self.folder)
        )  # never shorter than the lookup says
        self._lookup = lookup

    def _shard(self, number: int) -> Mel:
        if number not in self._shards:
            path = shard_path(self.folder, number)
            frames = path.stat().st_size // (self.bands * FRAME.itemsize) if path.is_file() else 0
            self._shards[number] = map_file(path, FRAME, frames * self.bands).reshape(frames, self.bands)
        return self._shards[number]

    def _close(self) -> None:
        self._lookup: Lookup | None = None
        self._shards: dict[int, Mel] = {}


def label_of(path: str | Path) -> Label | None:
    """What a file is called in the index; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    place = os.fsencode(os.path.realpath(path))
    return Label(hash_of(place), hash_of(b"%s\0%d\0%d" % (place, status.st_size, status.st_mtime_ns)))


def hash_of(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def plain(spec: MelSpec) -> dict:
    return {f.name: type(f.default)(getattr(spec, f.name)) for f in fields(MelSpec)}  # 80 and 80.0 are the same


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"frames-{number:05d}"


def count_records(folder: Path) -> int:
    """Whole records of the index; a torn one at its end does not count."""
    index = folder / "index"
    return index.stat().st_size // RECORD.itemsize if index.is_file() else 0


def map_file(path: Path, kind: np.dtype, count: int, offset: int = 0) -> NDArray:
    return np.asarray(np.memmap(path, kind, "r", offset, (count,))) if count else np.zeros(0, kind)


class Lookup(NamedTuple):
    """The first ``records`` of an index: hashes of paths, rising, and the row of the newest record of each."""

    records: int
    keys: NDArray[np.uint64]
    rows: NDArray[np.uint32]


def _sort(folder: Path) -> Lookup:
    count = count_records(folder)
    index = map_file(folder / "index", RECORD, count)
    rows = np.flatnonzero(index["frames"]).astype(np.uint32)  # where power failed there may be zeros
    keys = index["path"][rows]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    newest = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
    return Lookup(count, keys[newest], rows[order[newest]])


def _read_lookup(folder: Path) -> Lookup | None:
    """None where there is no lookup of this index."""
    path = folder / "lookup"
    size = path.stat().st_size if path.is_file() else 0
    if size < 16:
        return None
    records, count = np.fromfile(path, "<u8", 2).tolist()
    if records > count_records(folder) or size != 16 + 12 * count:
        return None
    return Lookup(
        records, map_file(path, np.dtype("<u8"), count, 16), map_file(path, np.dtype("<u4"), count, 16 + 8 * count)
    )


def _write_lookup(folder: Path, lookup: Lookup) -> None:
    """Whole or not at all."""
    descriptor, partial = tempfile.mkstemp(prefix=".lookup-", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            for part in (np.array([lookup.records, len(lookup.keys)], "<u8"), lookup.keys, lookup.rows):
                file.write(part.tobytes())
        os.chmod(partial, 0o644)  # others may train with it, too
        os.replace(partial, folder / "lookup")
    finally:
        Path(partial).unlink(missing_ok=True)
