"""Computing the log-mels of manifests and appending them to a store (see ``features.py``)."""

import errno
import json
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from melle.audio import LogMel, MelSpec, load_audio
from melle.data.features import (
    FORMAT,
    FRAME,
    RECORD,
    FeatureStore,
    Label,
    Mel,
    count_records,
    hash_of,
    label_of,
    map_file,
    plain,
    shard_path,
)
from melle.data.manifest import Utterance, parse_line, read_lines
from melle.data.processes import cores, share_out
from melle.errors import DataError, UserError
from melle.locks import locked

SHARD_BYTES = 2 * 10**9
COMMIT_SECONDS = 5.0  # what a killed run loses, at most
CHUNK = 16  # recordings that a process gets at a time
SCAN = 4096  # lines of a manifest looked at together
PLACE = np.dtype([("place", "<u8"), ("manifest", "<u4"), ("line", "<u4")])  # where an utterance stands

Trim = Callable[[Tensor, int], Tensor]


@dataclass
class Report:
    """What a run of ``build`` did."""

    folder: Path
    kept: int = 0  # lines whose recordings were there already
    made: int = 0  # recordings
    seconds: float = 0.0  # of the features made
    skipped: Counter[str] = field(default_factory=Counter)  # by the kind of fault

    @property
    def text(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common())
        return (
            f"{self.folder}: made features of {self.made} recordings ({self.seconds / 3600:.2f} h), "
            f"{self.kept} were there, {sum(self.skipped.values())} skipped"
            + (kinds and f" ({kinds}; listed in {self.folder / 'skipped.jsonl'})")
        )


