"""VCTK 0.92 (datashare.ed.ac.uk/handle/10283/3443): 44 hours in English by 110 speakers of many accents."""

from __future__ import annotations

from pathlib import Path

from melle.data.corpora.archives import Archive, Source
from melle.data.corpora.recordings import (
    Manifests,
    folders_in,
    in_threads,
    measured,
    prepare_manifests,
    read_text,
    split,
    stamp,
    tell_left_out,
)
from melle.data.manifest import Utterance
from melle.errors import DataError, UserError

AUDIO = "wav48_silence_trimmed"
ARCHIVE = Archive(
    "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
    "VCTK-Corpus-0.92",
    mark=AUDIO,
    bare=True,
    sha256="f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
)
VALIDATION, TEST = 0.05, 0.1  # shares of the speakers


def prepare(source: Source, output: Path, microphone: int = 1, again: bool = False) -> None:
    """Write the manifests of training, validation and test, which share no speaker."""
    folder = source.provide(ARCHIVE)
    if folder is None:
        raise UserError(
            f"{source.root}: no VCTK-Corpus-0.92, neither unpacked nor as {ARCHIVE.file}; add --download or give the "
            "folder that holds it as --root"
        )
    audio, text = folder / AUDIO, folder / "txt"
    if not text.is_dir():
        raise UserError(f"{text}: no such folder of transcripts; remove {folder} and unpack the corpus again")
    made_of = {"folders": stamp(folders_in(audio) + folders_in(text)), "microphone": microphone}
    prepare_manifests(output, "vctk", made_of, lambda: _read(audio, text, microphone), again)


def _read(audio: Path, text: Path, microphone: int) -> Manifests:
    ending = f"_mic{microphone}"
    recordings = sorted(audio.glob(f"*/*{ending}.flac"))
    if not recordings:
        raise UserError(f"{audio}: holds no SPEAKER/*{ending}.flac; unpack the corpus again")

    def utterance(path: Path) -> Utterance | DataError:
        speaker, name = path.parent.name, path.stem.removesuffix(ending)
        try:
            return Utterance(read_text(text / speaker / f"{name}.txt"), path, name, speaker, "en")
        except DataError as error:  # the corpus lacks the transcripts of one speaker
            return error

    manifests: dict[str, list[Utterance]] = {f"vctk_{name}.jsonl": [] for name in ("train", "validation", "test")}
    faults = []
    for found in in_threads(utterance, recordings, "Reading transcripts"):
        if isinstance(found, Utterance):
            manifests[f"vctk_{split(found.speaker, VALIDATION, TEST)}.jsonl"].append(found)
        else:
            faults.append(str(found))
    tell_left_out(faults)
    return measured(manifests)
