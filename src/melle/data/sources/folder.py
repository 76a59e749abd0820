"""Your own recordings: audio files beside their transcripts (for a table of both see ``table.py``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from melle.audio_formats import AUDIO
from melle.data.manifest import Utterance
from melle.data.sources.manifests import in_threads, log_skipped, measured, share, write_manifests
from melle.data.sources.table import Table, read_table
from melle.errors import DataError, UserError

TRANSCRIPTS = (".txt", ".lab", ".normalized.txt")  # beside the recording, of the same stem; capitals count as well


def prepare(
    root: Path,
    output: Path,
    table: Table | None = None,
    speaker_from_folder: bool = False,
    language: str | None = None,
    validation_share: float = 0.02,
) -> None:
    """Write train.jsonl and validation.jsonl; an utterance's id decides between them. Paths count from ``root``."""
    if not 0 <= validation_share < 1:
        raise UserError(f"--validation-share {validation_share}: give a number from 0 to 1, such as 0.02")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder of the recordings as --root")
    utterances, faults = read_table(table, root) if table else _read_folder(root)
    log_skipped(faults)
    if not utterances:
        wanted = f"line of {table.path}" if table else f"recording ({', '.join(AUDIO)}) below {root}"
        raise UserError(f"no {wanted} has a transcript; put it beside the recording as NAME.txt or give --csv")
    if speaker_from_folder:
        utterances = [replace(utterance, speaker=utterance.audio_path.parent.name) for utterance in utterances]
    held_out = {utterance.id for utterance in utterances if share(utterance.id) < validation_share}
    if validation_share and not 0 < len(held_out) < len(utterances):
        raise UserError(
            f"--validation-share {validation_share:g} of {len(utterances)} utterances leaves one manifest empty; give "
            "another share, such as 0.2 for a few recordings, or 0 for training alone"
        )
    utterances = [replace(utterance, language=language) for utterance in measured(utterances)]
    train = [utterance for utterance in utterances if utterance.id not in held_out]
    validation = [utterance for utterance in utterances if utterance.id in held_out]
    write_manifests(output, {"train.jsonl": train, "validation.jsonl": validation})


def _read_folder(root: Path) -> tuple[list[Utterance], list[str]]:
    """Utterances by files, and what is wrong with the others."""
    recordings: dict[str, Path] = {}
    transcripts: dict[Path, Path] = {}  # by their paths with the ending in small letters
    faults, found = [], []
    for path in sorted(_files(root)):
        ending = next((ending for ending in reversed(TRANSCRIPTS) if path.name.lower().endswith(ending)), None)
        if ending:
            transcripts[path.with_name(path.name[: -len(ending)] + ending)] = path
        else:
            found.append(path)
    for path in sorted(found, key=_rank):
        id = path.relative_to(root).with_suffix("").as_posix()
        if recordings.setdefault(id, path) != path:
            faults.append(f"{path}: {recordings[id].name} has the same stem; rename one")

    def utterance(item: tuple[str, Path]) -> Utterance | str:
        id, path = item
        beside = [path.with_suffix(ending) for ending in TRANSCRIPTS]
        try:
            text = _read_text(next((transcripts[file] for file in beside if file in transcripts), beside[0]))
        except DataError as error:
            return str(error)
        return Utterance(text, path, id)

    results = list(in_threads(utterance, sorted(recordings.items(), key=lambda item: item[1]), "Reading transcripts"))
    faults += [fault for fault in results if isinstance(fault, str)]
    return [one for one in results if isinstance(one, Utterance)], faults


def _rank(path: Path) -> tuple[int, Path]:
    """Of recordings of one stem that comes first which libsndfile reads by itself, as a video's sound need not be."""
    return AUDIO.index(path.suffix.lower()), path


def _files(root: Path) -> Iterator[Path]:
    """Recordings and transcripts at any depth; links to folders are followed, each folder once."""
    seen: set[str] = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:  # a link that leads back up, or two that lead to the same
            inner.clear()
            continue
        seen.add(place)
        inner.sort()
        for name in names:
            path = Path(folder, name)
            if name.lower().endswith((*AUDIO, *TRANSCRIPTS)) and path.is_file():
                yield path


def _read_text(path: Path) -> str:
    """The transcript in a file, in one line."""
    try:
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        raise DataError("no transcript", f"{path}: no such transcript; add it") from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8", f"{path}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise DataError("unreadable", f"{path}: cannot be read ({error.strerror or error})") from None
    if not text:
        raise DataError("no transcript", f"{path}: empty; write what is said")
    return text
