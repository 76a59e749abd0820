"""The times of words for a whole manifest: by several processes, going on where an earlier run stopped.

What is found of a line is noted in ``NAME.alignment.jsonl`` beside the new manifest: its score and the times of its
words, or why it could not be aligned. That list is also the report: where the score is low, something else is said.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from melle.alignment.ctc import CtcAligner
from melle.audio import load_audio
from melle.console import shell_command
from melle.data import MIN_ALIGNMENT
from melle.data.journal import Journal
from melle.data.manifest import Utterance, parse_line, read_lines, write_manifest
from melle.data.processes import cores, map_in_processes
from melle.errors import DataError, UserError
from melle.files import file_stamp
from melle.locks import making
from melle.text.normalise import written_words

CHUNK = 8  # lines that a process gets at a time
SHOWN = 10  # of the worst, on the terminal
Line = tuple[int, bytes]


@dataclass(frozen=True)
class Report:
    """What an alignment found: lines, those without times, and those with a score below ``poor``."""

    lines: int
    failed: list[dict[str, Any]]
    poor: list[dict[str, Any]]
    text: str  # for the terminal


def align_manifest(
    manifest: str | Path,
    make_aligner: Callable[[], CtcAligner],
    model: str,
    output: str | Path | None = None,
    poor: float = MIN_ALIGNMENT,
    workers: int | None = None,
) -> Report:
    """Write ``manifest`` to ``output`` with ``words`` and ``alignment_score`` of every line that can be aligned.

    Args:
        make_aligner: called once in each of ``workers`` processes (None: one per core); with one, in this process.
        model: what the aligner is called, so that what another one found is not taken for its own.
        output: NAME.aligned.jsonl beside the manifest where not given.  poor: score below which a line is reported.
    """
    manifest = Path(manifest)
    if not manifest.is_file():
        raise UserError(f"{manifest}: no such manifest; give the path of a JSONL file")
    output = Path(output) if output else manifest.with_name(f"{manifest.stem}.aligned.jsonl")
    listed = output.with_name(f"{output.stem.removesuffix('.aligned')}.alignment.jsonl")
    if manifest.resolve() in (output.resolve(), listed.resolve()):
        raise UserError(f"{output}: would replace the manifest that is read; give another name with -o")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with making(listed, "aligning this manifest"):
            lines = [(number, line) for number, _, line in read_lines(manifest)]
            journal = Journal(listed, {"manifest": file_stamp(manifest), "model": model})
            notes = _align_missing(manifest, lines, journal, make_aligner, workers)
            found = [notes[number] for number, _ in lines]
            write_manifest(output, _aligned(manifest, lines, notes))
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{output}: cannot be written ({why}); make room, and the same command goes on") from None
    return _report(manifest, output, listed, found, poor)


def _align_missing(
    manifest: Path, lines: list[Line], journal: Journal, make_aligner: Callable[[], CtcAligner], workers: int | None
) -> dict[int, dict[str, Any]]:
    """What is noted of every line, by its number."""
    notes = {note["line"]: note for note in journal.items}
    missing = [line for line in lines if line[0] not in notes]
    if missing:
        with (
            map_in_processes(partial(_make_align, make_aligner, manifest), missing, workers, CHUNK) as results,
            tqdm(total=len(lines), initial=len(notes), desc=f"Aligning {manifest}", unit=" lines") as bar,
        ):
            for (number, _), note in results:
                notes[number] = note
                journal.add(note)
                bar.update()
    return notes


def _make_align(make_aligner: Callable[[], CtcAligner], manifest: Path) -> Callable[[Line], dict[str, Any]]:
    if multiprocessing.parent_process() is None:
        torch.set_num_threads(cores())  # alone, it has them all
    return partial(align_line, make_aligner(), manifest)


def align_line(aligner: CtcAligner, manifest: Path, line: Line) -> dict[str, Any]:
    """What is to be noted of a line of a manifest."""
    number, content = line
    note: dict[str, Any] = {"line": number}
    try:
        utterance = parse_line(content, manifest, number)
        note |= {"id": utterance.id, "audio_path": str(utterance.audio_path)}
        found = aligner.align(load_audio(utterance.audio_path, aligner.rate), utterance.transcription)
    except DataError as error:
        return {**note, "kind": error.kind, "reason": str(error)}
    worst = int(np.argmin(found.scores))
    return {
        **note,
        "score": round(found.score, 4),
        "worst_word": written_words(utterance.transcription)[worst],
        "words": [[round(begin, 3), round(end, 3)] for begin, end in found.words],
    }


def _aligned(manifest: Path, lines: list[Line], notes: dict[int, dict[str, Any]]) -> Iterator[Utterance]:
    """The manifest's utterances with the times that were found; what is no utterance is dropped."""
    for number, content in lines:
        try:
            utterance = parse_line(content, manifest, number)
        except DataError:
            continue
        note = notes[number]
        if "words" in note:
            utterance = replace(utterance, words=tuple(map(tuple, note["words"])), alignment_score=note["score"])
        yield utterance


def _report(manifest: Path, output: Path, listed: Path, found: list[dict[str, Any]], poor: float) -> Report:
    failed = [note for note in found if "reason" in note]
    scored = sorted((note for note in found if "score" in note), key=lambda note: note["score"])
    badly = [note for note in scored if note["score"] < poor]
    text = [f"{manifest}: {len(scored)} of {len(found)} lines aligned"]
    if scored:
        text[0] += f", median score {np.median([note['score'] for note in scored]):.2f}"
    if badly:
        text.append(f"{len(badly)} fit badly (score below {poor:g}): something else may be said. The worst:")
        text += [
            f"  line {note['line']}, {note['audio_path']}: score {note['score']:.2f}, worst at {note['worst_word']!r}"
            for note in badly[:SHOWN]
        ]
    if failed:
        text.append(f"{len(failed)} could not be aligned and have no times. The first:")
        text += [f"  line {note['line']}: {note['reason']}" for note in failed[:3]]
    text += [f"Wrote {output}", f"  and {listed}"]
    if badly:
        command = ("check", output, "--strict", "--min-alignment", f"{poor:g}")
        text.append(f"Without them: {shell_command('python', '-m', 'melle', *command)}")
    return Report(len(found), failed, badly, "\n".join(text))
