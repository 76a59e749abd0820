"""The Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset): 3000 digits by 6 speakers."""

from __future__ import annotations

import re
from pathlib import Path

from melle.data.manifest import Utterance
from melle.data.sources.archives import provide
from melle.data.sources.manifests import measured, write_manifests
from melle.errors import UserError

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
FOLDER = "free-spoken-digit-dataset-1.0.10"
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<index>\d+)")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def prepare(root: Path, output: Path, download: bool = False) -> None:
    """Write the manifests of training, validation and test. Every speaker is in all of them.

    ``root``: where the corpus is unpacked, its archive lies or is put; or a clone of its repository.
    """
    folder = root if (root / "recordings").is_dir() else provide(root, URL, FOLDER, download, file=f"{FOLDER}.tar.gz")
    if folder is None:
        raise UserError(f"{root}: no recordings/DIGIT_SPEAKER_INDEX.wav; add --download or give their folder as --root")
    manifests: dict[str, list[Utterance]] = {f"fsdd_{name}.jsonl": [] for name in ("train", "validation", "test")}
    for path in sorted((folder / "recordings").glob("*.wav")):
        if found := NAME.fullmatch(path.stem):
            utterance = Utterance(DIGITS[int(found["digit"])], path, path.stem, found["speaker"], "en")
            manifests[f"fsdd_{split(int(found['index']))}.jsonl"].append(utterance)
    if not any(manifests.values()):
        raise UserError(f"{folder / 'recordings'}: holds no DIGIT_SPEAKER_INDEX.wav; unpack the corpus again")
    write_manifests(output, measured(manifests))


def split(index: int) -> str:
    """Recordings 0 to 4 of each digit and speaker are the corpus's own test set; 5 to 9 are for validation here."""
    return "test" if index < 5 else "validation" if index < 10 else "train"
