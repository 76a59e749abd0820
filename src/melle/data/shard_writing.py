"""A manifest to shards in lhotse's Shar form, whole or not at all."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
from tqdm import tqdm

from melle.audio import audio_duration, load_audio
from melle.data.index import Fault
from melle.data.ledger import Ledger
from melle.data.manifest import Utterance, parse_line, read_lines
from melle.data.processes import share_out
from melle.data.shard_reading import require_lhotse
from melle.errors import DataError, UserError


@dataclass(frozen=True)
class Job:
    """A shard to write: its number, its utterances, and the rate of its recordings (None: as they are)."""

    folder: Path
    number: int
    utterances: list[Utterance]
    sample_rate: int | None


def write_shards(
    manifest: str | Path,
    folder: str | Path,
    shard_size: int = 1000,
    sample_rate: int | None = None,
    seed: int = 0,
    workers: int = 1,
) -> Ledger:
    """Write the utterances of a manifest, shuffled, as ``shard_size`` cuts and FLAC recordings per shard.

    Readers mix only what lies in shards that they read at once; hence the shuffling, by ``seed``. Recordings become
    16-bit mono, at ``sample_rate`` where it is given. What cannot be used is left out: the ledger has it, and
    FOLDER.left_out.jsonl lists it. ``workers`` processes share the work; a script that calls this with more than one
    needs ``if __name__ == "__main__":``. Raises UserError where the folder holds something already.
    """
    require_lhotse()
    folder = Path(folder)
    if shard_size < 1:
        raise UserError(f"--shard-size {shard_size}: give at least 1")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; give another folder, or remove it first")
    ledger, utterances = _usable(Path(manifest), folder)
    order = np.random.default_rng(seed).permutation(len(utterances))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            jobs = [
                Job(partial, number, [utterances[n] for n in order[first : first + shard_size]], sample_rate)
                for number, first in enumerate(range(0, len(order), shard_size))
            ]
            with tqdm(total=len(utterances), desc="shards", unit=" recordings", delay=1) as bar:
                for done, faults in _results(jobs, workers):
                    bar.update(done)
                    for fault in faults:
                        ledger.add(fault)
            if ledger.counts.total() == ledger.total:
                raise UserError(f"{ledger.summary()}: nothing is left to write; mend the manifest")
            partial.chmod(0o755)
            if folder.is_dir():
                folder.rmdir()
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror or error}; make room, or give a folder that can be written"
        ) from None
    return ledger


def _usable(manifest: Path, folder: Path) -> tuple[Ledger, list[Utterance]]:
    """The utterances whose lines can be used, and a ledger with the other lines."""
    faults, utterances, known = [], [], set()
    for number, _, line in read_lines(manifest):
        name = f"{manifest.stem}-{number}"
        try:
            utterance = parse_line(line, manifest, number)
            name = utterance.id
            if name in known:
                raise DataError(
                    "duplicate", f"{manifest}, line {number}: a second utterance {name}; give it another id"
                )
            if str(PurePosixPath(name + ".flac").with_suffix("")) != name:  # it names the file in the tar file
                raise DataError("wrong field", f'{manifest}, line {number}: "id" must be good as a file name')
        except DataError as error:
            faults.append(Fault(name, error.kind, str(error)))
            continue
        known.add(name)
        utterances.append(utterance)
    listing = folder.with_name(folder.name + ".left_out.jsonl")  # not within: readers take all files there for data
    ledger = Ledger(manifest, len(utterances) + len(faults), 1.0, listing)
    for fault in faults:
        ledger.add(fault)
    if not utterances:
        raise UserError(f"{manifest}: no usable line; add one JSON object per utterance")
    return ledger, utterances


def _results(jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, list[Fault]]]:
    """How many utterances were looked at, and which of them cannot be used, from time to time."""
    if workers <= 1 or len(jobs) == 1:
        for job in jobs:
            yield from _write(job)
        return
    with closing(share_out(_write_whole, jobs, min(workers, len(jobs)), 1, require_lhotse)) as results:
        for _, result in results:
            yield result


def _write_whole(jobs: list[Job]) -> tuple[int, list[Fault]]:
    results = [result for job in jobs for result in _write(job)]
    return sum(done for done, _ in results), [fault for _, faults in results for fault in faults]


def _write(job: Job) -> Iterator[tuple[int, list[Fault]]]:
    from lhotse.shar import SharWriter

    fields, suffix = {"recording": "flac"}, f".{job.number:06d}"
    with SharWriter(job.folder, fields, shard_size=None, shard_suffix=suffix) as writer:
        for utterance in job.utterances:
            try:
                cut = _cut(utterance, job.sample_rate)
            except DataError as error:
                yield 1, [Fault(utterance.id, error.kind, f"{error} (utterance {utterance.id})")]
                continue
            writer.write(cut)
            yield 1, []


def _cut(utterance: Utterance, sample_rate: int | None):
    """The utterance as lhotse has it, with its sound in memory. Raises DataError where the recording is no good."""
    from lhotse import MonoCut, Recording, SupervisionSegment

    audio_duration(utterance.audio_path)  # says what is wrong with the file, if anything
    rate = sample_rate or soundfile.info(str(utterance.audio_path)).samplerate
    sound = io.BytesIO()
    soundfile.write(sound, load_audio(utterance.audio_path, rate).clamp(-1, 1).numpy(), rate, "FLOAT", format="WAV")
    recording = Recording.from_bytes(sound.getvalue(), utterance.id)
    said = SupervisionSegment(
        id=utterance.id,
        recording_id=utterance.id,
        start=0,
        duration=recording.duration,
        text=utterance.transcription,
        speaker=utterance.speaker,
        language=utterance.language,
    )
    return MonoCut(utterance.id, 0, recording.duration, 0, supervisions=[said], recording=recording)
