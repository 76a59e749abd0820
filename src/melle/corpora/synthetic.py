"""A corpus of synthetic speech from any list of texts and voices, the same to the byte wherever it is made.

``make_corpus("data/mine", {"train": [Line("a-1", "good morning", voice)]})`` writes ``audio/<voice>/a-1.flac`` (16 kHz,
mono, 16 bits) and ``train.jsonl`` into ``data/mine``. The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
import torch
from tqdm import tqdm

from melle.corpora.espeak import Espeak, Voice, copy_data
from melle.corpora.finish import SAMPLE_RATE, Words, finish, level, shifted
from melle.data.manifest import Utterance, write_manifest
from melle.data.processes import cores, share_out
from melle.errors import UserError
from melle.locks import making

DESCRIPTION = "corpus.json"  # what a corpus is made of; its presence marks the folder as ours


@dataclass(frozen=True)
class Line:
    """An utterance to be spoken. ``id`` is unique in the corpus and becomes a file's name."""

    id: str
    text: str
    voice: Voice


Job = tuple[Line, str, float]  # the file to write, and the level in dB
Result = tuple[str, tuple[float, Words]]  # id, duration in seconds, times of words


def make_corpus(
    folder: str | Path,
    splits: Mapping[str, Sequence[Line]],
    seed: int = 0,
    workers: int | None = None,
    description: Mapping | None = None,
) -> Path:
    """Speak the lines of every split, write the audio, a manifest per split and ``corpus.json``; return the folder.

    ``workers`` processes share the work (None: one per core) and do not change the result. Python starts them by
    importing the running script, which therefore needs ``if __name__ == "__main__":`` around its calls.

    Where several processes call this at once, one makes the corpus and the others wait. ``description`` says all that
    the corpus is made of: one that is there already with the same is left alone. Nothing is ever replaced: others may
    be training on it. A folder that holds something else is a UserError.
    """
    target = Path(folder).resolve()  # where a link leads
    _check_lines(splits)
    if description is not None:
        description = json.loads(json.dumps(dict(description)))
    with making(target, "making this corpus"):
        if description is None or description_of(target) != description:
            _check_free(target)
            _make(target, splits, seed, workers, description or {})
    return Path(folder)


def _make(
    target: Path, splits: Mapping[str, Sequence[Line]], seed: int, workers: int | None, description: Mapping
) -> None:
    lines = list(chain.from_iterable(splits.values()))
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name in {line.voice.name for line in lines}:
            (partial / "audio" / name).mkdir(parents=True)
        spoken = dict(tqdm(_speak(lines, partial, seed, workers), total=len(lines), desc=f"Making {target}"))
        for split, members in splits.items():
            write_manifest(
                partial / f"{split}.jsonl", (_utterance(line, partial, *spoken[line.id]) for line in members)
            )
        text = json.dumps(description, indent=2, ensure_ascii=False)
        (partial / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()  # is empty
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"{target}: cannot be made ({error.strerror or error}); make room or name another") from None
    finally:  # after an interruption too
        shutil.rmtree(partial, ignore_errors=True)


def _check_free(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: holds something else than this corpus and is left as it is; name another folder")


def description_of(folder: Path) -> dict | None:
    """What the corpus in a folder is made of; None where there is none."""
    try:
        return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _speak(lines: list[Line], folder: Path, seed: int, workers: int | None) -> Iterator[Result]:
    """Yield the id of every line with its duration and the times of words, as its audio gets written, in order."""
    Espeak()  # if it is missing, say so here: a worker that cannot start says little
    workers = min(workers or cores(), len(lines))
    jobs = ((line, str(_audio_path(line, folder)), level(line.voice.name, seed)) for line in lines)
    with TemporaryDirectory(prefix="espeak-") as scratch:
        data = copy_data(Path(scratch) / "data") if any(line.voice.timbre for line in lines) else None
        if workers <= 1:
            yield from _speak_here(jobs, data)
            return
        with closing(
            share_out(_speak_lines, jobs, workers, min(16, 1 + len(lines) // workers), _load, data)
        ) as results:
            for _, spoken in results:
                yield from spoken


def _speak_here(jobs: Iterable[Job], data: Path | None) -> Iterator[Result]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: the number of threads may show in the last bit
    try:
        _load(data)
        yield from map(_speak_line, jobs)
    finally:
        torch.set_num_threads(threads)


_espeak: Espeak | None = None  # one per process


def _load(data: Path | None) -> None:
    global _espeak
    _espeak = Espeak(data)


def _speak_lines(jobs: list[Job]) -> list[Result]:
    return [_speak_line(job) for job in jobs]


def _speak_line(job: Job) -> Result:
    line, path, decibels = job
    spoken = _espeak.synthesize(line.text, line.voice)
    speech, earlier = finish(spoken.samples, spoken.sample_rate, decibels)
    soundfile.write(path, speech, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    duration = len(speech) / SAMPLE_RATE
    return line.id, (duration, shifted(spoken.words, earlier, duration))


def _audio_path(line: Line, folder: Path) -> Path:
    return folder / "audio" / line.voice.name / f"{line.id}.flac"


def _utterance(line: Line, folder: Path, duration: float, words: Words) -> Utterance:
    return Utterance(
        transcription=line.text,
        audio_path=_audio_path(line, folder),
        id=line.id,
        speaker=line.voice.name,
        language=line.voice.language,
        duration=duration,
        words=words,
    )


def _check_lines(splits: Mapping[str, Sequence[Line]]) -> None:
    ids: set[str] = set()
    for split, lines in splits.items():
        if not lines:
            raise UserError(f'"{split}" of the corpus has no line to speak; give it at least one text and voice')
        for line in lines:
            if line.id in ids:
                raise UserError(f'two lines of the corpus have the id "{line.id}"; give each its own')
            ids.add(line.id)
            for name in (line.id, line.voice.name):
                if not name or name.startswith(".") or Path(name).name != name:
                    raise UserError(f'"{name}" cannot name a file; use letters, digits, "-" and "_" in ids and voices')
    if not ids:
        raise UserError("a corpus needs a split, such as train; give one with a line to speak")
