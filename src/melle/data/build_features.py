"""Computing the log-mels of manifests that a store does not have (see ``features.py``), by all cores."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from melle.audio import LogMel, MelSpec, load_audio
from melle.data.features import FeatureStore
from melle.data.index import Fault
from melle.data.manifest import Utterance, parse_line, read_lines
from melle.data.processes import map_in_processes
from melle.errors import DataError, UserError

CHUNK = 16  # recordings that a process gets at a time

Trim = Callable[[Tensor, int], Tensor]
MakeMel = Callable[[Utterance, Tensor], Tensor]  # from an utterance and its waveform (N,) at the mel's rate
Job = tuple[Path, int, bytes]  # manifest, number of the line from 1, and what stands there
Result = DataError | float  # seconds of features made; 0 where they were there


@dataclass
class FeatureReport:
    """What a run of ``build_features`` did."""

    folder: Path
    kept: int = 0  # lines whose recordings were there already
    made: int = 0  # recordings
    seconds: float = 0.0  # of the features made
    skipped: Counter[str] = field(default_factory=Counter)  # by the kind of fault
    what: str = "features"

    @property
    def text(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common())
        return (
            f"{self.folder}: made {self.what} of {self.made} recordings ({self.seconds / 3600:.2f} h), "
            f"{self.kept} were there, {sum(self.skipped.values())} skipped"
            + (kinds and f" ({kinds}; listed in {self.folder / 'skipped.jsonl'})")
        )


def build_features(
    manifests: Sequence[str | Path],
    folder: str | Path,
    spec: MelSpec | None = None,
    silence: Trim | None = None,
    workers: int | None = None,
) -> FeatureReport:
    """Compute the features of all recordings of the manifests that ``folder`` does not have of them as they are now.

    It may be interrupted or killed at any time: what is on disk stays valid, and the next run goes on from there.
    ``silence`` makes a waveform (N,) at a sample rate shorter and has a ``description``. ``workers`` processes (None:
    one per core) share the work; a script that calls this needs ``if __name__ == "__main__":``, because Python starts
    them by importing it. What cannot be used is skipped and listed in ``skipped.jsonl``. Raises UserError where nothing
    can be written, or the disk is full.
    """
    spec = spec or MelSpec()
    _check(spec)
    store = FeatureStore(folder, spec, silence.description if silence else "")
    return fill_store(store, partial(_MelOf, spec, silence), manifests, workers)


def fill_store(
    store: FeatureStore,
    make: Callable[[], MakeMel],
    manifests: Sequence[str | Path],
    workers: int | None = None,
    predicted_by: str | None = None,
) -> FeatureReport:
    """Keep a mel of every recording of the manifests that ``store`` has none of; for the rest see ``build_features``.

    ``make`` is called once in each process.  ``predicted_by``: as for ``FeatureStore.describe``.
    """
    manifests = [Path(manifest) for manifest in manifests]
    count = sum(sum(1 for _ in read_lines(manifest)) for manifest in manifests)  # says that one is missing, too
    report = FeatureReport(store.folder, what="predictions" if predicted_by else "features")
    try:
        store.describe(predicted_by)
        with (
            (store.folder / "skipped.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as listing,
            tqdm(total=count, desc=report.what, unit=" recordings", delay=1) as bar,
            map_in_processes(partial(_Maker, store, make), _jobs(manifests), workers, CHUNK) as results,
        ):
            for (manifest, line, _), (utterance, result) in results:
                bar.update()
                if isinstance(result, DataError):
                    report.skipped[result.kind] += 1
                    fault = Fault(utterance or f"{manifest.stem}-{line}", result.kind, str(result), line)
                    item = {"manifest": str(manifest), **vars(fault)}
                    listing.write(json.dumps(item, ensure_ascii=False) + "\n")
                elif result:
                    report.made += 1
                    report.seconds += result
                    bar.set_postfix_str(f"{report.seconds / 3600:.2f} h", refresh=False)
                else:
                    report.kept += 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
        hint = "make room and run again, it goes on from there" if full else "give a folder that can be written to"
        raise UserError(f"{store.folder}: {error.strerror or error}; {hint}") from None
    return report


def _check(spec: MelSpec) -> None:
    try:
        LogMel(spec)(torch.zeros(spec.n_fft))
    except (ValueError, RuntimeError, AssertionError, ArithmeticError) as error:
        raise UserError(f"{spec}: no mel can be computed with these numbers ({error})") from None


def _jobs(manifests: Sequence[Path]) -> Iterator[Job]:
    for manifest in manifests:
        for line, _, text in read_lines(manifest):
            yield manifest, line, text


class _MelOf:
    """The mel of a waveform, where wanted with its silences shortened."""

    def __init__(self, spec: MelSpec, silence: Trim | None):
        self.log_mel, self.silence = LogMel(spec), silence

    def __call__(self, utterance: Utterance, waveform: Tensor) -> Tensor:
        rate = self.log_mel.spec.sample_rate
        return self.log_mel(self.silence(waveform, rate) if self.silence else waveform)


class _Maker:
    """Makes the features of a manifest's line where the store lacks them."""

    def __init__(self, store: FeatureStore, make: Callable[[], MakeMel]):
        self.store, self.make = store, make()

    def __call__(self, job: Job) -> tuple[str, Result]:
        manifest, line, text = job
        name = ""
        try:
            utterance = parse_line(text, manifest, line)
            name = utterance.id
            return name, 0.0 if self.store.has(utterance.audio_path) else self._make(utterance)
        except DataError as error:
            return name, error

    def _make(self, utterance: Utterance) -> float:
        """Seconds of the features made. Raises DataError where there can be none."""
        path = utterance.audio_path
        place = self.store.place(path)
        if place and not path.is_file():  # to open a pipe would wait for ever
            raise DataError("not a file", f"{path}: not a file; give a WAV, FLAC, Ogg or MP3 file")
        try:
            mel = self.make(utterance, load_audio(path, self.store.spec.sample_rate)).numpy()
        except (DataError, UserError):
            raise
        except Exception as error:  # a broken header can make any of the libraries fail
            raise DataError("unreadable", f"{path}: not readable as audio ({error}); write the file anew") from None
        if place is None or self.store.place(path) != place:
            raise DataError("changed", f"{path}: changed while it was read; run again")
        self.store.put(place, mel)
        return len(mel) / self.store.spec.frame_rate