def build(
    manifests: Sequence[str | Path],
    folder: str | Path,
    spec: MelSpec | None = None,
    silence: Trim | None = None,
    workers: int | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Report:
    """Compute the features of all recordings of the manifests that ``folder`` does not have of them as they are now.

    It may be interrupted or killed at any time: what is on disk stays usable, and the next run goes on from there.
    ``silence`` makes a waveform (N,) at a sample rate shorter and has a ``description``. ``workers`` processes (None:
    one per core) share the work; a script that calls this needs ``if __name__ == "__main__":``, because Python starts
    them by importing it. Raises UserError where another process writes there, or the disk is full.
    """
    spec = spec or MelSpec()
    _check(spec)
    description = silence.description if silence else ""
    manifests = [Path(manifest) for manifest in manifests]
    for manifest in manifests:
        next(read_lines(manifest), None)  # say that one is missing before anything is made
    target = FeatureStore(folder, spec, description).folder
    with _writing(target):
        _describe(target, spec, description)
        store = FeatureStore(folder, spec, description)
        report = Report(target)
        with (target / "skipped.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as file:
            faults = Faults(file, report.skipped)
            places = _missing(manifests, store, report, faults)
            results = _compute(_read(manifests, places), len(places), spec, silence, workers)
            writer = Writer(target, spec.n_mels, shard_bytes)
            try:
                with tqdm(total=len(places), desc="features", unit=" recordings", disable=not len(places)) as bar:
                    for manifest, utterance, result in results:
                        if isinstance(result, DataError):
                            faults.add(manifest, utterance.id, result)
                        else:
                            writer.add(*result)
                            report.made += 1
                            report.seconds += len(result[1]) / spec.frame_rate
                            bar.set_postfix_str(f"{report.seconds / 3600:.2f} h", refresh=False)
                        bar.update()
            finally:  # an interruption too
                results.close()
                writer.close()
                store.refresh()
    return report


def _check(spec: MelSpec) -> None:
    try:
        LogMel(spec)(torch.zeros(spec.n_fft))
    except (ValueError, RuntimeError, AssertionError, ArithmeticError) as error:
        raise UserError(f"{spec}: no mel can be computed with these numbers ({error})") from None


def _describe(folder: Path, spec: MelSpec, silence: str) -> None:
    content = {
        "content": "log10 of mel magnitudes, (frames, bands), 16-bit floats",
        "mel": plain(spec),
        "silence": silence or "as recorded",
        "format": FORMAT,
    }
    (folder / "spec.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class Writer:
    """Appends features to a store that nobody else writes to. A record follows when its frames are on the disk."""

    def __init__(self, folder: Path, bands: int, shard_bytes: int):
        self._folder, self._frame_bytes, self._shard_bytes = folder, bands * FRAME.itemsize, shard_bytes
        self._records = count_records(folder)
        self._index = _open_file(folder / "index")
        self._pending: list[tuple[int, ...]] = []
        self._committed = time.monotonic()
        index = map_file(folder / "index", RECORD, self._records)
        self._number = int(index["shard"].max(initial=0))
        last = index[index["shard"] == self._number]
        self._end = int((last["first"].astype(np.int64) + last["frames"]).max(initial=0))  # frames; the rest is waste
        self._shard = _open_file(shard_path(folder, self._number))
        if os.fstat(self._shard.fileno()).st_size < self._end * self._frame_bytes:  # lost: leave it behind
            self._next_shard()

    def add(self, label: Label, mel: Mel) -> None:
        """Append the log10 mel (T, M) of a recording."""
        if self._end and (self._end + len(mel)) * self._frame_bytes > self._shard_bytes:
            self._commit()
            self._next_shard()
        _write(self._shard, self._end * self._frame_bytes, mel.tobytes())
        record = (*label, self._number, self._end, len(mel), 0)
        self._end += len(mel)  # first: an interruption here must not leave a record of frames that get cut off
        self._pending.append(record)
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self._commit()

    def close(self) -> None:
        """Commit what was added and cut off what was not wholly written."""
        try:
            with suppress(OSError):
                self._shard.truncate(self._end * self._frame_bytes)
            self._commit()
        finally:
            self._shard.close()
            self._index.close()

    def _commit(self) -> None:
        if self._pending:
            os.fsync(self._shard.fileno())
            _write(self._index, self._records * RECORD.itemsize, np.array(self._pending, RECORD).tobytes())
            os.fsync(self._index.fileno())
            self._records += len(self._pending)
            self._pending = []
        self._committed = time.monotonic()

    def _next_shard(self) -> None:
        self._shard.close()
        self._number, self._end = self._number + 1, 0
        self._shard = _open_file(shard_path(self._folder, self._number))


def _open_file(path: Path) -> FileIO:
    return open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "r+b", buffering=0)


def _write(file: FileIO, place: int, content: bytes) -> None:
    file.seek(place)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder and keep other writers out; what the disk refuses becomes a UserError."""
    try:
        with locked(folder / "write.lock", "writing there", wait=False):
            for partial in folder.glob(".lookup-*"):  # of killed processes
                partial.unlink(missing_ok=True)
            yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
        hint = "make room and run again, it goes on from there" if full else "give a folder that can be written to"
        raise UserError(f"{folder}: {error.strerror or error}; {hint}") from None


class Faults:
    """Lists and counts what cannot be used."""

    def __init__(self, file: TextIO, counts: Counter[str]):
        self.file, self.counts = file, counts

    def add(self, manifest: Path, utterance: str, error: DataError) -> None:
        self.counts[error.kind] += 1
        line = {"manifest": str(manifest), "utterance": utterance, "kind": error.kind, "message": str(error)}
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _missing(manifests: Sequence[Path], store: FeatureStore, report: Report, faults: Faults) -> NDArray:
    """Where the utterances stand (PLACE) whose recordings the store lacks, one for each recording."""
    keys, places, lines, numbers = array("Q"), array("Q"), array("I"), array("I")
    len(store)  # opens it, before threads do
    with ThreadPoolExecutor(16) as threads, tqdm(desc="manifests", unit=" lines", leave=False, delay=1) as bar:
        for number, manifest in enumerate(manifests):
            content = read_lines(manifest)
            while chunk := list(islice(content, SCAN)):
                bar.update(len(chunk))
                utterances = []
                for line, place, text in chunk:
                    try:
                        utterances.append((line, place, parse_line(text, manifest, line).audio_path))
                    except DataError as error:
                        faults.add(manifest, f"{manifest.stem}-{line}", error)
                blocks = (utterances[n : n + SCAN // 16] for n in range(0, len(utterances), SCAN // 16))
                labels = chain.from_iterable(threads.map(_labels, blocks))  # they wait for the disk
                for (line, place, path), label in zip(utterances, labels):
                    if label and store.find(label) is not None:
                        report.kept += 1
                        continue
                    keys.append(label.path if label else hash_of(os.fsencode(os.path.abspath(path))))
                    places.append(place)
                    lines.append(line)
                    numbers.append(number)
    missing = np.empty(len(keys), PLACE)
    for name, column in (("place", places), ("line", lines), ("manifest", numbers)):
        missing[name] = column
    return missing[np.sort(np.unique(np.array(keys, np.uint64), return_index=True)[1])]


def _labels(utterances: list[tuple[int, int, Path]]) -> list[Label | None]:
    return [label_of(path) for _, _, path in utterances]


def _read(manifests: Sequence[Path], places: NDArray) -> Iterator[tuple[Path, Utterance]]:
    for number, manifest in enumerate(manifests):
        own = places[places["manifest"] == number]
        with manifest.open("rb") as file:
            for start in range(0, len(own), SCAN):
                for place, _, line in own[start : start + SCAN].tolist():
                    file.seek(place)
                    yield manifest, parse_line(file.readline(), manifest, line)


Result = tuple[Label, Mel] | DataError


def _compute(
    jobs: Iterator[tuple[Path, Utterance]], count: int, spec: MelSpec, silence: Trim | None, workers: int | None
) -> Iterator[tuple[Path, Utterance, Result]]:
    """The result of each job, in order."""
    workers = min(workers or cores(), -(-count // CHUNK))
    if workers <= 1:
        log_mel = LogMel(spec)
        for manifest, utterance in jobs:
            yield manifest, utterance, _features(utterance.audio_path, log_mel, silence)
        return
    with closing(share_out(_work, jobs, workers, CHUNK, _prepare, spec, silence)) as results:
        for chunk, made in results:
            for job, result in zip(chunk, made):
                yield *job, result


_tools: tuple[LogMel, Trim | None]  # of a worker process


def _prepare(spec: MelSpec, silence: Trim | None) -> None:
    global _tools
    _tools = LogMel(spec), silence


def _work(jobs: list[tuple[Path, Utterance]]) -> list[Result]:
    return [_features(utterance.audio_path, *_tools) for _, utterance in jobs]


def _features(path: Path, log_mel: LogMel, silence: Trim | None) -> Result:
    """The log10 mel (T, M) of a recording, or why there is none."""
    label = label_of(path)
    try:
        if label and not path.is_file():  # to open a pipe would wait for ever
            raise DataError("not a file", f"{path}: not a file; give a WAV, FLAC, Ogg or MP3 file")
        waveform = load_audio(path, log_mel.spec.sample_rate)
        if silence is not None:
            waveform = silence(waveform, log_mel.spec.sample_rate)
        mel = log_mel(waveform).numpy().astype(FRAME)
        if label is None or label_of(path) != label:
            raise DataError("changed", f"{path}: changed while it was read; run again")
    except DataError as error:
        return error
    except UserError:
        raise
    except Exception as error:  # a broken header can make any of the libraries fail
        return DataError("unreadable", f"{path}: not readable as audio ({error}); write the file anew")
    return label, mel
