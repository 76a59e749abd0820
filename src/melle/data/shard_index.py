"""What is known of the utterances of shards before their recordings are read: columns on disk, as of a manifest."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from melle.data.index import NOBODY, TEXT_FAULTS, Fault, describe_fit, digest, make_once, tokens_of
from melle.data.shard_reading import Shard, describe, read_cuts
from melle.errors import DataError, UserError
from melle.text import Tokenizer, tokenizer_from_dict

VERSION = 2  # raise it when the columns change
COLUMNS = {"line": "i", "frames": "i", "tokens": "i", "speaker": "i", "id_end": "q"}
AHEAD = 16  # shards whose descriptions are fetched together


class Named(NamedTuple):
    """What messages call an utterance."""

    id: str


class ShardIndex:
    """The usable utterances of shards, in their order, as columns (N,) that are mapped from disk when first used."""

    def __init__(self, shards: Sequence[Shard], folder: Path):
        self.shards, self._folder = list(shards), folder
        values = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.faults = [Fault(**fault) for fault in values["faults"]]
        self._columns: dict[str, NDArray] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_columns": {}, "faults": []}  # a loader process maps the columns itself

    def column(self, name: str) -> NDArray:
        """One of "frames" and "tokens" (counts), "speaker" (a number, NOBODY where unknown) and "line" (in the shard,
        from 0); or "start" (shards + 1,): where each shard's utterances begin.
        """
        if name not in self._columns:
            self._columns[name] = np.load(self._folder / f"{name}.npy", mmap_mode="r")
        return self._columns[name]

    def shard_of(self, numbers: NDArray) -> NDArray:
        """The shard that each utterance stands in."""
        return np.searchsorted(self.column("start"), numbers, side="right") - 1

    def __len__(self) -> int:
        return len(self.column("line"))

    def __getitem__(self, number: int) -> Named:
        ends = self.column("id_end")
        start = int(ends[number - 1]) if number else 0
        return Named(bytes(self.column("id")[start : int(ends[number])]).decode())


def open_shard_index(
    shards: Sequence[Shard], tokenizer: Tokenizer, frame_rate: float, folder: str | Path
) -> ShardIndex:
    """The index of shards, made in one pass over their descriptions where ``folder`` has none of them as they stand.

    Of a local shard the size and time tell whether it is the same as before, of one elsewhere its address alone.
    """
    key = [VERSION, _identity(shards), json.dumps(tokenizer.as_dict(), sort_keys=True), frame_rate]
    place = Path(folder) / f"shards-{digest(key)}"
    return ShardIndex(shards, make_once(place, partial(_build, shards, tokenizer, frame_rate)))


def open_shard_tokenizer(
    shards: Sequence[Shard], fit: Callable[[Iterator[str]], Tokenizer], folder: str | Path
) -> Tokenizer:
    """The tokenizer that ``fit`` makes of the texts in the shards: fitted once, and the same for every process."""
    place = Path(folder) / f"tokenizer-{digest([VERSION, _identity(shards), describe_fit(fit)])}"

    def build(folder: Path) -> None:
        (folder / "tokenizer.json").write_text(json.dumps(fit(_texts(shards)).as_dict()), encoding="utf-8")

    return tokenizer_from_dict(json.loads((make_once(place, build) / "tokenizer.json").read_text(encoding="utf-8")))


def _texts(shards: Sequence[Shard]) -> Iterator[str]:
    first_fault: DataError | None = None
    some = False
    for shard, lines in _contents(shards, "texts"):
        for number, line in enumerate(lines, start=1):
            try:
                yield describe(line, f"{shard.cuts}, line {number}").text
                some = True
            except DataError as error:
                first_fault = first_fault or error
    if not some:
        raise UserError(f"no shard holds a usable utterance; {first_fault}")


def _build(shards: Sequence[Shard], tokenizer: Tokenizer, frame_rate: float, folder: Path) -> None:
    columns = {name: array(kind) for name, kind in COLUMNS.items()}
    starts, names = array("q", [0]), bytearray()
    speakers: dict[str, int] = {}
    faults: list[Fault] = []
    for shard, lines in _contents(shards, "shards"):
        known: set[str] = set()  # recordings are found by these
        for number, line in enumerate(lines):
            where = f"{shard.cuts}, line {number + 1}"
            name = f"{Path(shard.cuts).name}-{number + 1}"
            try:
                cut = describe(line, where)
                name = cut.id
                if name in known:
                    raise DataError("duplicate", f"{where}: a second cut {name} in one shard; give it another id")
                known.add(name)
                tokens = len(tokens_of(cut.text, cut.language, tokenizer)[0])
            except DataError as error:
                place = f"{where}, utterance {name}: " if error.kind in TEXT_FAULTS else ""
                faults.append(Fault(name, error.kind, f"{place}{error}"))
                continue
            speaker = NOBODY if cut.speaker is None else speakers.setdefault(cut.speaker, len(speakers))
            names += name.encode()
            frames = min(round(cut.seconds * frame_rate) + 1, 2**31 - 1)
            for column, value in zip(columns.values(), (number, frames, tokens, speaker, len(names))):
                column.append(value)
        starts.append(len(columns["line"]))
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", np.array(values, np.int64 if values.typecode == "q" else np.int32))
    np.save(folder / "start.npy", np.array(starts, np.int64))
    np.save(folder / "id.npy", np.frombuffer(bytes(names), np.uint8))
    values = {"faults": [vars(fault) for fault in faults]}
    (folder / "index.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


def _contents(shards: Sequence[Shard], title: str) -> Iterator[tuple[Shard, list[bytes]]]:
    """Each shard with its lines; some are fetched at a time, because they may lie far away."""
    with ThreadPoolExecutor(AHEAD) as pool, tqdm(total=len(shards), desc=title, leave=False, delay=1) as bar:
        for first in range(0, len(shards), AHEAD):
            group = shards[first : first + AHEAD]
            for shard, lines in zip(group, pool.map(read_cuts, group)):
                yield shard, lines
                bar.update()


def _identity(shards: Sequence[Shard]) -> list:
    identity: list = []
    for shard in shards:
        path = Path(shard.cuts)
        if path.is_file():
            status = path.stat()
            identity.append([str(path.resolve()), status.st_size, status.st_mtime_ns])
        else:
            identity.append(shard.cuts)
    return identity
