"""LJSpeech 1.1 (keithito.com/LJ-Speech-Dataset): 24 hours of non-fiction in English by one reader."""

from __future__ import annotations

from pathlib import Path

from melle.data.corpora.archives import Archive, Source
from melle.data.corpora.recordings import Manifests, measured, prepare_manifests, split, stamp, tell_left_out
from melle.data.manifest import Utterance
from melle.errors import UserError

ARCHIVE = Archive(
    "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
    "LJSpeech-1.1",
    mark="metadata.csv",
    sha256="be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
)
VALIDATION, TEST = 0.02, 0.02  # shares of the utterances, about half an hour each


def prepare(source: Source, output: Path, again: bool = False) -> None:
    """Write the manifests of training, validation and test, which an utterance's id decides between."""
    folder = source.provide(ARCHIVE)
    if folder is None:
        raise UserError(
            f"{source.root}: no LJSpeech-1.1, neither unpacked nor as {ARCHIVE.file}; add --download or give the "
            "folder that holds it as --root"
        )
    made_of = {"files": stamp([folder / "metadata.csv", folder / "wavs"] if (folder / "wavs").is_dir() else [folder])}
    prepare_manifests(output, "ljspeech", made_of, lambda: _read(folder), again)


def _read(folder: Path) -> Manifests:
    manifests: dict[str, list[Utterance]] = {f"ljspeech_{name}.jsonl": [] for name in ("train", "validation", "test")}
    faults = []
    lines = (folder / "metadata.csv").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        fields = [field.strip() for field in line.split("|")]
        text = " ".join(fields[-1].split())  # numbers and abbreviations are written out in the last column
        if len(fields) not in (2, 3) or not fields[0] or not text:
            if line.strip():
                faults.append(f"{folder / 'metadata.csv'}, line {number}: expected ID|TEXT|NORMALISED TEXT")
            continue
        path = folder / "wavs" / f"{fields[0]}.wav"
        manifests[f"ljspeech_{split(fields[0], VALIDATION, TEST)}.jsonl"].append(
            Utterance(text, path, fields[0], "lj", "en")
        )
    tell_left_out(faults)
    return measured(manifests)
