"""The tasks of an evaluation: what each system speaks under each protocol, and what each judge finds in it.

Several processes share them, of which each takes every n-th utterance. Whatever was done before is not done again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melle.audio import load_audio, save_audio
from melle.data.manifest import Utterance
from melle.errors import UserError
from melle.evaluation.checkpoints import Removed
from melle.evaluation.dependencies import digest
from melle.evaluation.judges.named import Judges, NamedJudge
from melle.evaluation.protocols import Case
from melle.evaluation.records import Records
from melle.evaluation.systems import Model, Output, Recordings, System, Vocoded, distinct_voices, sample_seeds
from melle.files import file_name, file_stamp

Progress = Callable[[str, int], None]  # what is being done, and how many utterances more are done


@dataclass(frozen=True)
class Item:
    """One utterance to speak, for the ``sample``-th time."""

    case: Case
    sample: int
    seed: int
    inputs: str  # digest of what its records depend on besides the system and the judge


@dataclass(frozen=True, eq=False)
class Trial:
    """One system under one protocol: it speaks all cases ``samples`` times, and every judge scores that."""

    protocol: str
    system: System
    cases: list[Case]
    samples: int
    seed: int
    judges: list[NamedJudge]
    output: Path  # folder of the evaluation

    @property
    def folder(self) -> Path:
        """Its own below the folders of audio and of records."""
        return Path(self.protocol) / file_name(self.system.name)

    @property
    def saves_audio(self) -> bool:
        """Recordings are there already."""
        return not isinstance(self.system, Recordings) or isinstance(self.system, Vocoded)

    @cached_property
    def items(self) -> list[Item]:
        """Sample by sample."""
        found = []
        for sample in range(self.samples):
            seeds = sample_seeds(len(self.cases), sample, self.seed)
            for case, seed in zip(self.cases, seeds):
                inputs = [_inputs(case.target), _inputs(case.prompt), case.given]
                found.append(Item(case, sample, seed, digest([*inputs, seed if self.system.is_random else None])))
        return found

    def audio(self, item: Item) -> Path:
        """Where the system's audio is kept."""
        folder = self.folder / f"sample-{item.sample}" if self.samples > 1 else self.folder
        return self.output / "audio" / folder / f"{file_name(item.case.target.id)}-{item.inputs[:8]}.flac"

    def records(self, judge: NamedJudge | None = None) -> Records:
        """Of what the system speaks, or of what a judge finds in it."""
        name = "speech" if judge is None else file_name(judge.key)
        depends_on = {"system": self._system} | ({} if judge is None else {"judge": judge.depends_on})
        return Records(self.output / "work" / self.folder / f"{name}.jsonl", depends_on)

    @cached_property
    def _system(self) -> dict[str, Any]:
        return self.system.depends_on()

    def unspoken(self, items: Sequence[Item]) -> list[Item]:
        """Those that the system has still to speak."""
        if not self.saves_audio:
            return []
        known = self.records().read()
        return [item for item in items if item.inputs not in known or not self.audio(item).is_file()]

    def unscored(self, judge: NamedJudge, items: Sequence[Item]) -> list[Item]:
        known = self.records(judge).read()
        return [item for item in items if item.inputs not in known]


