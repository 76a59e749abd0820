"""A manifest as columns on disk: where each line stands, and how long and whose its utterance is.

24 bytes for each utterance, mapped from disk and shared by all processes, instead of Python objects; the texts and
paths stay in the manifest and are read when they are needed. An index is made once for a manifest, a tokenizer and a
frame rate, and kept in a folder.
"""

from __future__ import annotations

import json
import logging
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from melle.audio import audio_duration
from melle.data.manifest import Utterance, parse_line, read_lines
from melle.errors import DataError, UserError
from melle.files import digest, folder_written_whole
from melle.locks import locked
from melle.text import Tokenizer, tokenizer_from_dict
from melle.text.languages import language_of

VERSION = 3  # raise it when the columns change, or what tokenizers make of a text
COLUMNS = {"line": "i", "frames": "i", "tokens": "i", "speaker": "i"}  # int32
NOBODY = -1  # speaker of an utterance that names none
HEADERS = 4096  # recordings whose headers are read at a time
TEXT_FAULTS = ("unknown text", "other language")

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """An utterance that training skips: which one, what is wrong in a word or two, and in a sentence.

    Names may be given twice, so that its ``line`` in the manifest says which it is, where there is one.
    """

    utterance: str
    kind: str
    message: str
    line: int | None = None


class Columns:
    """Columns (N,) of numbers in a folder, mapped from disk when first used, and what is said of them all.

    A loader process maps the columns itself, and has no need of ``about`` and ``faults``.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.about: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.faults = [Fault(**fault) for fault in self.about.pop("faults")]
        self._mapped: dict[str, NDArray] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_mapped": {}, "faults": [], "about": {}}

    def column(self, name: str) -> NDArray:
        """One of "frames" and "tokens" (counts), "speaker" (a number, NOBODY where unknown), "line" and others."""
        if name not in self._mapped:
            self._mapped[name] = np.load(self._folder / f"{name}.npy", mmap_mode="r")
        return self._mapped[name]

    def __len__(self) -> int:
        return len(self.column("line"))


class ManifestIndex(Columns):
    """The valid utterances of a manifest; of each also its "place" in the file, in bytes."""

    def __init__(self, manifest: Path, folder: Path):
        super().__init__(folder)
        self.manifest = manifest
        self.unreadable: list[str] = self.about.pop("unreadable")  # recordings whose headers could not be read
        self._state = tuple(self.about["state"])

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "unreadable": []}

    def __getitem__(self, index: int) -> Utterance:
        with self.manifest.open("rb") as file:
            if _state(os.fstat(file.fileno())) != self._state:
                raise UserError(f"{self.manifest} was changed while it was in use; start again, the run goes on")
            file.seek(int(self.column("place")[index]))
            return parse_line(file.readline(), self.manifest, int(self.column("line")[index]))


def open_index(manifest: str | Path, tokenizer: Tokenizer, frame_rate: float, folder: str | Path) -> ManifestIndex:
    """The index of a manifest, made where ``folder`` has none of the manifest as it stands and of this tokenizer.

    Utterances that cannot be used (broken lines, texts that the tokenizer cannot express, recordings without a readable
    header where the manifest gives no duration) are its ``faults``. Raises UserError where the manifest is missing.
    """
    manifest = Path(manifest)
    key = [VERSION, _identity(manifest), json.dumps(tokenizer.as_dict(), sort_keys=True), frame_rate]
    place = Path(folder) / f"{manifest.stem}-{digest(key)}"
    for attempt in count(1):  # a new one where recordings can be read by now that could not before
        where = place.with_name(f"{place.name}-{attempt}")
        index = ManifestIndex(manifest, make_once(where, partial(_build, manifest, tokenizer, frame_rate)))
        if not any(_can_be_read(path) for path in index.unreadable):
            return index


def open_tokenizer(manifest: str | Path, fit: Callable[[Iterator[str]], Tokenizer], folder: str | Path) -> Tokenizer:
    """The tokenizer that ``fit`` makes of the manifest's texts: fitted once, and the same for every process."""
    manifest = Path(manifest)
    return fitted_once(_identity(manifest), lambda: _texts(manifest), fit, folder)


