"""Your own recordings: audio files beside their transcripts, or a table of both."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from melle.data.corpora.recordings import (
    AUDIO,
    Manifests,
    in_threads,
    measured,
    prepare_manifests,
    read_text,
    share,
    stamp,
    tell_left_out,
)
from melle.data.manifest import Utterance
from melle.errors import DataError, UserError

TRANSCRIPTS = (".txt", ".lab", ".normalized.txt")  # beside the recording, of the same stem; capitals count as well


@dataclass(frozen=True)
class Table:
    """A table of recordings. A column is the name in the header or, in a table without one, its number from 1."""

    path: Path
    delimiter: str | None = None  # None: by the file's first line
    audio: str = "audio"
    text: str = "text"
    speaker: str | None = None


def prepare(
    root: Path,
    output: Path,
    table: Table | None = None,
    speaker_from_folder: bool = False,
    language: str | None = None,
    validation_share: float = 0.02,
    again: bool = False,
) -> None:
    """Write train.jsonl and validation.jsonl; an utterance's id decides between them. Paths count from ``root``."""
    if not 0 <= validation_share < 1:
        raise UserError(f"--validation-share {validation_share}: give a number from 0 to 1, such as 0.02")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder of the recordings as --root")
    if table and not table.path.is_file():
        raise UserError(f"{table.path}: no such table; give a file with a line per recording as --csv")
    options = {"speaker_from_folder": speaker_from_folder, "language": language, "share": validation_share}
    options["table"] = {name: value and str(value) for name, value in asdict(table).items()} if table else None
    listed = _read_table(table, root) if table else None
    files = [table.path, *(one.audio_path for one in listed[0] if one.audio_path.is_file())] if table else _files(root)
    made_of = {"files": stamp(files), "root": str(root.resolve()), **options}

    def read() -> Manifests:
        utterances, faults = listed or _read_folder(root)
        tell_left_out(faults)
        if not utterances:
            wanted = f"line of {table.path}" if table else f"recording ({', '.join(AUDIO)}) below {root}"
            raise UserError(f"no {wanted} has a transcript; put it beside the recording as NAME.txt or give --csv")
        if speaker_from_folder:
            utterances = [replace(utterance, speaker=utterance.audio_path.parent.name) for utterance in utterances]
        return _split([replace(utterance, language=language) for utterance in utterances], validation_share)

    prepare_manifests(output, "folder", made_of, read, again)


def _split(utterances: list[Utterance], validation_share: float) -> Manifests:
    manifests: dict[str, list[Utterance]] = {"train.jsonl": [], "validation.jsonl": []}
    for utterance in utterances:
        held_out = share(utterance.id) < validation_share
        manifests["validation.jsonl" if held_out else "train.jsonl"].append(utterance)
    if validation_share and not all(manifests.values()):
        raise UserError(
            f"all of the {len(utterances)} utterances fall to one side; give another --validation-share than "
            f"{validation_share:g}, such as 0.2 for a few recordings, or 0 for training alone"
        )
    return measured(manifests)


def _files(root: Path) -> list[Path]:
    endings = (*AUDIO, *TRANSCRIPTS)
    return [path for path in root.rglob("*") if path.name.lower().endswith(endings) and path.is_file()]


def _read_folder(root: Path) -> tuple[list[Utterance], list[str]]:
    """Utterances by files, and what is wrong with the others."""
    recordings: dict[str, Path] = {}
    transcripts: dict[Path, Path] = {}  # by their paths with the ending in small letters
    faults = []
    for path in sorted(_files(root)):
        ending = next((ending for ending in reversed(TRANSCRIPTS) if path.name.lower().endswith(ending)), None)
        if ending:
            transcripts[path.with_name(path.name[: -len(ending)] + ending)] = path
        else:
            id = path.relative_to(root).with_suffix("").as_posix()
            if recordings.setdefault(id, path) != path:
                faults.append(f"{path}: {recordings[id].name} has the same stem; rename one")

    def utterance(item: tuple[str, Path]) -> Utterance | str:
        id, path = item
        beside = [path.with_suffix(ending) for ending in TRANSCRIPTS]
        try:
            text = read_text(next((transcripts[file] for file in beside if file in transcripts), beside[0]))
        except DataError as error:
            return str(error)
        return Utterance(text, path, id)

    found = list(in_threads(utterance, list(recordings.items()), "Reading transcripts"))
    faults += [fault for fault in found if isinstance(fault, str)]
    return [utterance for utterance in found if isinstance(utterance, Utterance)], faults


def _read_table(table: Table, root: Path) -> tuple[list[Utterance], list[str]]:
    """Utterances by lines, and what is wrong with the others."""
    columns, rows = _columns(table, _rows(table))
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


def _rows(table: Table) -> list[list[str]]:
    """The lines of the table that are not blank."""
    rows, line = [], 1
    try:
        with table.path.open(encoding="utf-8-sig", newline="") as file:
            first = next(filter(str.strip, file), "")
            delimiter = table.delimiter or max("\t|;,", key=first.count)
            quoting = csv.QUOTE_MINIMAL if delimiter in ",;" else csv.QUOTE_NONE  # elsewhere they are part of the text
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
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
        for name, place in places.items():
            if not 0 <= place < len(rows[0]):
                raise UserError(f"{table.path}: has {len(rows[0])} columns; give --{name}-column one of their numbers")
        return places, rows
    header = [cell.strip() for cell in rows[0]]
    for name, column in wanted.items():
        if column not in header:
            raise UserError(
                f"{table.path}: no column {column!r} in its header ({', '.join(header)}); give its name as "
                f"--{name}-column, or numbers from 1 for all columns if there is no header"
            )
    return {name: header.index(column) for name, column in wanted.items()}, rows[1:]


def _audio(root: Path, name: str) -> Path:
    """The file of this name; some tables leave out the ending."""
    path = root / name
    if path.suffix.lower() not in AUDIO:
        endings = (*AUDIO, *map(str.upper, AUDIO))
        return next((file for ending in endings if (file := path.with_name(path.name + ending)).is_file()), path)
    return path
