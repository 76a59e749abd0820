"""An evaluation from cases and checkpoints to results: ceilings first, then every checkpoint, all by the same ears."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from melle.audio import MelSpec
from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.board import write_board
from melle.evaluation.checkpoints import Checkpoint
from melle.evaluation.ears import Judges
from melle.evaluation.gather import gather
from melle.evaluation.protocols import Case, write_lists
from melle.evaluation.report import write_report
from melle.evaluation.scores import Results, UtteranceScore, write_results
from melle.evaluation.systems import Model, Recordings, Sound, Vocoded
from melle.evaluation.work import Part, Workshop, make_parts
from melle.files import check_writable
from melle.synthesis.guards import DecodingOptions
from melle.synthesis.synthesizer import check_seed
from melle.synthesis.weights import check_weights

T = TypeVar("T")


@dataclass(frozen=True)
class Evaluation:
    """What is to be scored, how, and where it is written.

    Args:
        checkpoints: from ``read_checkpoints``; may be none.
        protocols: cases by the protocol's name, as its ``cases`` gives them.
        output: folder for results.json, results.csv, report.html, tensorboard/, lists/, audio/ and work/.
        judges: who listens.
        vocoders: by the names that rows show, arguments of ``make_vocoder`` besides the mel. Models speak through the
            first; what the recordings sound like through each is a row.
        options: of decoding.  weights: of the models (see ``melle.synthesis.weights``).
        samples: how often a model says every utterance, each time with another seed.
        batch_size: utterances of a piece of work.
        seed: of synthesis and of the bootstrap.
        device: where models and vocoder run; "auto": on a GPU where there is one.
        keep_audio: keep the sound of every utterance that was made; else the report's is all there is.
    """

    checkpoints: Sequence[Checkpoint]
    protocols: dict[str, list[Case]]
    output: Path
    judges: Judges = field(default_factory=Judges)
    vocoders: dict[str, dict[str, Any]] = field(default_factory=lambda: {"griffin_lim": {"name": "griffin_lim"}})
    options: DecodingOptions = field(default_factory=DecodingOptions)
    samples: int = 1
    batch_size: int = 30
    seed: int = 0
    device: str | torch.device = "cpu"
    weights: str = "float32"
    keep_audio: bool = True

    def workshop(self) -> tuple[Workshop, list[Part]]:
        """What there is to do. Raises UserError for what cannot be used, before anything is heard."""
        for name in ("samples", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} must be 1 or more")
        check_seed(self.seed)
        device = find_device(self.device, "device=")
        check_weights(self.weights, device)
        check_writable(self.output, folder=True)
        # The ceilings' mel is the first checkpoint's: one table, one ceiling.
        spec = self.checkpoints[0].mel if self.checkpoints else MelSpec()
        sounds = [Sound(name, spec, arguments, device) for name, arguments in self.vocoders.items()]
        first, *_ = sounds
        for other in {checkpoint.mel for checkpoint in self.checkpoints} - {spec}:
            first.reader(other)
        for sound in sounds:
            sound.reader()
        parts = make_parts(
            self.protocols,
            [Recordings(first), *map(Vocoded, sounds)],
            [Recordings(first, prompts=True), *(Vocoded(sound, prompts=True) for sound in sounds)],
            [Model(checkpoint, first, self.options, self.weights) for checkpoint in self.checkpoints],
            self.judges,
            self.samples,
            self.seed,
        )
        return Workshop(parts, self.output / "audio", self.output / "work", self.batch_size), parts

    def settings(self) -> dict[str, Any]:
        """What the scores were measured with."""
        return {
            "date": datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds"),
            "checkpoints": [str(checkpoint.path) for checkpoint in self.checkpoints],
            "utterances": {name: len(cases) for name, cases in self.protocols.items()},
            "samples": self.samples,
            "asr": {name: {"name": asr.name, **asr.settings} for name, asr in self.judges.asr.items()},
            "speaker": {name: {"name": one.name, **one.settings} for name, one in self.judges.speaker.items()},
            "quality": {name: {"name": one.name, **one.settings} for name, one in self.judges.quality.items()},
            "vocoder": self.vocoders,
            "decoding": asdict(self.options),
            "weights": self.weights,
            "mel": (self.checkpoints[0].mel if self.checkpoints else MelSpec()).as_dict(),
            "batch_size": self.batch_size,
            "seed": self.seed,
        }


def score(evaluation: Evaluation, helped: AbstractContextManager[Any] | None = None) -> Results:
    """Do what is still to be done of an evaluation, and write its results.

    Every piece of work is kept in the output folder: what was done before is taken from there, however it ended, and
    other processes that work on the same (``help_out``) are waited for.

    ``helped``: entered if there is something to do, and left before anything that was made is removed.
    """
    shop, parts = evaluation.workshop()
    folder, begun = evaluation.output, time.time()
    is_done = all(shop.findings(piece) is not None for piece in shop.pieces)
    helping = nullcontext() if helped is None or is_done else helped
    clips = sum(len(piece.cases) for piece in shop.pieces)
    with helping, tqdm(total=clips, unit="clip", desc="evaluating") as bar:

        def report(what: str, done: int) -> None:
            if what:
                bar.set_description(what)
            bar.update(done)

        shop.work(report)
    rows = gather(shop, _without_lost(parts, shop.lost), folder, evaluation.seed)
    results = Results(rows, evaluation.judges.names(), evaluation.settings())
    with shop.lock("results"):  # whoever else worked on the same ends at the same time
        if not _written_since(begun, folder, results):
            _write(evaluation, results)
    return results if evaluation.keep_audio else _without_sound(results)


def _without_lost(parts: Sequence[Part], lost: Sequence[tuple[Part, str]]) -> list[Part]:
    """The parts that were done; of the others a line says why not. Raises UserError where no checkpoint was."""
    found = [part for part in parts if not any(part is one for one, _ in lost)]
    if lost and not any(isinstance(part.system, Model) for part in found):
        raise UserError(f"{lost[0][1]}; give one that stays")
    for part, why in lost:
        print(f"{part.system.name} is left out of {part.protocol}: {why}", file=sys.stderr)
    return found


def _write(evaluation: Evaluation, results: Results) -> None:
    folder = evaluation.output
    for name, cases in evaluation.protocols.items():
        write_lists(folder / "lists", name, cases)
    write_report(folder, results)
    write_board(folder, results)
    if not evaluation.keep_audio:
        shutil.rmtree(folder / "audio", ignore_errors=True)
        results = _without_sound(results)
    write_results(folder, results)


def _written_since(begun: float, folder: Path, results: Results) -> bool:
    """Whether another process has just written the same results."""
    path = folder / "results.json"
    if not path.is_file() or path.stat().st_mtime < begun:
        return False
    theirs = json.loads(path.read_text(encoding="utf-8"))["settings"]
    ours = json.loads(json.dumps(results.settings))
    return {**theirs, "date": None} == {**ours, "date": None}


def _without_sound(results: Results) -> Results:
    """What is not kept is not named."""

    def silent(score: UtteranceScore) -> UtteranceScore:
        return replace(score, audio=None) if score.audio and Path(score.audio).parts[0] == "audio" else score

    rows = [replace(row, utterances=[silent(score) for score in row.utterances]) for row in results.systems]
    return replace(results, systems=rows)


def help_out(evaluation: Evaluation) -> None:
    """Do a share of an evaluation that another process scores."""
    evaluation.workshop()[0].work(lambda what, done: None)


def or_left_out(metric: str, make: Callable[[], T], tell: bool = True) -> T | None:
    """``make()``; or None and a line on stderr, where what it needs is not installed or cannot be had."""
    try:
        return make()
    except UserError as error:
        if tell:
            print(f"{metric} is left out: {error}", file=sys.stderr)
        return None
