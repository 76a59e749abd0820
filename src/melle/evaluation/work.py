"""The work of an evaluation, in small pieces that are kept: shared by processes, and not lost when one ends early.

A piece is a batch of utterances that one system says, or that one judge hears. Its findings are a file, written whole,
which also tells what they depend on; a piece whose file is there and depends on the same is done. Whoever works on a
piece holds its lock, which the operating system takes back from a process that dies.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from melle.audio import load_audio, save_audio
from melle.data.manifest import Utterance
from melle.errors import UserError
from melle.evaluation.checkpoints import Removed
from melle.evaluation.ears import Ear, Judges, VoiceEar
from melle.evaluation.protocols import Case
from melle.evaluation.systems import Model, Recordings, Said, System, Vocoded, distinct_voices, seeds_of
from melle.files import file_name, file_stamp, written_whole

VERSION = 1  # of what pieces find: raised when the same inputs would give something else
PATIENCE = 0.2  # seconds between looks at what other processes work on


class Vanished(Exception):
    """The speech that a judge was about to hear is no longer there."""


@dataclass(frozen=True)
class Part:
    """One system under one protocol: which cases it says how often."""

    protocol: str
    system: System
    cases: list[Case]
    samples: int
    seed: int
    ears: list[Ear]

    @property
    def folder(self) -> Path:
        return Path(self.protocol) / file_name(self.system.name)

    @property
    def kept(self) -> bool:
        """Whether what it says is written to files. Recordings are there already."""
        return not isinstance(self.system, Recordings) or isinstance(self.system, Vocoded)

    def audio(self, number: int, sample: int) -> Path:
        """Where case ``number`` is kept, below the folder of sound."""
        folder = self.folder / f"sample-{sample}" if self.samples > 1 else self.folder
        return folder / f"{number:05d}-{file_name(self.cases[number].target.id)}.flac"


@dataclass(frozen=True)
class Piece:
    """``ear`` hears, or where it is None the system says, cases ``start`` to ``end`` for the ``sample``-th time."""

    part: Part
    ear: Ear | None
    sample: int
    start: int
    end: int

    @property
    def cases(self) -> list[Case]:
        return self.part.cases[self.start : self.end]

    @property
    def title(self) -> str:
        return f"{self.part.system.name}: {'speaking' if self.ear is None else self.ear.key}"

    @property
    def path(self) -> Path:
        """Of its file, below the folder of work."""
        what = "speech" if self.ear is None else file_name(self.ear.key)
        return self.part.folder / f"{what}-{self.sample}-{self.start:05d}.json"

    @property
    def place(self) -> tuple[Path, int, int]:
        """What it has in common with the other pieces of the same utterances."""
        return self.part.folder, self.sample, self.start

    @property
    def seeds(self) -> list[int]:
        return seeds_of(len(self.part.cases), self.sample, self.part.seed)[self.start : self.end]


class Workshop:
    """Does the pieces of an evaluation, or waits for those who do.

    Args:
        parts: what is to be said and heard, in the order of work.
        sound: folder where what systems say is kept.  notes: folder of the findings.
        batch_size: utterances of a piece.
    """

    def __init__(self, parts: Sequence[Part], sound: Path, notes: Path, batch_size: int):
        self.sound, self.notes = sound, notes
        self.pieces = [piece for part in parts for piece in _pieces(part, batch_size)]
        self._speech = {piece.place: piece for piece in self.pieces if piece.ear is None}
        self._keys: dict[tuple[Path, int, int], str] = {}
        self._hearing: dict[str, Any] = {}
        self._stamps: dict[Path, list[Any]] = {}
        self._heard: dict[tuple[str, str], dict[str, Any]] = {}  # of recordings, which several protocols share
        self._awake: Model | None = None
        self.lost: list[tuple[Part, str]] = []  # whose checkpoints were removed before they had said all, and which

    def work(self, report: Callable[[str, int], None]) -> None:
        """Until every piece is done, but for those of lost parts.

        ``report`` is told what is being done, and how many utterances more are.
        """
        open_pieces = self.pieces
        while open_pieces:
            left, idle = [], True
            for piece in open_pieces:
                if self._is_lost(piece.part) or self.findings(piece) is not None:
                    report("", len(piece.cases))
                elif self._is_ready(piece) and self._try(piece, report):
                    idle = False
                else:
                    left.append(piece)
            left = [piece for piece in left if not self._is_lost(piece.part)]
            vanished = self._vanished(left)
            report("", -sum(len(piece.cases) for piece in vanished))
            left = vanished + left
            if left and idle:
                report("waiting for other processes", 0)
                time.sleep(PATIENCE)
            open_pieces = left
        self._rest(None)

    def _is_lost(self, part: Part) -> bool:
        return any(part is lost for lost, _ in self.lost)

    def _vanished(self, left: Sequence[Piece]) -> list[Piece]:
        """Speech that was done, and is no longer there for a judge among the pieces left: others may clear it away."""
        open_places = {piece.place for piece in left if piece.ear is None}
        waiting = dict.fromkeys(piece.place for piece in left if piece.ear is not None and not self._is_ready(piece))
        return [self._speech[place] for place in waiting if place not in open_places]

    def findings(self, piece: Piece) -> list[dict[str, Any]] | None:
        """What was found, for each case; None: it is still to be done, or to be done again."""
        found = self._note(piece)
        if found is None or piece.ear is not None or all(path.is_file() for path in self._files(piece)):
            return found
        return None

    def _note(self, piece: Piece) -> list[dict[str, Any]] | None:
        """What was found, if it was under the same circumstances; of speech the files may be gone."""
        try:
            content = json.loads((self.notes / piece.path).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        if not isinstance(content, dict) or content.get("key") != self._key(piece):
            return None
        return content["found"]

    def _key(self, piece: Piece) -> str:
        """Tells what the findings of a piece depend on."""
        if piece.place not in self._keys:
            cases = [[self._told(case.target), self._told(case.prompt), case.given] for case in piece.cases]
            self._keys[piece.place] = _digest([VERSION, piece.part.system.identity(), cases, piece.seeds])
        said = self._keys[piece.place]
        if piece.ear is None:
            return said
        if piece.ear.key not in self._hearing:  # once: files of judges are looked at
            self._hearing[piece.ear.key] = piece.ear.identity()
        return _digest([said, piece.ear.key, self._hearing[piece.ear.key]])

    def _told(self, utterance: Utterance | None) -> list[Any] | None:
        if utterance is None:
            return None
        path = utterance.audio_path
        if path not in self._stamps:
            self._stamps[path] = file_stamp(path)
        return [utterance.transcription, self._stamps[path]]

    def of(self, part: Part, ear: Ear | None) -> list[list[dict[str, Any]]]:
        """The findings of a part, sample by sample: one for each case. Raises UserError where some are missing."""
        found: list[list[dict[str, Any]]] = [[] for _ in range(part.samples)]
        for piece in self.pieces:
            if piece.part is part and piece.ear is ear:
                if (note := self._note(piece)) is None:
                    raise UserError(
                        f"{self.notes / piece.path}: is gone, or of a command with other settings; "
                        "run the same command again, and not two such on one folder at a time"
                    )
                found[piece.sample] += note
        return found

    def _is_ready(self, piece: Piece) -> bool:
        """A judge has to wait for the speech."""
        if piece.ear is None or not piece.part.kept:
            return True
        return self.findings(self._speech[piece.place]) is not None

    def _try(self, piece: Piece, report: Callable[[str, int], None]) -> bool:
        """Do a piece, unless another process does."""
        path = self.notes / piece.path
        try:
            with self.lock(piece.path, timeout=0):
                if (found := self.findings(piece)) is not None:
                    report("", len(found))
                    return True
                report(piece.title, 0)
                found = []
                for one in self._speak(piece) if piece.ear is None else self._listen(piece):
                    found.append(one)
                    report("", 1)
                with written_whole(path, sync=False) as partial:
                    partial.write_text(json.dumps({"key": self._key(piece), "found": found}), encoding="utf-8")
                return True
        except (Timeout, Vanished):
            return False
        except Removed as error:
            self.lost.append((piece.part, str(error)))
            return False

    def lock(self, what: Path | str, timeout: float = -1) -> FileLock:
        """Of what one process at a time does. Its file stays: another process may be about to take it."""
        path = self.notes / ".locks" / f"{what}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, timeout)

    def _speak(self, piece: Piece) -> Iterator[dict[str, Any]]:
        system = piece.part.system
        self._rest(system)
        said = system.say(piece.cases, piece.seeds)
        for path, one in zip(self._files(piece), said):
            save_audio(path, one.waveform, system.sample_rate)
            yield {
                "samples": len(one.waveform),
                "begins": one.begins,
                "finish_reason": one.finish_reason,
                "computing": one.seconds,
                "values": one.values,
            }

    def _rest(self, system: System | None) -> None:
        """One model at a time is kept in memory."""
        if self._awake is not None and self._awake is not system:
            self._awake.rest()
        self._awake = system if isinstance(system, Model) else None

    def _listen(self, piece: Piece) -> Iterator[dict[str, Any]]:
        assert piece.ear is not None
        system = piece.part.system
        clips = [one.own if piece.ear.own else one.waveform for one in self._said(piece)]
        if isinstance(system, Model):
            yield from piece.ear.hear(clips, system.sample_rate)
            return
        marks = [(piece.ear.key, _mark(clip)) for clip in clips]
        new = {mark: clip for mark, clip in zip(marks, clips) if mark not in self._heard}
        findings = zip(new, piece.ear.hear(list(new.values()), system.sample_rate))
        for mark in marks:
            while mark not in self._heard:
                self._heard.update([next(findings)])
            yield self._heard[mark]

    def _said(self, piece: Piece) -> list[Said]:
        if not piece.part.kept:
            return piece.part.system.say(piece.cases, piece.seeds)
        rate, spoken = piece.part.system.sample_rate, self._speech[piece.place]
        speech = self.findings(spoken)
        try:
            if speech is not None:
                return [Said(load_audio(path, rate), one["begins"]) for path, one in zip(self._files(piece), speech)]
        except UserError:
            if self.findings(spoken) is not None:
                raise
        raise Vanished

    def _files(self, piece: Piece) -> list[Path]:
        return [self.sound / piece.part.audio(number, piece.sample) for number in range(piece.start, piece.end)]


def make_parts(
    protocols: dict[str, list[Case]],
    ceilings: Sequence[System],
    prompts: Sequence[System],
    models: Sequence[Model],
    judges: Judges,
    samples: int,
    seed: int,
) -> list[Part]:
    """All there is to do: under every protocol the ceilings once, the prompts for their voices, each model N times."""
    ears, parts = judges.ears(), []
    comparing = [ear for ear in ears if isinstance(ear, VoiceEar)]
    listening: dict[str, list[Ear]] = {}
    for protocol, cases in protocols.items():
        voices = distinct_voices(cases)
        listening[protocol] = ears if voices else [ear for ear in ears if ear not in comparing]
        parts += [Part(protocol, system, cases, 1, seed, listening[protocol]) for system in ceilings]
        if comparing and voices:
            parts += [Part(protocol, system, voices, 1, seed, comparing) for system in prompts]
    for model in models:  # each loaded once
        parts += [Part(name, model, cases, samples, seed, listening[name]) for name, cases in protocols.items()]
    folders = Counter(part.folder for part in parts)
    for folder, count in folders.items():
        if count > 1:
            raise UserError(
                f"{folder.name}: {count} systems would share this folder; evaluate them one after the other"
            )
    return parts


def _pieces(part: Part, batch_size: int) -> Iterator[Piece]:
    for sample in range(part.samples):
        for start in range(0, len(part.cases), batch_size):
            end = min(start + batch_size, len(part.cases))
            for ear in ([None] if part.kept else []) + part.ears:
                yield Piece(part, ear, sample, start, end)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _mark(clip: Tensor) -> str:
    return hashlib.sha256(clip.to(torch.float32).numpy().tobytes()).hexdigest()
