"""A corpus spoken by a synthesizer: recordings, manifests with the times of words, and an interrupted run goes on.

Every utterance is noted in ``SPLIT.spoken`` as soon as its recording, ``audio/SPEAKER/ID.flac`` (16 kHz, mono, 16
bits), is there; the manifests are written from these notes at the end, that of training last. What is spoken follows
from the items alone: any number of processes, stopped and started at any time, make the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from tqdm import tqdm

from melle.corpora.postprocess import SAMPLE_RATE, Words, level, postprocess, shifted
from melle.data.journal import Journal
from melle.data.manifest import Totals, Utterance, write_manifest
from melle.data.processes import map_in_processes
from melle.errors import UserError
from melle.files import write_text, written_whole
from melle.locks import making

DESCRIPTION = "corpus.json"  # what the corpus is made of
REJECTED = "rejected.jsonl"  # texts that could not be spoken, and why
CHUNK = 8  # items that a process gets at a time; where training ends by its length one, as others may be too many
FEW = 20  # texts of which one at least must be spoken
FORMATS = {"flac": (".flac", "FLAC", "PCM_16"), "opus": (".ogg", "OGG", "OPUS")}  # opus: a fourth of the size


@dataclass(frozen=True)
class Spoken:
    """What a synthesizer says: mono samples (N,), float32, and the times of words in them where it knows them."""

    samples: np.ndarray
    sample_rate: int  # samples per second
    words: Words | None = None


class Synthesizer(Protocol):
    """Speaks. ``margin`` (seconds of near-silence) and ``silence`` (dB) are how ``postprocess`` trims what it says."""

    margin: float
    silence: float

    def speak(self, text: str, voice: Any) -> Spoken:
        """Raises UserError for a text that cannot be spoken."""
        ...


@dataclass(frozen=True)
class Item:
    """An utterance to be spoken. ``id`` is unique in the corpus and becomes a file's name."""

    split: str
    number: int  # in the split
    id: str
    text: str
    voice: Any  # as the synthesizer takes it; its ``name`` is the speaker's id, and a folder's name
    language: str  # as the manifest shall say


def speak_corpus(
    folder: str | Path,
    make_synthesizer: Callable[[], Synthesizer],
    splits: Mapping[str, Iterable[Item]],
    description: Mapping[str, Any],
    hours: float | None = None,
    seed: int = 0,
    format: str = "flac",
    workers: int | None = None,
) -> Path:
    """Speak the items of ``splits`` into ``folder``, or what of them is missing; return the folder.

    Args:
        make_synthesizer: called once in each of ``workers`` processes (None: one per core), which Python starts by
            importing the running script: it needs ``if __name__ == "__main__":`` around its calls.
        splits: their items, "train" the last one.  description: what decides about these, as plain values.
        hours: of training speech, whose items may have no end; None: all of them.  seed: of the voices' loudness.

    Where several processes call this at once, one speaks and the others wait. Raises UserError where the folder holds a
    corpus of another description, which is left as it is, or cannot be written.
    """
    if hours is not None and not 0 < hours < 1e5:
        raise UserError(f"--hours {hours:g}: give a number above 0")
    folder = Path(folder)
    try:
        with making(folder, "speaking this corpus"):
            _describe(folder, json.loads(json.dumps(dict(description))))
            notes = {split: Notes(folder, split) for split in splits}
            make = partial(_make_speaker, make_synthesizer, folder, seed, format)
            _speak_missing(folder, splits, notes, make, hours and hours * 3600, workers)
            _write_manifests(folder, notes)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}); make room or fix that, and "
            "the same command goes on where it stopped"
        ) from None
    return folder


