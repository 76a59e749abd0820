"""LibriTTS (openslr.org/60), 585 hours of audiobooks, and LibriTTS-R (openslr.org/141), its sound restored."""

from __future__ import annotations

from pathlib import Path

from melle.data.corpora.archives import Source
from melle.data.corpora.librispeech import LEVELS, subset_folders
from melle.data.corpora.recordings import (
    Manifests,
    folders_in,
    in_threads,
    measured,
    prepare_manifests,
    read_text,
    stamp,
    tell_left_out,
)
from melle.data.manifest import Utterance
from melle.errors import DataError, UserError

URL = "https://www.openslr.org/resources/60"
MD5 = {  # of SUBSET.tar.gz
    "train-clean-100": "4a8c202b78fe1bc0c47916a98f3a2ea8",
    "train-clean-360": "a84ef10ddade5fd25df69596a2767b2d",
    "train-other-500": "7b181dd5ace343a5f38427999684aa6f",
    "dev-clean": "0c3076c1e5245bb3f0af7d82087ee207",
    "dev-other": "815555d8d75995782ac3ccd7f047213d",
    "test-clean": "7bed3bdb047c4c197f1ad3bc412db59f",
    "test-other": "ae3258249472a13b5abef2a816f733e4",
}
RESTORED_URL = "https://www.openslr.org/resources/141"
RESTORED_MD5 = {  # of SUBSET.tar.gz, with underscores in the file's name
    "train-clean-100": "6df668d8f5f33e70876bfa33862ad02b",
    "train-clean-360": "382eb3e64394b3da6a559f864339b22c",
    "train-other-500": "a37a8e9f4fe79d20601639bf23d1add8",
    "dev-clean": "2c1f5312914890634cc2d15783032ff3",
    "dev-other": "62d3a80ad8a282b6f31b3904f0507e4f",
    "test-clean": "4d373d453eb96c0691e598061bbafab7",
    "test-other": "dbc0959d8bdb6d52200595cabc9995ae",
}


def prepare(
    source: Source, output: Path, subsets: list[str] | None = None, restored: bool = False, again: bool = False
) -> None:
    """Write the manifests of the subsets that are there, those of training in one. ``restored``: LibriTTS-R."""
    corpus = "libritts_r" if restored else "libritts"
    top, url, md5 = ("LibriTTS_R", RESTORED_URL, RESTORED_MD5) if restored else ("LibriTTS", URL, MD5)
    folders = subset_folders(source, top, url, md5, subsets, underscores=restored)
    made_of = {"folders": {name: stamp(folders_in(folder, LEVELS)) for name, folder in folders.items()}}
    prepare_manifests(output, corpus, made_of, lambda: _read(corpus, folders), again)


def _read(corpus: str, folders: dict[str, Path]) -> Manifests:
    manifests, faults = {}, []
    for name, folder in folders.items():
        recordings = sorted(folder.glob("*/*/*.wav"))
        if not recordings:
            raise UserError(f"{folder}: holds no SPEAKER/CHAPTER/*.wav; remove the folder and unpack it again")
        found = list(in_threads(_utterance, recordings, f"Reading {name}"))
        split = "train" if name.startswith("train-") else name.replace("-", "_")
        manifest = manifests.setdefault(f"{corpus}_{split}.jsonl", [])
        manifest += [utterance for utterance in found if isinstance(utterance, Utterance)]
        faults += [str(fault) for fault in found if not isinstance(fault, Utterance)]
    tell_left_out(faults)
    return measured(manifests)


def _utterance(path: Path) -> Utterance | DataError:
    try:
        text = read_text(path.with_suffix(".normalized.txt"))
    except DataError as error:
        return error
    return Utterance(text, path, path.stem, path.parent.parent.name, "en")
