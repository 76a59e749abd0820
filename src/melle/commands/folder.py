"""``python -m melle prepare folder``: manifests of one's own recordings. Published corpora: ``melle.data.sources``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melle.audio_formats import COMPRESSED, OPEN
from melle.data.sources.folder import prepare
from melle.data.sources.table import Table
from melle.errors import UserError
from melle.options import option


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
