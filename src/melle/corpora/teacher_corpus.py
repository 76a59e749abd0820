"""A corpus spoken by a teacher: what is said by whom follows from a seed, and an interrupted run goes on where it was.

Four splits: ``train``; ``validation`` and ``test_seen`` in published voices that training hears, saying sentences that
it does not; ``test`` in voices that nothing else has. Every utterance is noted in ``SPLIT.spoken`` as soon as its
recording is there; the manifests are written from these notes at the end. With more hours the same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from melle.audio import AudioWriter
from melle.corpora.finish import SAMPLE_RATE, finish, level, shifted
from melle.corpora.plan import FORMATS, HELD_OUT_SPLITS, Item, Plan, Settings
from melle.corpora.teacher import Teacher
from melle.data.manifest import Utterance, write_manifest
from melle.data.processes import cores, share_out
from melle.errors import UserError
from melle.files import written_whole
from melle.locks import making

DESCRIPTION = "corpus.json"  # what the corpus is made of
REJECTED = "rejected.jsonl"  # texts that could not be spoken, and why
FEW = 20  # texts of which one at least must be spoken
MARGIN, SILENCE = 0.1, -40.0  # seconds and dB: natural voices begin and end softly


def speak_corpus(
    folder: str | Path,
    make_teacher: Callable[[], Teacher],
    texts: Sequence[str],
    held_out_texts: Mapping[str, Sequence[str]],
    hours: float,
    settings: Settings | None = None,
    workers: int | None = None,
) -> Path:
    """Speak ``hours`` of training and the other splits into ``folder``, or what of it is missing; return the folder.

    Args:
        make_teacher: called once here and once in each of ``workers`` processes (None: one per core), which Python
            starts by importing the running script: it needs ``if __name__ == "__main__":`` around its calls.
        held_out_texts: for "validation" and "test"; never spoken in training.

    Raises UserError where the folder holds a corpus of other settings, which is left as it is, or cannot be written.
    """
    if not 0 < hours < 1e5:
        raise UserError(f"--hours {hours:g}: give a number above 0")
    folder = Path(folder)
    plan = Plan(make_teacher(), list(texts), held_out_texts, settings or Settings())
    with making(folder, "speaking this corpus"):
        _describe(folder, plan.describe())
        notes = {split: Notes(folder, split) for split in (*HELD_OUT_SPLITS, "train")}
        _speak_missing(folder, plan, notes, make_teacher, hours * 3600, cores() if workers is None else workers)
        _write_manifests(folder, notes)
    return folder


class Notes:
    """What of a split is spoken already: a line of JSON for every item, in ``SPLIT.spoken``."""

    def __init__(self, folder: Path, split: str):
        self.path, self.split = folder / f"{split}.spoken", split
        self.known: dict[int, dict[str, Any]] = {}
        whole = 0  # bytes of whole lines: a machine that stopped may have left a part of one
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for line in lines:
            try:
                note = json.loads(line)
                there = "reason" in note or (folder / note["audio_path"]).stat().st_size > 0
            except (ValueError, KeyError, OSError):
                there = False
            if line.endswith(b"\n"):
                whole += len(line)
                if there:
                    self.known[note["number"]] = note
        if whole < sum(map(len, lines)):
            with self.path.open("r+b") as file:
                file.truncate(whole)

    def add(self, note: dict[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(note, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(_unwritable(self.path, error)) from None
        self.known[note["number"]] = note

    @property
    def seconds(self) -> float:
        return sum(note.get("duration", 0.0) for note in self.known.values())

    @property
    def spoken(self) -> list[dict[str, Any]]:
        return [note for _, note in sorted(self.known.items()) if "reason" not in note]

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return [note for _, note in sorted(self.known.items()) if "reason" in note]


def _speak_missing(
    folder: Path,
    plan: Plan,
    notes: Mapping[str, Notes],
    make_teacher: Callable[[], Teacher],
    seconds: float,
    workers: int,
) -> None:
    """Speak what the notes lack of every split, of training until there are so many seconds."""
    train = notes["train"]
    held_out = [
        plan.item(split, number)
        for split in HELD_OUT_SPLITS
        for number in plan.numbers(split)
        if number not in notes[split].known
    ]
    training = (plan.item("train", number) for number in plan.numbers("train") if number not in train.known)
    if train.seconds >= seconds:
        training = iter(())
        if not held_out:
            return
    said = train.seconds
    bar = tqdm(total=round(seconds), initial=min(round(said), round(seconds)), desc=f"Speaking {folder}", unit=" s")
    with closing(_spoken(chain(held_out, training), make_teacher, folder, plan.settings, workers)) as results, bar:
        for note in results:
            notes[note["split"]].add(note)
            bar.set_postfix(held_out=sum(len(notes[split].known) for split in HELD_OUT_SPLITS), refresh=False)
            if note["split"] == "train":
                said += note.get("duration", 0.0)
                bar.update(min(round(said), bar.total) - bar.n)
                if len(train.known) >= FEW and not train.spoken:
                    raise UserError(f"none of {FEW} texts could be spoken; the first: {train.rejected[0]['reason']}")
                if said >= seconds:
                    break
    _remove_unnoted(folder, train)


def _remove_unnoted(folder: Path, notes: Notes) -> None:
    """Remove recordings that other processes were at when there was enough: no manifest has them."""
    noted = {Path(note["audio_path"]).name for note in notes.spoken}
    for path in folder.glob(f"audio/*/{notes.split}-*"):
        if path.name not in noted:
            path.unlink(missing_ok=True)


def _spoken(
    items: Iterator[Item], make_teacher: Callable[[], Teacher], folder: Path, settings: Settings, workers: int
) -> Iterator[dict[str, Any]]:
    """What is to be noted of every item, in order, as it gets spoken."""
    if workers <= 1:
        _start(make_teacher, folder, settings)
        yield from map(_speak, items)
        return
    with closing(share_out(_speak_all, items, workers, 1, _start, make_teacher, folder, settings)) as results:
        for _, notes in results:
            yield from notes


_state: tuple[Teacher, Path, Settings]  # of a process that speaks


def _start(make_teacher: Callable[[], Teacher], folder: Path, settings: Settings) -> None:
    global _state
    torch.set_num_threads(1)
    _state = make_teacher(), folder, settings


def _speak_all(items: list[Item]) -> list[dict[str, Any]]:
    return [_speak(item) for item in items]


def _speak(item: Item) -> dict[str, Any]:
    """Speak an item and write its recording; what is noted of it."""
    teacher, folder, settings = _state
    about = {"split": item.split, "number": item.number, "text": item.text, "speaker": item.speaker.name}
    try:
        spoken = teacher.speak(item.text, item.speaker, item.speed)
    except UserError as error:
        return {**about, "reason": str(error)}
    volume = level(item.speaker.name, settings.seed)
    speech, earlier = finish(spoken.samples, spoken.sample_rate, volume, MARGIN, SILENCE)
    name = f"{item.split}-{item.number:06d}"
    audio = f"audio/{item.speaker.name}/{name}{FORMATS[settings.format]}"
    _write(folder / audio, speech, settings.format)
    duration = len(speech) / SAMPLE_RATE
    note = {
        **about,
        "id": name,
        "audio_path": audio,
        "language": item.speaker.language.split("-")[0],
        "duration": duration,
    }
    return note if spoken.words is None else {**note, "words": shifted(spoken.words, earlier, duration)}


def _write(path: Path, speech: np.ndarray, format: str) -> None:
    try:
        if format == "opus":  # which the general writer has not
            with written_whole(path, sync=False) as partial:
                soundfile.write(partial, speech, SAMPLE_RATE, format="OGG", subtype="OPUS")
        else:
            with AudioWriter(path, SAMPLE_RATE) as file:
                file.write(torch.from_numpy(speech))
    except (OSError, soundfile.LibsndfileError) as error:
        raise UserError(_unwritable(path, error)) from None


def _unwritable(path: Path, error: Exception) -> str:
    why = getattr(error, "strerror", None) or error
    return f"{path}: cannot be written ({why}); make room or mend that, and the same command goes on where it stopped"


def _describe(folder: Path, description: dict) -> None:
    """Note what the corpus is made of, or see that it is what was noted."""
    path = folder / DESCRIPTION
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: holds something else; give another folder with -o") from None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as partial:
                partial.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(_unwritable(path, error)) from None
        return
    except ValueError:
        raise UserError(f"{path}: cannot be read; give another folder with -o") from None
    if known != description:
        differing = [
            f"{name} {known.get(name) if isinstance(known, dict) else None!r}, not {value!r}"
            for name, value in description.items()
            if not isinstance(known, dict) or known.get(name) != value
        ]
        raise UserError(
            f"{folder}: was spoken with other settings ({'; '.join(differing)}) and is left as it is; "
            "give these, or another folder with -o"
        )


def _write_manifests(folder: Path, spoken: Mapping[str, Notes]) -> None:
    try:
        for split, notes in spoken.items():
            if not notes.spoken:
                continue
            write_manifest(folder / f"{split}.jsonl", (_utterance(note, folder) for note in notes.spoken))
            speakers = len({note["speaker"] for note in notes.spoken})
            print(
                f"{folder / split}.jsonl: {len(notes.spoken)} utterances, {notes.seconds / 3600:.2f} hours, "
                f"{speakers} speakers"
            )
        rejected = [note for notes in spoken.values() for note in notes.rejected]
        with written_whole(folder / REJECTED, sync=False) as partial:
            lines = (json.dumps(note, ensure_ascii=False) + "\n" for note in rejected)
            partial.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise UserError(_unwritable(folder, error)) from None
    if rejected:
        print(f"{len(rejected)} texts could not be spoken, listed in {folder / REJECTED}; {rejected[0]['reason']}")


def _utterance(note: Mapping[str, Any], folder: Path) -> Utterance:
    words = note.get("words")
    return Utterance(
        transcription=note["text"],
        audio_path=folder / note["audio_path"],
        id=note["id"],
        speaker=note["speaker"],
        language=note["language"],
        duration=note["duration"],
        words=None if words is None else tuple((begin, end) for begin, end in words),
    )