class Queue:
    """Works through trials. ``lost``: trials whose checkpoint was removed before it had spoken all, and why."""

    def __init__(self, trials: Sequence[Trial], batch_size: int):
        self.trials, self.batch_size = list(trials), batch_size
        self.lost: dict[Trial, str] = {}
        self._known: dict[tuple[str, str], dict[str, Any]] = {}  # of recordings, which several protocols share
        self._loaded: Model | None = None

    def missing(self, share: slice = slice(None)) -> int:
        """Utterances still to be spoken or scored, each by each judge, of those that ``share`` selects."""
        return sum(
            len(trial.unspoken(trial.items[share]))
            + sum(len(trial.unscored(judge, trial.items[share])) for judge in trial.judges)
            for trial in self.trials
            if trial not in self.lost
        )

    def work(self, share: slice = slice(None), progress: Progress = lambda what, done: None) -> None:
        """Do what is missing of the items that ``share`` selects: every n-th for one of n processes."""
        for trial in self.trials:
            items = trial.items[share]
            try:
                self._speak(trial, trial.unspoken(items), progress)
            except Removed as error:
                self.lost[trial] = str(error)
                continue
            for judge in trial.judges:
                self._score(trial, judge, trial.unscored(judge, items), progress)
        self._load(None)

    def _speak(self, trial: Trial, items: Sequence[Item], progress: Progress) -> None:
        if not items:
            return
        progress(f"{trial.system.name}: speaking", 0)
        self._load(trial.system)
        with trial.records().appending() as append:
            for batch in self._batches(items):
                outputs = trial.system.speak([item.case for item in batch], [item.seed for item in batch])
                for item, output in zip(batch, outputs):
                    save_audio(trial.audio(item), output.waveform, trial.system.sample_rate)
                    append(
                        _labels(item)
                        | {
                            "samples": len(output.waveform),
                            "begins": output.begins,
                            "finish_reason": output.finish_reason,
                            "computing": output.seconds,
                            "values": output.values,
                        }
                    )
                    progress("", 1)

    def _score(self, trial: Trial, judge: NamedJudge, items: Sequence[Item], progress: Progress) -> None:
        if not items:
            return
        progress(f"{trial.system.name}: {judge.key}", 0)
        speech = trial.records().read() if trial.saves_audio else {}
        with trial.records(judge).appending() as append:
            for batch in self._batches(items):
                outputs = [self._output(trial, item, speech) for item in batch]
                clips = [output.waveform if judge.judge.whole else output.new for output in outputs]
                for item, found in zip(batch, self._scores(trial, judge, clips)):
                    append(_labels(item) | found)
                    progress("", 1)

    def _scores(self, trial: Trial, judge: NamedJudge, clips: Sequence[Tensor]) -> Iterator[dict[str, Any]]:
        rate = trial.system.sample_rate
        if isinstance(trial.system, Model):
            yield from judge.judge.score(clips, rate)
            return
        keys = [(judge.key, _clip_digest(clip)) for clip in clips]
        new = {key: clip for key, clip in zip(keys, clips) if key not in self._known}
        found = zip(new, judge.judge.score(list(new.values()), rate))
        for key in keys:
            while key not in self._known:
                self._known.update([next(found)])
            yield self._known[key]

    def _output(self, trial: Trial, item: Item, speech: dict[str, dict[str, Any]]) -> Output:
        if not trial.saves_audio:
            return trial.system.speak([item.case], [item.seed])[0]
        return Output(load_audio(trial.audio(item), trial.system.sample_rate), speech[item.inputs]["begins"])

    def _batches(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        return (items[start : start + self.batch_size] for start in range(0, len(items), self.batch_size))

    def _load(self, system: System | None) -> None:
        """One model at a time is kept in memory."""
        if self._loaded is not None and self._loaded is not system:
            self._loaded.unload()
        self._loaded = system if isinstance(system, Model) else None


def make_trials(
    protocols: dict[str, list[Case]],
    toplines: Sequence[System],
    prompts: Sequence[System],
    models: Sequence[Model],
    judges: Judges,
    samples: int,
    seed: int,
    output: Path,
) -> list[Trial]:
    """Under every protocol the toplines once, the prompts for their voices, and each model ``samples`` times."""
    everyone, trials = judges.all(), []
    encoders = [judge for judge in everyone if judge.kind == "speaker"]
    suited: dict[str, list[NamedJudge]] = {}
    for protocol, cases in protocols.items():
        voices = distinct_voices(cases)
        suited[protocol] = everyone if voices else [judge for judge in everyone if judge not in encoders]
        trials += [Trial(protocol, system, cases, 1, seed, suited[protocol], output) for system in toplines]
        if encoders and voices:
            trials += [Trial(protocol, system, voices, 1, seed, encoders, output) for system in prompts]
    for model in models:  # each loaded once
        trials += [Trial(name, model, cases, samples, seed, suited[name], output) for name, cases in protocols.items()]
    for folder, count in Counter(trial.folder for trial in trials).items():
        if count > 1:
            raise UserError(
                f"{folder.name}: {count} systems would share this folder; evaluate them one after the other"
            )
    return trials


def _labels(item: Item) -> dict[str, Any]:
    return {"id": item.case.target.id, "sample": item.sample, "inputs": item.inputs}


def _inputs(utterance: Utterance | None) -> list[Any] | None:
    if utterance is None:
        return None
    return [utterance.id, utterance.transcription, file_stamp(utterance.audio_path)]


def _clip_digest(clip: Tensor) -> str:
    return hashlib.sha256(clip.to(torch.float32).numpy().tobytes()).hexdigest()
