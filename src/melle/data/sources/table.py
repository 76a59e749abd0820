"""A table of recordings with their transcripts, such as LJSpeech's metadata.csv."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from melle.audio_formats import AUDIO
from melle.data.manifest import Utterance, portable
from melle.errors import UserError

DELIMITERS = "\t|;,"


@dataclass(frozen=True)
class Table:
    """A table of recordings. A column is the name in the header or, in a table without one, its number from 1."""

    path: Path
    delimiter: str | None = None  # None: the one with which most lines name a recording that is there
    audio: str = "audio"
    text: str = "text"
    speaker: str | None = None


def read_table(table: Table, root: Path) -> tuple[list[Utterance], list[str]]:
    """The utterances of the table's lines, and what is wrong with the other lines. Paths count from ``root``."""
    if not table.path.is_file():
        raise UserError(f"{table.path}: no such table; give a file with a line per recording as --csv")
    try:
        content = table.path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{table.path}: not UTF-8; save the table in that encoding") from None
    best, first_error = None, None
    for delimiter in [table.delimiter] if table.delimiter else _likely_delimiters(content):
        try:
            rows = _rows(table.path, content, delimiter)
            found = _utterances(table, root, rows)
        except UserError as error:
            if best is None:  # of the likeliest
                first_error = first_error or error
            continue
        there = sum(utterance.audio_path.is_file() for utterance in found[0])
        lengths = Counter(len(row) for row in rows if len(row) > 1)
        score = there, max(lengths.values(), default=0)
        if best is None or score > best[0]:
            best = score, found
    if best is None or (best[0][0] == 0 and first_error):
        raise first_error
    return best[1]


def _utterances(table: Table, root: Path, rows: list[list[str]]) -> tuple[list[Utterance], list[str]]:
    columns, rows = _columns(table, rows)
    utterances: dict[str, Utterance] = {}
    faults = []
    for number, row in enumerate(rows, start=1):
        cells = {name: row[place].strip() if place < len(row) else "" for name, place in columns.items()}
        path, text = _audio(root, cells["audio"]), " ".join(cells["text"].split())
        where = f"{table.path}, item {number}"
        if not cells["audio"] or not text:
            faults.append(f"{where}: the {'text' if cells['audio'] else 'audio file'} is missing")
            continue
        id = (path.relative_to(root) if path.is_relative_to(root) else path).with_suffix("").as_posix()
        if id in utterances:
            faults.append(f"{where}: {cells['audio']} is there already; remove one of the lines")
            continue
        utterances[id] = Utterance(text, path, id, cells.get("speaker") or None)
    return list(utterances.values()), faults


def _likely_delimiters(content: str) -> list[str]:
    """Those in the table, first the ones that are in most lines: the first line alone may be a remark."""
    lines = [Counter(mark for mark in line if mark in DELIMITERS) for line in content.splitlines()]
    there = {mark: (sum(mark in line for line in lines), content.count(mark)) for mark in DELIMITERS if mark in content}
    return sorted(there, key=there.get, reverse=True) or [","]


def _rows(path: Path, content: str, delimiter: str) -> list[list[str]]:
    """The lines of the table that are not blank."""
    rows, line = [], 1
    quoting = csv.QUOTE_MINIMAL if delimiter in ",;" else csv.QUOTE_NONE  # elsewhere they are part of the text
    # Joined files have byte order marks amid them.
    lines = (line.removeprefix("\ufeff") for line in io.StringIO(content, newline=""))
    try:
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        for row in reader:
            if any(map(str.strip, row)):
                rows.append(row)
            line = reader.line_num + 1  # where the next one begins; a quoted text may have several
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: not a line of a table ({error}); where a text begins with a quotation mark, "
            'double those in it and put it into two more: """Yes"" he said"'
        ) from None
    return rows


def _columns(table: Table, rows: list[list[str]]) -> tuple[dict[str, int], list[list[str]]]:
    """The places of the columns, from 0, and the rows without the header."""
    if not rows:
        raise UserError(f"{table.path}: the table is empty; add a line per recording")
    wanted = {"audio": table.audio, "text": table.text, "speaker": table.speaker}
    wanted = {name: column for name, column in wanted.items() if column is not None}
    if all(column.isdecimal() for column in wanted.values()):
        places = {name: int(column) - 1 for name, column in wanted.items()}
        widest = max(map(len, rows))
        for name, place in places.items():
            if not 0 <= place < widest:
                raise UserError(f"{table.path}: has {widest} columns; give --{name}-column one of their numbers")
        return places, rows
    stripped = ([cell.strip() for cell in row] for row in rows)
    header = next((row for row in stripped if {*wanted.values()} <= {*row}), [cell.strip() for cell in rows[0]])
    for name, column in wanted.items():
        if column not in header:
            raise UserError(
                f"{table.path}: no column {column!r} in its header ({', '.join(header)}); give its name as "
                f"--{name}-column, or numbers from 1 for all columns if there is no header"
            )
    # Joined tables have the header again.
    return {name: header.index(column) for name, column in wanted.items()}, [
        row for row in rows if [cell.strip() for cell in row] != header
    ]


def _audio(root: Path, name: str) -> Path:
    """The file of this name; some tables omit the ending."""
    path = portable(root, name)
    if path.suffix.lower() not in AUDIO:
        endings = (*AUDIO, *map(str.upper, AUDIO))
        return next((file for ending in endings if (file := path.with_name(path.name + ending)).is_file()), path)
    return path
