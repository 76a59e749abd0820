"""An evaluation from cases and checkpoints to results: toplines, then checkpoints, all scored by the same judges."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch

from melle.audio import MelSpec
from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.aggregate import aggregate, distinct_voices
from melle.evaluation.checkpoints import Checkpoint
from melle.evaluation.judges.base import Judge
from melle.evaluation.protocols import Case, write_lists
from melle.evaluation.report import write_report
from melle.evaluation.scores import Results, SystemScore, write_results
from melle.evaluation.systems import Model, NamedVocoder, Topline
from melle.evaluation.tasks import Queue, Trial
from melle.evaluation.tensorboard import write_tensorboard
from melle.files import check_writable
from melle.synthesis.options import DecodingOptions, check_seed
from melle.synthesis.quantize import check_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What is to be scored, how, and where it is written.

    Args:
        checkpoints: from ``read_checkpoints``; may be none.
        protocols: cases by the protocol's name, as its ``cases`` gives them.
        output: folder for results.json, results.csv, report.html, tensorboard/, lists/, audio/ and work/.
        judges: who scores, by their keys in the configuration, such as "asr.whisper".
        vocoders: by the names that rows show, arguments of ``make_vocoder`` besides the mel. What the recordings sound
            like through each is a row.
        own_vocoder: let a model that was exported with a vocoder speak through it; others, and otherwise all, speak
            through the first of ``vocoders``.
        options: of decoding.
        weights: of the models (see ``melle.synthesis.quantize``).
        samples: how often a model speaks every utterance, each time with another seed.
        batch_size: utterances synthesised at a time.
        seed: of synthesis and of the bootstrap.
        device: where models and vocoders run, such as "cuda"; "auto": on a GPU where there is one.
        keep_audio: keep the audio of every utterance that was made; else the report's is all there is.
    """

    checkpoints: Sequence[Checkpoint]
    protocols: dict[str, list[Case]]
    output: Path
    judges: dict[str, Judge] = field(default_factory=dict)
    vocoders: dict[str, dict[str, Any]] = field(default_factory=lambda: {"griffin_lim": {"name": "griffin_lim"}})
    own_vocoder: bool = True
    options: DecodingOptions = field(default_factory=DecodingOptions)
    samples: int = 1
    batch_size: int = 30
    seed: int = 0
    device: str | torch.device = "auto"
    weights: str = "float32"
    keep_audio: bool = True

    def queue(self) -> Queue:
        """All there is to do. Raises UserError for what cannot be used, before anything is spoken."""
        for name in ("samples", "batch_size"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise UserError(f"{name}={value} must be a whole number, 1 or more")
        check_seed(self.seed)
        device = find_device(self.device, "device=")
        check_weights(self.weights, device)
        check_writable(self.output, folder=True)
        named_vocoders = {
            name: NamedVocoder(name, self.mel, settings, device) for name, settings in self.vocoders.items()
        }
        for checkpoint in self.checkpoints:
            name, own = self.vocoder_of(checkpoint), checkpoint.own_vocoder
            named_vocoders.setdefault(name, NamedVocoder(name, checkpoint.mel, own or {}, device)).build(checkpoint.mel)
        for named_vocoder in named_vocoders.values():
            named_vocoder.build(named_vocoder.spec)
        first, *_ = named_vocoders.values()
        toplines = [Topline(first), *(Topline(one, vocoded=True) for one in named_vocoders.values())]
        prompts = [Topline(first, True), *(Topline(one, True, vocoded=True) for one in named_vocoders.values())]
        models = [
            Model(checkpoint, named_vocoders[self.vocoder_of(checkpoint)], self.options, self.weights)
            for checkpoint in self.checkpoints
        ]
        trial = partial(Trial, seed=self.seed, output=self.output)  # one system under one protocol
        encoders = {key: judge for key, judge in self.judges.items() if judge.kind == "speaker"}
        trials, suited = [], {}
        for name, cases in self.protocols.items():
            voices = distinct_voices(cases)
            suited[name] = {key: judge for key, judge in self.judges.items() if voices or key not in encoders}
            trials += [trial(name, one, cases, 1, judges=suited[name]) for one in toplines]
            if encoders and voices:
                trials += [trial(name, one, voices, 1, judges=encoders) for one in prompts]
        for model in models:  # each loaded once
            for name, cases in self.protocols.items():
                trials.append(trial(name, model, cases, self.samples, judges=suited[name]))
        for folder, count in Counter(trial.folder for trial in trials).items():
            if count > 1:
                raise UserError(
                    f"{folder.name}: {count} systems would share this folder; evaluate them one after the other"
                )
        return Queue(trials, self.batch_size)

    @property
    def mel(self) -> MelSpec:
        """Of the toplines: the first checkpoint's, for one table has one topline."""
        return self.checkpoints[0].mel if self.checkpoints else MelSpec()

    def vocoder_of(self, checkpoint: Checkpoint) -> str:
        """Name of the vocoder that a model speaks through."""
        if self.own_vocoder and checkpoint.own_vocoder:
            return f"the vocoder of {checkpoint.name}"
        return next(iter(self.vocoders))

    def settings(self) -> dict[str, Any]:
        """What the scores were measured with."""
        return {
            "date": datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds"),
            "checkpoints": [str(checkpoint.path) for checkpoint in self.checkpoints],
            "utterances": {name: len(cases) for name, cases in self.protocols.items()},
            "samples": self.samples,
            "judges": {key: {"name": judge.name, **judge.settings} for key, judge in self.judges.items()},
            "vocoder": {self.vocoder_of(one): one.own_vocoder for one in self.checkpoints} | self.vocoders,
            "speaks_through": {checkpoint.name: self.vocoder_of(checkpoint) for checkpoint in self.checkpoints},
            "decoding": asdict(self.options),
            "speaks_by": {checkpoint.name: asdict(checkpoint.options(self.options)) for checkpoint in self.checkpoints},
            "weights": self.weights,
            "mel": self.mel.as_dict(),
            "batch_size": self.batch_size,
            "seed": self.seed,
        }


def score(evaluation: Evaluation, workers: AbstractContextManager[slice] | None = None) -> Results:
    """Do what is still to be done of an evaluation, and write its results.

    Every record is kept in the output folder: what was done before is taken from there, however it ended.

    Args:
        workers: entered where there is something to do; gives the share of this process (``start_workers``).
    """
    queue = evaluation.queue()
    if queue.missing():
        queue.start()
        with workers or nullcontext(slice(None)) as share:
            queue.work(share, show=True)
        if queue.missing():  # what another process failed at
            queue.work(show=True)
    names = {key.partition(".")[2]: judge.name for key, judge in evaluation.judges.items()}
    rows = aggregate(_without_lost(queue), evaluation.output, evaluation.seed)
    return _write(evaluation, Results(rows, names, evaluation.settings()))


def _without_lost(queue: Queue) -> list[Trial]:
    """The trials that are complete; a warning says why others are not. Raises UserError where no checkpoint is left."""
    found = [trial for trial in queue.trials if trial not in queue.lost]
    if queue.lost and not any(isinstance(trial.system, Model) for trial in found):
        raise UserError(f"{next(iter(queue.lost.values()))}; give one that stays")
    for trial, why in queue.lost.items():
        log.warning("%s is left out of %s: %s", trial.system.name, trial.protocol, why)
    return found


def _write(evaluation: Evaluation, results: Results) -> Results:
    folder = evaluation.output
    for name, cases in evaluation.protocols.items():
        write_lists(folder / "lists", name, cases)
    write_report(folder, results)
    write_tensorboard(folder, results)
    if not evaluation.keep_audio:
        shutil.rmtree(folder / "audio", ignore_errors=True)
        results = replace(results, systems=[_without_audio(row) for row in results.systems])
    write_results(folder, results)
    return results


def _without_audio(row: SystemScore) -> SystemScore:
    """What is not kept is not named."""
    kept = [replace(u, audio=None) if u.audio and Path(u.audio).parts[0] == "audio" else u for u in row.utterances]
    return replace(row, utterances=kept)
