"""The Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset): 3000 digits by 6 speakers."""

from __future__ import annotations

import re
from pathlib import Path

from melle.corpora.digits import DIGITS
from melle.data.corpora.archives import Archive, Source
from melle.data.corpora.recordings import Manifests, measured, prepare_manifests, stamp
from melle.data.manifest import Utterance
from melle.errors import UserError

ARCHIVE = Archive(  # made by the server on demand, so there is no checksum that would last
    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
    "free-spoken-digit-dataset-1.0.10",
    mark="recordings",
    name="free-spoken-digit-dataset-1.0.10.tar.gz",
)
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<index>\d+)")


def prepare(source: Source, output: Path, again: bool = False) -> None:
    """Write the manifests of training, validation and test. Every speaker is in all of them."""
    folder = source.provide(ARCHIVE)
    if folder is None:
        raise UserError(
            f"{source.root}: no recordings/DIGIT_SPEAKER_INDEX.wav and no {ARCHIVE.file}; add --download or give the "
            "folder that holds them as --root"
        )
    made_of = {"folders": stamp([folder / "recordings"])}
    prepare_manifests(output, "fsdd", made_of, lambda: _read(folder / "recordings"), again)


def split(index: int) -> str:
    """Recordings 0 to 4 of each digit and speaker are the corpus's own test set; 5 to 9 are for validation here."""
    return "test" if index < 5 else "validation" if index < 10 else "train"


def _read(folder: Path) -> Manifests:
    manifests: dict[str, list[Utterance]] = {f"fsdd_{name}.jsonl": [] for name in ("train", "validation", "test")}
    for path in sorted(folder.glob("*.wav")):
        if found := NAME.fullmatch(path.stem):
            utterance = Utterance(DIGITS[int(found["digit"])], path, path.stem, found["speaker"], "en")
            manifests[f"fsdd_{split(int(found['index']))}.jsonl"].append(utterance)
    if not any(manifests.values()):
        raise UserError(f"{folder}: holds no DIGIT_SPEAKER_INDEX.wav; unpack the corpus again")
    return measured(manifests)
