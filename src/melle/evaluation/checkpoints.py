"""Which checkpoints are scored: found by path or pattern, looked into, and given names of their own."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path
from typing import Any

from melle.audio import MelSpec
from melle.checkpoint import load_description
from melle.data.index import tokens_of
from melle.data.manifest import Utterance
from melle.errors import UserError
from melle.evaluation.folder import run_folder
from melle.files import file_stamp
from melle.hub import is_hub_name
from melle.pretrained import CONFIG, ENDINGS, WEIGHTS, fetched, last_checkpoint, read_description
from melle.synthesis.options import USUAL, DecodingOptions
from melle.vocoders.vocos.vocoder import CONFIG as VOCODER

log = logging.getLogger(__name__)

ALSO = ("last.ckpt", "best.ckpt")  # further names of a run's checkpoints


class Removed(UserError):
    """A checkpoint that was found is no longer there, as when training keeps the newest ones only."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint or an exported model that was looked into, without its weights."""

    path: Path
    step: int
    mel: MelSpec
    run: str  # name of the run, or of the exported folder
    name: str  # as the table shows it
    file: Path  # what is loaded: of last.ckpt, which training replaces, the step_NNNNNN.ckpt that is the same file
    stamp: list[Any]  # of the file when it was looked into
    folder: Path  # the run's, or the exported one
    decoding: dict[str, float] = field(default_factory=dict)  # how it speaks best, as ``ModelDescription.decoding``
    unsupported: tuple[str, ...] = ()  # decoding options that it was not trained for

    def options(self, given: DecodingOptions) -> DecodingOptions:
        """How it speaks: by what is given, else as it was exported to; without what it was not trained for."""
        return replace(given.with_defaults(self.decoding), **{name: USUAL[name] for name in self.unsupported})

    def identity(self) -> list[Any]:
        """Differs where another file was looked into."""
        return [self.step, *self.stamp]

    @property
    def own_vocoder(self) -> dict[str, Any] | None:
        """As ``exported_vocoder``."""
        return exported_vocoder(self.file)

    def check(self) -> None:
        """Raises ``Removed``, or UserError where the file is no longer the one that was looked into."""
        if not self.file.exists():
            raise Removed(f"{self.file} was removed while being scored")
        if file_stamp(self.file) != self.stamp:
            raise UserError(
                f"{self.file} was replaced while being scored; give its step_NNNNNN.ckpt, which stays, or start again"
            )


def exported_vocoder(where: str | Path | None) -> dict[str, Any] | None:
    """Arguments of ``make_vocoder`` for the one that a model was exported with; None: there is none."""
    folder = where and fetched(where)
    return {"name": "vocos", "model": str(folder)} if folder and (folder / VOCODER).is_file() else None


def find_checkpoints(where: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Paths from a path, a pattern such as ``runs/*/checkpoints/*.ckpt``, or a list of them. None gives none.

    What else a pattern finds, such as checkpoints of a vocoder, is passed over with a warning.
    """
    paths: list[Path] = []
    for item in [where] if isinstance(where, str | Path) else where or []:
        if Path(item).is_file() or _is_exported(Path(item)) or (is_hub_name(item) and not Path(item).exists()):
            found = [Path(item)]
        else:
            found = [path for path in map(Path, sorted(glob(str(item), recursive=True))) if _is_model(path)]
        if not found and (last := last_checkpoint(Path(item))) is not None:
            raise UserError(f"{item}: the folder of a run; give its checkpoint, {last}, or '{last.parent}/*.ckpt'")
        if not found:
            raise UserError(f"{item}: no such checkpoint; train one with `python train.py` or give another path")
        paths.extend(found)
    return list(dict.fromkeys(paths))


def read_checkpoints(paths: Sequence[Path], utterances: Iterable[Utterance]) -> list[Checkpoint]:
    """Look into every checkpoint, so that one that cannot speak the utterances is known at once.

    Ordered by run, then by steps. Of last.ckpt and best.ckpt, which a pattern finds with the siblings that they are
    other names of, only those are kept that have none.
    """
    utterances = list({(u.id, u.transcription): u for u in utterances}.values())
    found = []
    for path in paths:
        file = _lasting(fetched(path))
        stamp = file_stamp(file)  # before the look, so that what is written meanwhile is noticed
        description, step = read_description(file)
        for utterance in utterances:
            try:
                tokens_of(utterance.transcription, utterance.language, description.tokenizer)
            except UserError as error:
                raise UserError(f"{path} cannot speak utterance {utterance.id}: {error}") from None
        folder = _folder(path)
        exported = is_hub_name(path) or path.is_dir()
        run = str(path) if is_hub_name(path) else folder.name
        name = run if exported else f"{run}/{path.stem}"
        speaks = {"decoding": description.decoding, "unsupported": tuple(description.unsupported())}
        found.append(Checkpoint(path, step, description.mel, run, name, file, stamp, folder, **speaks))
    siblings = {(c.path.parent.resolve(), c.step) for c in found if c.path.name not in ALSO}
    kept = [c for c in found if c.path.name not in ALSO or (c.path.parent.resolve(), c.step) not in siblings]
    return _with_distinct_names(sorted(kept, key=lambda c: (str(c.folder), c.step, c.path.name)))


def _lasting(path: Path) -> Path:
    """The name of a file that training does not give to another."""
    if path.name not in ALSO:
        return path
    same = (other for other in path.parent.glob("step_*.ckpt") if other.exists() and other.samefile(path))
    return next(same, path)


def _folder(path: Path) -> Path:
    """Of the run; an exported model is one itself."""
    if is_hub_name(path) or path.is_dir():
        return path if is_hub_name(path) else path.resolve()
    return run_folder(path.resolve()) if path.suffix in ENDINGS else path.resolve().parent


def _with_distinct_names(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Runs of the same name in different folders are named by these, and files of one name keep their endings."""
    runs = Counter(run for run, _ in {(c.run, c.folder) for c in checkpoints})
    named = []
    for one in checkpoints:
        run = os.path.relpath(one.folder) if runs[one.run] > 1 else one.run
        named.append(replace(one, run=run, name=run + one.name.removeprefix(one.run)))
    count = Counter(checkpoint.name for checkpoint in named)
    return [replace(c, name=f"{c.name}{c.path.suffix}") if count[c.name] > 1 else c for c in named]


def _is_exported(path: Path) -> bool:
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def _is_model(path: Path) -> bool:
    if _is_exported(path):
        return True
    if path.suffix not in ENDINGS:
        return False
    try:
        load_description(path)
    except UserError as error:
        log.warning("skipped: %s", error)
        return False
    return True
