"""What all sources of recordings share: splits by hash, durations by threads, and one way to write the manifests."""

from __future__ import annotations

import filecmp
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from melle.data.manifest import Totals, Utterance, with_duration, write_manifest
from melle.errors import DataError, UserError
from melle.locks import making

CHUNK = 64  # items that a thread takes at a time

Item, Result = TypeVar("Item"), TypeVar("Result")
Manifests = Mapping[str, list[Utterance]]  # by the name of the file

logger = logging.getLogger(__name__)


def write_manifests(output: Path, manifests: Manifests) -> None:
    """Write the manifests that hold something into the folder ``output``, and print what they hold.

    One that would be the same as it is stays untouched, so that what was computed from it stays valid.
    """
    if not any(manifests.values()):
        raise UserError(f"{output}: no utterance was found for it; is the corpus unpacked completely?")
    with making(output / ".prepare", "preparing a corpus"):
        try:
            for name, members in manifests.items():
                path = output / name
                if members:
                    _write(path, members)
                    print(f"{path}: {Totals.of(members)}")
                elif path.exists():
                    logger.warning("%s: from an earlier run, left unchanged and no longer in use", path)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{output}: cannot be written ({reason}); give another folder with -o") from None


def _write(path: Path, members: list[Utterance]) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        write_manifest(new, members)
        if not (path.is_file() and filecmp.cmp(new, path, shallow=False)):
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def share(key: str) -> float:
    """A number from 0 to 1 that is the key's own: by it a split does not change when other keys come."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def split(key: str, validation: float, test: float) -> str:
    """train, validation or test, by the shares of keys that the latter two shall get."""
    place = share(key)
    return "test" if place < test else "validation" if place < test + validation else "train"


def split_by(corpus: str, utterances: list[Utterance], decide: Callable[[Utterance], str]) -> Manifests:
    """A manifest each of those that ``decide`` puts to train, validation and test."""
    manifests: dict[str, list[Utterance]] = {f"{corpus}_{name}.jsonl": [] for name in ("train", "validation", "test")}
    for utterance in utterances:
        manifests[f"{corpus}_{decide(utterance)}.jsonl"].append(utterance)
    return manifests


def measured(utterances: list[Utterance]) -> list[Utterance]:
    """The utterances with their durations, by the audio files' headers. What cannot be read is skipped, and logged."""
    results = list(in_threads(_measure, utterances, "Reading headers"))
    faults = [str(result) for result in results if isinstance(result, DataError)]
    if faults and len(faults) == len(utterances):
        raise UserError(f"none of the {len(utterances)} recordings can be used; the first: {faults[0]}")
    log_skipped(faults)
    return [result for result in results if isinstance(result, Utterance)]


def log_skipped(reasons: list[str]) -> None:
    if reasons:
        logger.warning("%d skipped; the first: %s", len(reasons), reasons[0])


def in_threads(function: Callable[[Item], Result], items: list[Item], text: str) -> Iterator[Result]:
    """``map``, by threads, with a progress bar: for what waits for disks."""
    pool = ThreadPoolExecutor()
    try:
        chunks = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
        with tqdm(total=len(items), desc=text, unit=" files") as bar:
            for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
                yield from results
                bar.update(len(results))
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(utterance: Utterance) -> Utterance | DataError:
    try:
        measured = with_duration(utterance)
    except DataError as error:
        return error
    return replace(measured, duration=round(measured.duration, 6))
