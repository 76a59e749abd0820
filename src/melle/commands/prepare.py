"""``python -m melle prepare CORPUS``: the manifests of a corpus, unpacked and downloaded where it has to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from melle.audio_formats import COMPRESSED, OPEN
from melle.data.sources import published
from melle.data.sources.folder import prepare
from melle.data.sources.table import Table
from melle.errors import UserError
from melle.options import option


def root_of(name: str) -> Path:
    """The option of a corpus's folder."""
    return option(Path(f"data/{name}"), "where the corpus lies, unpacked or as archives, or is put", metavar="DIR")


def output_of(name: str) -> Path:
    """The option of where its manifests go."""
    return option(Path(f"data/{name}"), "folder of the manifests", "-o")


@dataclass
class Published:
    """A corpus that can be downloaded; ``prepare`` takes the fields."""

    prepare: ClassVar[Callable[..., None]]
    root: Path
    output: Path
    download: bool = option(False, "download what is neither unpacked nor an archive")

    def run(self) -> None:
        if not self.download and not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder; add --download or give the corpus's folder as --root")
        type(self).prepare(**asdict(self))


@dataclass
class OpenSlr(Published):
    """A corpus in the subsets of LibriSpeech."""

    subsets: Sequence[str] | None = option(
        None,
        f"only these (default: all): {', '.join(published.SUBSETS)}",
        choices=published.SUBSETS,
        metavar="NAME",
    )
    mirror: str = option(published.MIRROR, "download from there", metavar="URL")


@dataclass
class LibriSpeech(OpenSlr):
    prepare = published.prepare_librispeech
    root: Path = root_of("librispeech")
    output: Path = output_of("librispeech")
    keep_case: bool = option(False, "leave transcripts in upper case, as they are")


@dataclass
class LibriTTS(OpenSlr):
    prepare = published.prepare_libritts
    root: Path = root_of("libritts")
    output: Path = output_of("libritts")
    corpus: str = "libritts"


@dataclass
class LibriTTSR(LibriTTS):
    root: Path = root_of("libritts_r")
    output: Path = output_of("libritts_r")
    corpus: str = "libritts-r"


@dataclass
class LJSpeech(Published):
    prepare = published.prepare_ljspeech
    root: Path = root_of("ljspeech")
    output: Path = output_of("ljspeech")


@dataclass
class VCTK(Published):
    prepare = published.prepare_vctk
    root: Path = root_of("vctk")
    output: Path = output_of("vctk")
    microphone: Literal[1, 2] = option(1, "of the two recordings")


@dataclass
class FSDD(Published):
    prepare = published.prepare_fsdd
    root: Path = root_of("fsdd")
    output: Path = output_of("fsdd")


@dataclass
class Folder:
    root: Path | None = option(None, "folder of the recordings (default: the table's)", metavar="DIR")
    csv: Path | None = option(None, "a table, a line per recording", metavar="FILE")
    delimiter: str | None = option(
        None, "between its columns, such as '|' or tab (default: that by which most lines name a recording)"
    )
    audio_column: str = option(Table.audio, "name in the header, or number from 1")
    text_column: str = option(Table.text, "likewise")
    speaker_column: str | None = option(None, "likewise (default: no speakers)")
    speaker_from_folder: bool = option(False, "the speaker is the recording's folder")
    language: str | None = option(None, "of all recordings, such as en")
    validation_share: float = option(0.02, "share of the utterances for validation")
    output: Path = option(Path("data/folder"), "of the manifests", "-o")

    def run(self) -> None:
        if self.root is None and self.csv is None:
            raise UserError("name the folder of the recordings by --root, or a table of them by --csv")
        delimiter = {"tab": "\t", "\\t": "\t"}.get(self.delimiter, self.delimiter)
        if delimiter is not None and len(delimiter) != 1:
            raise UserError(f"--delimiter {delimiter!r}: give one character, such as '|', or tab")
        columns = (self.audio_column, self.text_column, self.speaker_column)
        table = Table(self.csv, delimiter, *columns) if self.csv else None
        root = self.root or self.csv.parent
        prepare(root, self.output, table, self.speaker_from_folder, self.language, self.validation_share)


Folder.__doc__ = f"""Your own recordings: beside their transcripts (NAME.txt or NAME.lab), or listed in a table.

Recordings end in {", ".join(OPEN)} or, where FFmpeg is installed, {", ".join(COMPRESSED)}.
"""
