"""A whole manifest checked: a clean copy of it, a list of what was rejected and why, and a report.

The manifest is read twice, line by line: first every item is checked, by several processes; then, when it is known
which items repeat others and which pace is usual, the lists are written.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tqdm import tqdm

from melle.data.check_report import Tally, report
from melle.data.filters import CheckedItem, CheckLimits, Filters, check_item
from melle.data.manifest import Utterance, parse_line, read_lines, write_manifest
from melle.data.processes import map_in_processes
from melle.errors import UserError
from melle.files import check_writable, written_whole
from melle.text import Tokenizer, tokenizer_from_dict

CHUNK = 32  # lines that a process gets at a time
Line = tuple[int, int, bytes]  # number, place in the file, content


@dataclass(frozen=True)
class CheckReport:
    """What a check found. Counts of items are by the kind of their fault."""

    kept: int
    rejected: Counter[str]
    warnings: Counter[str]
    text: str  # for the terminal


def check_manifest(
    manifest: str | Path,
    output: str | Path | None = None,
    limits: CheckLimits | None = None,
    tokenizer: Tokenizer | None = None,
    strict: bool = False,
    workers: int | None = None,
) -> CheckReport:
    """Check every item, write the valid ones to ``output`` and the others to NAME.rejected.jsonl beside it.

    Of items that repeat each other the first is kept. ``strict`` rejects what is otherwise a warning. ``workers``
    processes (None: one per core) do not change the result; a script that calls this needs
    ``if __name__ == "__main__":``, because Python starts them by importing it.
    """
    manifest = Path(manifest)
    if not manifest.is_file():
        raise UserError(f"{manifest}: no such manifest; give the path of a JSONL file")
    clean = Path(output) if output else manifest.with_name(f"{manifest.stem}.clean.jsonl")
    rejected = clean.with_name(f"{clean.stem.removesuffix('.clean')}.rejected.jsonl")
    for path in (clean, rejected):
        check_writable(path)
        if path.resolve() == manifest.resolve():
            raise UserError(f"{path}: would replace the manifest that is checked; give another name with -o")
    clean.parent.mkdir(parents=True, exist_ok=True)
    limits = limits or CheckLimits()
    items, tally = Filters(limits.min_alignment), Tally()
    with TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", dir=clean.parent) as faults:
        for item in _check_all(manifest, limits, tokenizer, workers):
            items.add(item)
            if item.kind:
                faults.write(_rejected_line(item) + "\n")
        faults.seek(0)
        items.apply(strict)
        try:
            with (
                written_whole(rejected) as partial,
                partial.open("w", encoding="utf-8", errors="backslashreplace") as rejects,
            ):
                valid = _sort_out(manifest, items, faults, rejects, tally)
                if items.kept.any():
                    write_manifest(clean, valid)
                else:
                    deque(valid, maxlen=0)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{clean}: cannot be written ({reason}); give another place with -o") from None
    if not items.kept.any():
        counts = ", ".join(f"{kind} {count}" for kind, count in tally.rejected.most_common())
        raise UserError(f"{manifest}: none of its {len(items)} items is valid ({counts}); see {rejected}")
    text = "\n".join([*report(manifest, items, tally), "", f"Wrote {clean}", f"  and {rejected}"])
    return CheckReport(int(items.kept.sum()), tally.rejected, tally.warnings, text)


def _check_all(
    manifest: Path, limits: CheckLimits, tokenizer: Tokenizer | None, workers: int | None
) -> Iterator[CheckedItem]:
    """The items, in the order of the lines, as they come."""
    make = partial(_make_check, manifest, limits, tokenizer.as_dict() if tokenizer else None)
    with (
        map_in_processes(make, read_lines(manifest), workers, CHUNK) as results,
        tqdm(total=manifest.stat().st_size, unit="B", unit_scale=True, desc=f"Checking {manifest}") as bar,
    ):
        rejected = 0
        for count, ((_, _, line), item) in enumerate(results, start=1):
            yield item
            rejected += item.kind is not None
            bar.set_postfix(items=count, rejected=rejected, refresh=False)
            bar.update(len(line))


def _make_check(manifest: Path, limits: CheckLimits, description: dict | None) -> Callable[[Line], CheckedItem]:
    if multiprocessing.parent_process() is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the MP3 decoder complains to the terminal, amid the progress bar
    tokenizer = tokenizer_from_dict(description) if description else None
    return lambda line: check_item(line[2], manifest, line[0], limits, tokenizer)


def _sort_out(
    manifest: Path, items: Filters, faults: Iterable[str], rejects: IO[str], tally: Tally
) -> Iterator[Utterance]:
    """Read the manifest again: yield what is kept, with its duration, and write down what is not. Counts as it goes."""
    faults = iter(faults)  # the lines of those that are faulty by themselves, in their order
    lines = tqdm(read_lines(manifest), total=len(items), unit=" items", desc="Writing")
    for place, (number, _, line) in enumerate(lines):
        if items.faulty[place]:
            reject = next(faults)
            rejects.write(reject)
            fault = json.loads(reject)
            tally.count(tally.rejected, number, fault["audio_path"], fault["kind"], fault["reason"])
            continue
        utterance, kept = parse_line(line, manifest, number), items.kept[place]
        audio_path, fault = str(utterance.audio_path), items.fault(place)
        if fault:
            tally.count(tally.warnings if kept else tally.rejected, number, audio_path, *fault)
        if kept:
            tally.read(utterance.transcription, number)
            yield replace(utterance, duration=float(items.seconds[place]))
        else:
            rejects.write(_rejected_line(CheckedItem(number, *fault, utterance.id, audio_path)) + "\n")


def _rejected_line(item: CheckedItem) -> str:
    names = {"line": "number", "id": "id", "audio_path": "audio_path", "kind": "kind", "reason": "reason"}
    return json.dumps({key: getattr(item, name) for key, name in names.items()}, ensure_ascii=False)
