"""The tasks of an evaluation: what each system speaks under each protocol, and what each judge finds in it.

Several processes share them, of which each takes every n-th utterance. Whatever was done before is not done again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from melle.audio import load_audio, save_audio
from melle.data.manifest import Utterance
from melle.devices import is_out_of_memory
from melle.errors import OutOfMemory, UserError, reason
from melle.evaluation.checkpoints import Removed
from melle.evaluation.judges.base import Judge
from melle.evaluation.protocols import Case
from melle.evaluation.records import Records
from melle.evaluation.systems import Model, Output, System
from melle.files import digest, file_name, file_stamp
from melle.synthesis.options import derive_seed


@dataclass(frozen=True)
class Item:
    """One utterance to speak, for the ``sample``-th time."""

    case: Case
    sample: int
    seed: int
    inputs: str  # digest of what its records depend on besides the system and the judge

    @property
    def labels(self) -> dict[str, Any]:
        """How its records begin."""
        return {"id": self.case.target.id, "sample": self.sample, "inputs": self.inputs}


@dataclass(frozen=True, eq=False)
class Trial:
    """One system under one protocol: it speaks all cases ``samples`` times, and every judge scores that."""

    protocol: str
    system: System
    cases: list[Case]
    samples: int
    seed: int
    judges: dict[str, Judge]  # by their keys in the configuration
    output: Path  # folder of the evaluation

    @property
    def folder(self) -> Path:
        """Its own below the folders of audio and of records."""
        return Path(self.protocol) / file_name(self.system.name)

    @cached_property
    def items(self) -> list[Item]:
        """Sample by sample."""
        found = []
        for sample in range(self.samples):
            for case, seed in zip(self.cases, sample_seeds(len(self.cases), sample, self.seed)):
                inputs = [_inputs(case.target), _inputs(case.prompt), case.given]
                found.append(Item(case, sample, seed, digest([*inputs, seed if self.system.is_random else None])))
        return found

    def audio(self, item: Item) -> Path:
        """Where the system's audio is kept."""
        folder = self.folder / f"sample-{item.sample}" if self.samples > 1 else self.folder
        return self.output / "audio" / folder / f"{file_name(item.case.target.id)}-{item.inputs[:8]}.flac"

    def records(self, judge: str | None = None) -> Records:
        """Of what the system speaks, or of what a judge finds in it."""
        depends_on = {"system": self._depends_on[None]} | ({} if judge is None else {"judge": self._depends_on[judge]})
        return Records(self.output / "work" / self.folder / f"{file_name(judge or 'speech')}.jsonl", depends_on)

    @cached_property
    def _depends_on(self) -> dict[str | None, dict[str, Any]]:
        """Of the system and of every judge; it looks at files: once in an evaluation."""
        return {None: self.system.depends_on()} | {key: judge.depends_on() for key, judge in self.judges.items()}

    def unspoken(self, items: Sequence[Item]) -> list[Item]:
        """Those that the system has still to speak."""
        known = self.records().read() if self.system.saves_audio else None
        return [i for i in items if known is not None and (i.inputs not in known or not self.audio(i).is_file())]

    def unscored(self, judge: str, items: Sequence[Item]) -> list[Item]:
        known = self.records(judge).read()
        return [item for item in items if item.inputs not in known]

    def output_of(self, item: Item, speech: dict[str, dict[str, Any]]) -> Output:
        """What the system spoke; ``speech`` are the records of that."""
        if not self.system.saves_audio:
            return self.system.speak([item.case], [item.seed])[0]
        return Output(load_audio(self.audio(item), self.system.sample_rate), speech[item.inputs]["begins"])