def description_of(folder: Path) -> dict | None:
    """What the corpus in a folder is made of; None where there is none."""
    try:
        return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class Notes:
    """What of a split is spoken already, by number."""

    def __init__(self, folder: Path, split: str):
        self._journal = Journal(folder / f"{split}.spoken")
        self.known = {
            note["number"]: note
            for note in self._journal.items
            if "number" in note and ("reason" in note or _is_there(folder / note.get("audio_path", "")))
        }

    def add(self, note: dict[str, Any]) -> None:
        self._journal.add(note)
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


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _describe(folder: Path, description: dict) -> None:
    """Note what the corpus is made of, or see that it is what was noted."""
    path = folder / DESCRIPTION
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: holds something else than this corpus; give another folder")
        write_text(path, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    elif (known := description_of(folder)) != description:
        known = known if isinstance(known, dict) else {}
        if known.get("version") != description.get("version"):
            raise UserError(
                f"{folder}: was spoken by another version of this project, which says something else, and cannot be "
                "added to; train on it as it is, or give another folder with -o"
            )
        differing = "; ".join(differences(known, description))
        raise UserError(
            f"{folder}: was spoken with other settings ({differing}) and is left as it is; "
            "give these, or another folder with -o"
        )


def differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Such as "voices 8, not 50"."""
    return [f"{name} {known.get(name)!r}, not {value!r}" for name, value in wanted.items() if known.get(name) != value]


def _speak_missing(
    folder: Path,
    splits: Mapping[str, Iterable[Item]],
    notes: Mapping[str, Notes],
    make: Callable[[], Callable[[Item], dict[str, Any]]],
    seconds: float | None,
    workers: int | None,
) -> None:
    """Speak what the notes lack of every split, of training until there are so many seconds."""
    train = notes["train"] if seconds else None
    finite = [
        item
        for split, items in splits.items()
        if split != "train" or train is None
        for item in items
        if item.number not in notes[split].known
    ]
    endless: Iterable[Item] = ()
    if train and train.seconds < seconds:
        endless = (item for item in splits["train"] if item.number not in train.known)
    if not finite and not endless:
        return
    said = train.seconds if train else 0.0
    total, unit = (round(seconds), " s") if train else (len(finite), " utterances")
    with (
        map_in_processes(make, chain(finite, endless), workers, 1 if train else CHUNK) as results,
        tqdm(total=total, initial=min(round(said), total), desc=f"Speaking {folder}", unit=unit) as bar,
    ):
        for item, note in results:
            notes[item.split].add(note)
            own = notes[item.split]
            if "reason" in note and len(own.known) >= FEW and not own.spoken:
                raise UserError(f"none of {FEW} texts could be spoken; the first: {own.rejected[0]['reason']}")
            if train is None:
                bar.update()
            elif item.split == "train":
                said += note.get("duration", 0.0)
                bar.update(min(round(said), total) - bar.n)
                if said >= seconds:
                    break
    if train:  # recordings that other processes were at when there was enough: no manifest has them
        noted = {Path(note["audio_path"]).name for note in train.spoken}
        for path in folder.glob("audio/*/train-*"):
            if path.name not in noted:
                path.unlink(missing_ok=True)


def _make_speaker(
    make_synthesizer: Callable[[], Synthesizer], folder: Path, seed: int, format: str
) -> Callable[[Item], dict[str, Any]]:
    """A function that speaks an item, writes its recording and gives what is noted of it."""
    synthesizer = make_synthesizer()
    ending, kind, subtype = FORMATS[format]

    def speak(item: Item) -> dict[str, Any]:
        note = {"split": item.split, "number": item.number, "text": item.text, "speaker": item.voice.name}
        try:
            spoken = synthesizer.speak(item.text, item.voice)
        except UserError as error:
            return {**note, "reason": str(error)}
        volume = level(item.voice.name, seed)
        speech, earlier = postprocess(
            spoken.samples, spoken.sample_rate, volume, synthesizer.margin, synthesizer.silence
        )
        audio = f"audio/{item.voice.name}/{item.id}{ending}"
        try:
            with written_whole(folder / audio, sync=False) as path:
                soundfile.write(path, speech, SAMPLE_RATE, format=kind, subtype=subtype)
        except soundfile.LibsndfileError as error:  # which cannot be sent from process to process
            raise OSError(0, str(error), audio) from None
        duration = len(speech) / SAMPLE_RATE
        note |= {"id": item.id, "audio_path": audio, "language": item.language, "duration": duration}
        return note if spoken.words is None else {**note, "words": shifted(spoken.words, earlier, duration)}

    return speak


def _write_manifests(folder: Path, spoken: Mapping[str, Notes]) -> None:
    for split, notes in spoken.items():
        if notes.spoken:
            utterances = [_utterance(note, folder) for note in notes.spoken]
            write_manifest(folder / f"{split}.jsonl", utterances)
            print(f"{folder / split}.jsonl: {Totals.of(utterances)}")
    rejected = [note for notes in spoken.values() for note in notes.rejected]
    if rejected:
        lines = (json.dumps(note, ensure_ascii=False) + "\n" for note in rejected)
        write_text(folder / REJECTED, "".join(lines), sync=False)
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
