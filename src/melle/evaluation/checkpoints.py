"""Which checkpoints are scored: found by path or pattern, looked into, and given names that tell them apart."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any

from melle.audio import MelSpec
from melle.checkpoint import load_description
from melle.data.manifest import Utterance
from melle.errors import UserError
from melle.files import file_stamp
from melle.pretrained import CONFIG, WEIGHTS, is_hub_id, load_pretrained

ALSO = ("last.ckpt", "best.ckpt")  # further names of a run's checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint or an exported model that was looked into, without its weights."""

    path: Path
    step: int
    mel: MelSpec
    run: str  # name of the run, or of the exported folder
    name: str  # as the table shows it

    @property
    def folder(self) -> Path:
        """The run's folder: runs/NAME for runs/NAME/checkpoints/x.ckpt; runs/NAME for an exported model, too."""
        if self.path.suffix != ".ckpt":
            return Path("runs") / self.run
        folder = self.path.parent
        return folder.parent if folder.name == "checkpoints" else folder

    def identity(self) -> list[Any]:
        """Changes when the file does."""
        return [self.step, *file_stamp(self.path)]


def find_checkpoints(where: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Paths from a path, a pattern such as ``runs/*/checkpoints/*.ckpt``, or a list of them. None gives none.

    What else a pattern finds, such as checkpoints of a vocoder, is passed over with a line on stderr.
    """
    if where is None:
        return []
    paths: list[Path] = []
    for item in [where] if isinstance(where, str | Path) else where:
        if Path(item).is_file() or _is_exported(Path(item)):
            found = [Path(item)]
        else:
            found = [path for path in map(Path, sorted(glob(str(item), recursive=True))) if _is_model(path)]
        if not found and is_hub_id(str(item)) and not Path(item).exists():
            found = [Path(item)]
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
    checkpoints = []
    for path in paths:
        model = load_pretrained(path)
        description = model.description
        for utterance in utterances:
            try:
                description.tokenizer.encode(utterance.transcription)
            except UserError as error:
                raise UserError(f"{path} cannot speak utterance {utterance.id}: {error}") from None
        checkpoints.append(Checkpoint(path, model.step, description.mel, *_names(path)))
    others = [c for c in checkpoints if c.path.name not in ALSO]
    siblings = {(c.path.parent.resolve(), c.step) for c in others}
    alone = [c for c in checkpoints if c.path.name in ALSO and (c.path.parent.resolve(), c.step) not in siblings]
    ordered = sorted(others + alone, key=lambda c: (str(c.folder), c.step, c.path.name))
    return _tell_apart(ordered)


def _names(path: Path) -> tuple[str, str]:
    """Of the run, and of the checkpoint."""
    if path.suffix != ".ckpt" and not path.is_file():
        name = path.resolve().name if path.is_dir() else str(path)
        return name, name
    folder = path.resolve().parent
    run = (folder.parent if folder.name == "checkpoints" else folder).name
    return run, f"{run}/{path.stem}"


def _tell_apart(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Runs of the same name in different folders get numbers, and so do their checkpoints."""
    folders: dict[str, list[str]] = {}
    for checkpoint in checkpoints:
        places = folders.setdefault(checkpoint.run, [])
        place = str(checkpoint.folder.resolve())
        if place not in places:
            places.append(place)
    named = []
    for checkpoint in checkpoints:
        number = folders[checkpoint.run].index(str(checkpoint.folder.resolve())) + 1
        if number > 1:
            run = f"{checkpoint.run} ({number})"
            checkpoint = replace(checkpoint, run=run, name=run + checkpoint.name.removeprefix(checkpoint.run))
        named.append(checkpoint)
    count = Counter(checkpoint.name for checkpoint in named)
    return [replace(c, name=f"{c.name}{c.path.suffix}") if count[c.name] > 1 else c for c in named]


def _is_exported(path: Path) -> bool:
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def _is_model(path: Path) -> bool:
    if _is_exported(path):
        return True
    if path.suffix not in (".ckpt", ".pt", ".pth"):
        return False
    try:
        load_description(path)
    except UserError as error:
        print(f"passed over: {error}", file=sys.stderr)
        return False
    return True
