"""What is known of the utterances of shards before their recordings are read: columns on disk, as of a manifest."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from melle.data.index import Columns, IndexBuilder, fitted_once, make_once, valid_items
from melle.data.shar.reading import Shard, parse_cut, read_cuts
from melle.errors import DataError
from melle.files import digest, file_stamp
from melle.text import Tokenizer

VERSION = 4  # raise it when the columns change, or what tokenizers make of a text
AHEAD = 16  # shards whose descriptions are fetched together


class ShardIndex(Columns):
    """The valid utterances of shards, in their order. "line" counts in the shard, from 0.

    "start" (shards + 1,) says where each shard's utterances begin.
    """

    def __init__(self, shards: Sequence[Shard], folder: Path):
        super().__init__(folder)
        self.shards = list(shards)

    def shard_of(self, numbers: NDArray) -> NDArray:
        """The shard that each utterance stands in."""
        return np.searchsorted(self.column("start"), numbers, side="right") - 1

    def name(self, number: int) -> str:
        """The id of an utterance."""
        ends = self.column("id_end")
        start = int(ends[number - 1]) if number else 0
        return bytes(self.column("id")[start : int(ends[number])]).decode()


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

    def texts() -> Iterator[str]:
        readers = (partial(parse_cut, line, where) for _, where, line in _lines(shards, "texts"))
        return (cut.transcription for cut in valid_items(readers, shards[0].cuts))

    return fitted_once(_identity(shards), texts, fit, folder)


def _build(shards: Sequence[Shard], tokenizer: Tokenizer, frame_rate: float, folder: Path) -> None:
    index = IndexBuilder(shards[0].cuts, tokenizer, frame_rate, "id_end")
    starts, names = array("q"), array("B")
    known: set[str] = set()  # of the shard: its recordings are found by these
    for number, where, line in _lines(shards, "shards"):
        if number == 0:
            starts.append(len(index))
            known = set()
        name = f"{Path(where).name}-{number + 1}"
        try:
            cut = parse_cut(line, where)
            name = cut.id
            if name in known:
                raise DataError("duplicate", f"{where}: a second cut {name} in one shard; give it another id")
            known.add(name)
            tokens = index.tokens(cut.transcription, cut.language)
        except DataError as error:
            index.reject(where, name, error)
            continue
        names.frombytes(name.encode())
        index.add(number, cut.duration, tokens, cut.speaker, len(names))
    starts.append(len(index))
    index.write(folder, {"start": starts, "id": names})


def _lines(shards: Sequence[Shard], title: str) -> Iterator[tuple[int, str, bytes]]:
    """Each line of each shard: its number from 0, where it stands, its content; never no line of a shard.

    Some shards are fetched at a time, because they may lie far away.
    """
    with ThreadPoolExecutor(AHEAD) as pool, tqdm(total=len(shards), desc=title, leave=False, delay=1) as bar:
        for first in range(0, len(shards), AHEAD):
            group = shards[first : first + AHEAD]
            for shard, lines in zip(group, pool.map(read_cuts, group)):
                for number, line in enumerate(lines):
                    yield number, f"{shard.cuts}, line {number + 1}", line
                bar.update()


def _identity(shards: Sequence[Shard]) -> list:
    return [file_stamp(shard.cuts) if Path(shard.cuts).is_file() else shard.cuts for shard in shards]