def fitted_once(
    identity: list,
    texts: Callable[[], Iterator[str]],
    fit: Callable[[Iterator[str]], Tokenizer],
    folder: str | Path,
) -> Tokenizer:
    """The tokenizer that ``fit`` makes of ``texts``; ``identity`` changes when these do."""
    place = Path(folder) / f"tokenizer-{digest([VERSION, identity, describe_fit(fit)])}"

    def build(folder: Path) -> None:
        (folder / "tokenizer.json").write_text(json.dumps(fit(texts()).as_dict()), encoding="utf-8")

    return tokenizer_from_dict(json.loads((make_once(place, build) / "tokenizer.json").read_text(encoding="utf-8")))


def describe_fit(fit: Callable[[Iterator[str]], Tokenizer]) -> list:
    """Identifies a way of making tokenizers; changes with the local files that it reads, too."""
    function, arguments = getattr(fit, "func", fit), list(getattr(fit, "args", ()))
    keywords = sorted(getattr(fit, "keywords", {}).items())
    places = [Path(value) for _, value in keywords if isinstance(value, str)]
    files = [path for place in places if place.is_dir() for path in sorted(place.glob("*.json"))]
    files += [place for place in places if place.is_file()]
    name = f"{function.__module__}.{function.__qualname__} {arguments} {keywords}"
    return [name, [[str(path), *_state(path.stat())] for path in files]]


def _texts(manifest: Path) -> Iterator[str]:
    lines = tqdm(read_lines(manifest), desc="texts", unit=" lines", leave=False, delay=1)
    readers = (partial(parse_line, line, manifest, number) for number, _, line in lines)
    return (utterance.transcription for utterance in valid_items(readers, manifest))


def valid_items(readers: Iterable[Callable[[], Item]], source: str | Path) -> Iterator[Item]:
    """What is read without a DataError. Raises UserError where there is nothing."""
    first_fault: DataError | None = None
    some = False
    for read in readers:
        try:
            yield read()
            some = True
        except DataError as error:
            first_fault = first_fault or error
    if not some:
        raise UserError(f"{source}: no valid line; {first_fault or 'add one JSON object per utterance'}")


