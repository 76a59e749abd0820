"""The Free Spoken Digit Dataset, for which lhotse has no recipe. Every speaker is in training, validation and test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from melle.data.manifest import Utterance
from melle.data.sources.archives import provide
from melle.data.sources.manifests import measured, split_by, write_manifests
from melle.data.sources.published import Published, output_of, root_of
from melle.errors import UserError

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
FOLDER = "free-spoken-digit-dataset-1.0.10"
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_\d+")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass
class FSDD(Published):
    root: Path = root_of("fsdd")  # or a clone of its repository
    output: Path = output_of("fsdd")

    def prepare(self) -> None:
        folder: Path | None = self.root
        if not (self.root / "recordings").is_dir():
            folder = provide(self.root, URL, FOLDER, self.download, file=f"{FOLDER}.tar.gz")
        if folder is None:
            raise UserError(
                f"{self.root}: no recordings/DIGIT_SPEAKER_INDEX.wav; add --download or give their folder as --root"
            )
        utterances = [
            Utterance(DIGITS[int(name["digit"])], path, path.stem, name["speaker"], "en")
            for path in sorted((folder / "recordings").glob("*.wav"))
            if (name := NAME.fullmatch(path.stem))
        ]
        if not utterances:
            raise UserError(f"{folder / 'recordings'}: holds no DIGIT_SPEAKER_INDEX.wav; unpack the corpus again")
        manifests = split_by("fsdd", measured(utterances), lambda one: fsdd_split(int(one.id.rsplit("_", 1)[1])))
        write_manifests(self.output, manifests)


def fsdd_split(index: int) -> str:
    """Recordings 0 to 4 of each digit and speaker are the corpus's own test set; 5 to 9 are for validation here."""
    return "test" if index < 5 else "validation" if index < 10 else "train"
