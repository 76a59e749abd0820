"""A table of recordings with their transcripts, such as LJSpeech's metadata.csv."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from melle.data.manifest import Utterance, portable
from melle.errors import UserError
from melle.formats import AUDIO

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
    if table.delimiter:
        return _utterances(table, root, _rows(table))
    best, errors = None, {}
    likely = _likely_delimiters(table)
    for delimiter in likely:
        try:
            rows = _rows(replace(table, delimiter=delimiter))
            found = _utterances(table, root, rows)
        except UserError as error:
            errors[delimiter] = error
            continue
        there = sum(utterance.audio_path.is_file() for utterance in found[0])
        lengths = Counter(len(row) for row in rows if len(row) > 1)
        alike = max(lengths.values(), default=0)
        if best is None or (there, alike) > best[0]:
            best = (there, alike), found
    if best is None or (best[0][0] == 0 and likely[0] in errors):
        raise errors[likely[0]]
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


def _likely_delimiters(table: Table) -> list[str]:
    """Those in the table, first the ones that are in most lines: the first line alone may be a remark."""
    lines: Counter[str] = Counter()
    every: Counter[str] = Counter()
    try:
        with table.path.open(encoding="utf-8", newline="") as file:
            for line in file:
                found = Counter(mark for mark in line if mark in DELIMITERS)
                lines.update(found.keys())
                every.update(found)
    except UnicodeDecodeError:
        raise UserError(f"{table.path}: not UTF-8; save the table in that encoding") from None
    return sorted(filter(lines.get, DELIMITERS), key=lambda mark: (lines[mark], every[mark]), reverse=True) or [","]


def _without_marks(lines: Iterable[str]) -> Iterator[str]:
    """The lines without byte order marks, which joined files have amid them."""
    return (line.removeprefix("\ufeff") for line in lines)


def _rows(table: Table) -> list[list[str]]:
    """The lines of the table that are not blank."""
    rows, line = [], 1
    quoting = csv.QUOTE_MINIMAL if table.delimiter in ",;" else csv.QUOTE_NONE  # elsewhere they are part of the text
    try:
        with table.path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(_without_marks(file), delimiter=table.delimiter, quoting=quoting, strict=True)
            for row in reader:
                if any(map(str.strip, row)):
                    rows.append(row)
                line = reader.line_num + 1  # where the next one begins; a quoted text may have several
    except UnicodeDecodeError:
        raise UserError(f"{table.path}: not UTF-8; save the table in that encoding") from None
    except csv.Error as error:
        raise UserError(
            f"{table.path}, line {line}: not a line of a table ({error}); where a text begins with a quotation mark, "
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
    """The file of this name; some tables leave out the ending."""
    path = portable(root, name)
    if path.suffix.lower() not in AUDIO:
        endings = (*AUDIO, *map(str.upper, AUDIO))
        return next((file for ending in endings if (file := path.with_name(path.name + ending)).is_file()), path)
    return path