class Queue:
    """Works through trials. ``lost``: trials whose checkpoint was removed before it had spoken all, and why."""

    def __init__(self, trials: Sequence[Trial], batch_size: int):
        self.trials, self.batch_size = list(trials), batch_size
        self.lost: dict[Trial, str] = {}
        self._known: dict[tuple[str, str], dict[str, Any]] = {}  # of recordings, which several protocols share

    def missing(self, share: slice = slice(None)) -> int:
        """Utterances still to be spoken or scored, each by each judge, of those that ``share`` selects."""
        return sum(
            len(trial.unspoken(trial.items[share]))
            + sum(len(trial.unscored(judge, trial.items[share])) for judge in trial.judges)
            for trial in self.trials
            if trial not in self.lost
        )

    def start(self) -> None:
        """Remove void records, before several processes begin."""
        for trial in self.trials:
            for judge in [*([None] if trial.system.saves_audio else []), *trial.judges]:
                trial.records(judge).start()

    def work(self, share: slice = slice(None), show: bool = False) -> None:
        """Do what is missing of the items that ``share`` selects, every n-th for one of n processes; ``show`` a bar."""
        with tqdm(total=self.missing(share), unit="clip", desc="evaluating", disable=not show) as bar:
            self._work(share, bar)

    def _work(self, share: slice, bar: tqdm) -> None:
        for system, trials in groupby(self.trials, lambda trial: trial.system):
            for trial in trials:
                items = trial.items[share]
                try:
                    self._speak(trial, trial.unspoken(items), bar)
                except Removed as error:
                    self.lost[trial] = str(error)
                    continue
                for judge in trial.judges:
                    self._score(trial, judge, trial.unscored(judge, items), bar)
            if isinstance(system, Model):
                system.unload()

    def _speak(self, trial: Trial, items: Sequence[Item], bar: tqdm) -> None:
        system, records = trial.system, trial.records()
        for batch in self._batches(items, records, f"{system.name}: speaking", bar):
            with _memory_for(system.name, len(batch), "lower batch_size=, or give lighter weights= or device=cpu"):
                outputs = system.speak([item.case for item in batch], [item.seed for item in batch])
            for item, output in zip(batch, outputs):
                save_audio(trial.audio(item), output.waveform, system.sample_rate)
                spoken = {"samples": len(output.waveform), "begins": output.begins, "values": output.values}
                spoken |= {"finish_reason": output.finish_reason, "computing": output.seconds}
                records.append(item.labels | spoken)
                bar.update()

    def _score(self, trial: Trial, judge: str, items: Sequence[Item], bar: tqdm) -> None:
        speech = trial.records().read() if trial.system.saves_audio and items else {}
        records = trial.records(judge)
        for batch in self._batches(items, records, f"{trial.system.name}: {judge}", bar):
            outputs = [trial.output_of(item, speech) for item in batch]
            clips = [output.waveform if trial.judges[judge].whole else output.new for output in outputs]
            with _memory_for(judge, len(batch), f"give {judge}.device=cpu"), _errors_of(judge, trial, batch) as scored:
                for item, found in zip(batch, self._scores(trial, judge, clips)):
                    records.append(item.labels | found)
                    scored.append(item)
                    bar.update()

    def _scores(self, trial: Trial, judge: str, clips: Sequence[Tensor]) -> Iterator[dict[str, Any]]:
        score, rate = trial.judges[judge].score, trial.system.sample_rate
        if isinstance(trial.system, Model):
            yield from score(clips, rate)
            return
        keys = [(judge, hashlib.sha256(clip.to(torch.float32).numpy().tobytes()).hexdigest()) for clip in clips]
        new = {key: clip for key, clip in zip(keys, clips) if key not in self._known}
        found = zip(new, score(list(new.values()), rate))
        for key in keys:
            while key not in self._known:
                self._known.update([next(found)])
            yield self._known[key]

    def _batches(self, items: Sequence[Item], records: Records, what: str, bar: tqdm) -> Iterator[Sequence[Item]]:
        """Items by the batch, of which ``records`` are about to be kept."""
        if items:
            bar.set_description(what)
            records.start()
        for start in range(0, len(items), self.batch_size):
            yield items[start : start + self.batch_size]


@contextmanager
def _memory_for(who: str, count: int, advice: str) -> Iterator[None]:
    """Within, a lack of memory is an ``OutOfMemory`` that names the settings of this command."""
    try:
        yield
    except (OutOfMemory, RuntimeError, MemoryError) as error:
        if not isinstance(error, OutOfMemory) and not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"{who}: out of memory at a batch of {count} utterances; {advice}") from None


@contextmanager
def _errors_of(judge: str, trial: Trial, batch: Sequence[Item]) -> Iterator[list[Item]]:
    """Within, what a judge's library raises is a UserError that names the judge and the clip.

    Gives a list of the items that were scored, to be appended to. A judge takes them in order: the next is at fault.
    """
    scored: list[Item] = []
    try:
        yield scored
    except Exception as error:
        if isinstance(error, UserError | OSError) or is_out_of_memory(error):
            raise
        clip = batch[min(len(scored), len(batch) - 1)].case.target.id
        raise UserError(
            f"{judge} failed at {clip} of {trial.system.name} ({reason(error)}); {judge.partition('.')[0]}=none leaves "
            "these judges out, and data.test_seconds= utterances by their length; what was scored is kept"
        ) from error


def sample_seeds(count: int, sample: int, seed: int) -> list[int]:
    """A seed for each case, of which sample number 0 has consecutive ones; no two samples share one but by chance."""
    return [derive_seed(seed + number, "sample", sample) for number in range(count)]


def _inputs(utterance: Utterance | None) -> list[Any] | None:
    return utterance and [utterance.id, utterance.transcription, file_stamp(utterance.audio_path)]
