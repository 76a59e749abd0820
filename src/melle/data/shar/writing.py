"""A manifest to shards in lhotse's Shar form, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
from tqdm import tqdm

from melle.audio import load_audio, mix_channels, read_channels
from melle.data.index import Fault
from melle.data.manifest import Utterance, parse_line, read_lines
from melle.data.processes import map_in_processes
from melle.data.skipped import SkippedItems
from melle.data.sources.archives import require_lhotse
from melle.errors import DataError, UserError
from melle.files import folder_written_whole


def write_shards(
    manifest: str | Path,
    folder: str | Path,
    shard_size: int = 1000,
    sample_rate: int | None = None,
    seed: int = 0,
    workers: int = 1,
) -> SkippedItems:
    """Write the utterances of a manifest, shuffled, as ``shard_size`` cuts and FLAC recordings per shard.

    Readers mix only what lies in shards that they read at once; hence the shuffling, by ``seed``. Recordings become
    16-bit mono, at ``sample_rate`` where it is given. What cannot be used is skipped: it is returned, and listed in
    FOLDER.skipped.jsonl. ``workers`` processes share the work; a script that calls this with more than one needs
    ``if __name__ == "__main__":``. Raises UserError where the folder holds something already.
    """
    require_lhotse("shards")
    folder = Path(folder)
    if shard_size < 1:
        raise UserError(f"--shard-size {shard_size}: give at least 1")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; give another folder, or remove it first")
    skipped, utterances = _valid_lines(Path(manifest), folder)
    order = np.random.default_rng(seed).permutation(len(utterances))
    jobs = [[utterances[n] for n in order[first : first + shard_size]] for first in range(0, len(order), shard_size)]
    try:
        with folder_written_whole(folder) as whole:
            with (
                map_in_processes(partial(_shard_writer, whole, sample_rate), enumerate(jobs), workers) as written,
                tqdm(total=len(utterances), desc="shards", unit=" recordings", delay=1) as bar,
            ):
                for (_, members), faults in written:
                    bar.update(len(members))
                    for fault in faults:
                        skipped.add(fault)
            if skipped.counts.total() == skipped.total:
                raise UserError(f"{skipped.summary()}: nothing is left to write; fix the manifest")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: {reason}; make room, or give a folder that can be written") from None
    return skipped


def _valid_lines(manifest: Path, folder: Path) -> tuple[SkippedItems, list[Utterance]]:
    """The utterances whose lines can be used, and the other lines."""
    faults, utterances, known = [], [], set()
    for number, _, line in read_lines(manifest):
        name, where = f"{manifest.stem}-{number}", f"{manifest}, line {number}"
        try:
            utterance = parse_line(line, manifest, number)
            name = utterance.id
            if name in known:
                raise DataError("duplicate", f"{where}: a second utterance {name}; give it another id")
            if str(PurePosixPath(name + ".flac").with_suffix("")) != name:  # it names the file in the tar file
                raise DataError("wrong field", f'{where}: "id" must be good as a file name')
        except DataError as error:
            faults.append(Fault(name, error.kind, str(error)))
            continue
        known.add(name)
        utterances.append(utterance)
    listing = folder.with_name(folder.name + ".skipped.jsonl")  # not within: readers take all files there for data
    skipped = SkippedItems(manifest, len(utterances) + len(faults), 1.0, listing)
    for fault in faults:
        skipped.add(fault)
    if not utterances:
        raise UserError(f"{manifest}: no valid line; add one JSON object per utterance")
    return skipped, utterances


def _shard_writer(folder: Path, sample_rate: int | None) -> Callable[[tuple[int, list[Utterance]]], list[Fault]]:
    """Writes the shard of a number and its utterances; gives those that cannot be used."""
    from lhotse.shar import SharWriter

    def write(job: tuple[int, list[Utterance]]) -> list[Fault]:
        number, utterances = job
        faults = []
        with SharWriter(folder, {"recording": "flac"}, shard_size=None, shard_suffix=f".{number:06d}") as writer:
            for utterance in utterances:
                try:
                    writer.write(_cut(utterance, sample_rate))
                except DataError as error:
                    faults.append(Fault(utterance.id, error.kind, f"{error} (utterance {utterance.id})"))
        return faults

    return write


def _cut(utterance: Utterance, sample_rate: int | None):
    """The utterance as lhotse has it, with its sound in memory. Raises DataError where the recording is no good."""
    from lhotse import MonoCut, Recording, SupervisionSegment

    path, rate, sound = utterance.audio_path, sample_rate, io.BytesIO()
    if rate is None:
        channels, rate = read_channels(path)
        waveform = mix_channels(channels, path)
    else:
        waveform = load_audio(path, rate)
    soundfile.write(sound, waveform.clamp(-1, 1).numpy(), rate, "FLOAT", format="WAV")
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