class IndexBuilder:
    """Collects the columns of utterances that can be used, and the faults of the others.

    Args:
        source: what messages call the manifest or the shards.  place: the column (int64) besides those of every index.
    """

    def __init__(self, source: str | Path, tokenizer: Tokenizer, frame_rate: float, place: str):
        self.source, self.tokenizer, self.frame_rate = source, tokenizer, frame_rate
        self.columns = {name: array(kind) for name, kind in {**COLUMNS, place: "q"}.items()}
        self.faults: list[Fault] = []
        self._speakers: dict[str, int] = {}
        self._unknown: Counter[str] = Counter()  # what the tokenizer drops, by how many texts

    def __len__(self) -> int:
        return len(self.columns["line"])

    def tokens(self, text: str, language: str | None) -> int:
        """How many tokens a text has. Raises DataError for one that the tokenizer cannot express."""
        tokens, dropped = tokens_of(text, language, self.tokenizer)
        if dropped:
            self._unknown.update(dropped)
        return len(tokens)

    def add(self, line: int, seconds: float, tokens: int, speaker: str | None, place: int) -> None:
        """One more utterance."""
        frames = min(round(seconds * self.frame_rate) + 1, 2**31 - 1)
        number = NOBODY if speaker is None else self._speakers.setdefault(speaker, len(self._speakers))
        for column, value in zip(self.columns.values(), (line, frames, tokens, number, place)):
            column.append(value)

    def reject(self, where: str, name: str, error: DataError, line: int | None = None) -> None:
        of_text = f"{where}, utterance {name}: " if error.kind in TEXT_FAULTS else ""
        self.faults.append(Fault(name, error.kind, f"{of_text}{error}", line))

    def write(self, folder: Path, more: Mapping[str, array], **about: Any) -> None:
        """Write the columns, ``more`` of other lengths, and what is said of them all."""
        if self._unknown:
            shown = ", ".join(f"{mark!r} ({count})" for mark, count in self._unknown.most_common(10))
            logger.warning("%s: the tokenizer drops from texts (how many): %s", self.source, shown)
        for name, values in {**self.columns, **more}.items():
            np.save(folder / f"{name}.npy", np.array(values, values.typecode))
        values = {**about, "faults": [vars(fault) for fault in self.faults]}
        (folder / "index.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


def _build(manifest: Path, tokenizer: Tokenizer, frame_rate: float, folder: Path) -> None:
    index = IndexBuilder(manifest, tokenizer, frame_rate, "place")
    unreadable: list[str] = []
    pending: list[tuple[int, int, Utterance, int]] = []
    state = _state(manifest.stat())

    def flush() -> None:
        headers = pool.map(_seconds, [item[2] for item in pending if item[2].duration is None])
        for number, place, utterance, tokens in pending:
            seconds = next(headers) if utterance.duration is None else utterance.duration
            if isinstance(seconds, DataError):
                index.reject("", utterance.id, seconds, number)
                unreadable.append(str(utterance.audio_path))
            else:
                index.add(number, seconds, tokens, utterance.speaker, place)
        pending.clear()

    with ThreadPoolExecutor(16) as pool:  # headers wait for the disk
        for number, place, line in tqdm(read_lines(manifest), desc=manifest.name, unit=" lines", leave=False, delay=1):
            name = f"{manifest.stem}-{number}"
            try:
                utterance = parse_line(line, manifest, number)
                name = utterance.id
                pending.append((number, place, utterance, index.tokens(utterance.transcription, utterance.language)))
            except DataError as error:
                index.reject(str(manifest), name, error, number)
            if len(pending) == HEADERS:
                flush()
        flush()
    index.write(folder, {}, manifest=str(manifest.resolve()), state=state, unreadable=unreadable)


def tokens_of(text: str, language: str | None, tokenizer: Tokenizer) -> tuple[list[int], list[str]]:
    """Token ids of a text to train on, and the marks that are dropped. Raises DataError where words would be."""
    if not tokenizer.speaks(language):
        own = f"tokenizer.language={language_of(tokenizer) or ''}"
        raise DataError("other language", f"its language is {language}, and {own}; use lines of one language")
    try:
        return tokenizer.encode_known(text, strict=True)
    except UserError as error:
        raise DataError("unknown text", str(error)) from None


def _seconds(utterance: Utterance) -> float | DataError:
    try:
        return audio_duration(utterance.audio_path)
    except DataError as error:
        return DataError(error.kind, f"{error} (utterance {utterance.id})")


def _can_be_read(path: str) -> bool:
    try:
        return audio_duration(path) > 0
    except DataError:
        return False


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def make_once(place: Path, build: Callable[[Path], None]) -> Path:
    """The folder ``place``, made by ``build`` in one process while the others wait; whole or not at all."""
    if place.is_dir():
        return place
    try:
        with locked(place.with_name(place.name + ".lock"), "reading this manifest"):
            if not place.is_dir():
                with folder_written_whole(place) as folder:
                    build(folder)
    except OSError as error:
        raise UserError(f"data.index={place.parent}: {error.strerror or error}; name a folder to write to") from None
    return place


def _identity(manifest: Path) -> list:
    if not manifest.is_file():
        raise UserError(f"{manifest}: no such manifest; give the path of a JSONL file")
    return [str(manifest.resolve()), *_state(manifest.stat())]
