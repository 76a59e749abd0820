"""Where a run begins: anew, where it stopped, at a given checkpoint, or with the weights of another model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import nn

from melle.checkpoint import ModelDescription, load_step
from melle.errors import UserError
from melle.locks import locked
from melle.model import Melle
from melle.pretrained import load_pretrained
from melle.text import with_normaliser
from melle.training.callbacks.checkpoint import link_last, step_files, step_of

OWN_FILES = (
    "checkpoints",
    "tensorboard",
    "csv",
    "samples",
    "report",
    "evaluation*",  # a sweep's have more to their names
    "metrics.json",
    "record.json",
    "config.yaml",
    "skipped.jsonl",
    "left_out",  # of earlier versions
    "skipped_items",
)


def find_resume(resume: str | bool, run: Path) -> Path | None:
    """The checkpoint to go on from. ``false`` puts an earlier run of the same name aside, so that nothing is lost."""
    if resume == "auto" or (_is_restarted() and newest(run / "checkpoints")):
        return newest(run / "checkpoints")
    if resume is False:
        _put_aside(run)
        return None
    if not isinstance(resume, str) or not Path(resume).is_file():
        raise UserError(f"resume={resume}: choose auto, false or the path of a checkpoint")
    return Path(resume)


def is_new_run(resume: str | bool, run: Path) -> bool:
    """Whether ``find_resume`` will find nothing to go on from; changes nothing, and reads no checkpoint."""
    folder = run / "checkpoints"
    there = bool(step_files(folder)) or (folder / "last.ckpt").is_file()
    return not there if resume == "auto" or (_is_restarted() and there) else resume is False


def set_aside_later(folder: Path, step: int) -> None:
    """Put aside what a run that goes on from ``step`` had made of later ones."""
    later = [path for path in step_files(folder) if step_of(path) > step]
    if not later:
        return
    best = folder / "best.ckpt"
    if best.is_file() and load_step(best) > step:
        later.append(best)
    aside = next(place for n in range(1, 10**6) if not (place := folder / f"left-{n}").exists())
    aside.mkdir()
    for path in later:
        path.rename(aside / path.name)
    link_last(folder)
    print(f"The run goes on from step {step}; its checkpoints of later steps are in {aside}.", file=sys.stderr)


def _is_restarted() -> bool:
    """A launcher or SLURM that starts the same command again means it to go on."""
    return any(int(os.environ.get(name, 0)) for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))


def newest(folder: Path) -> Path | None:
    """The newest checkpoint of a run that can be read; None where there is none."""
    paths = [path for path in (*reversed(step_files(folder)), folder / "last.ckpt") if path.is_file()]
    for path in paths:
        try:
            load_step(path)
            return path
        except UserError as error:
            print(f"{error}; trying the one before", file=sys.stderr)
    if paths:
        raise UserError(f"{folder}: none of its checkpoints can be read; resume=false puts them aside and starts anew")
    return None


def check_same_model(checkpoint: Path, earlier: ModelDescription, ours: ModelDescription) -> None:
    """Raise UserError where the checkpoint holds another network or tokenizer than the one to be trained."""
    if earlier.tokenizer.as_dict() != ours.tokenizer.as_dict():
        unlike = earlier.tokenizer.normaliser is None and ours.tokenizer.normaliser is not None
        hint = "; it was trained without text normalisation: tokenizer.normalise=false" if unlike else ""
        raise UserError(
            f"{checkpoint} was trained with another tokenizer than the one of data.train and tokenizer; restore them, "
            "choose another name=… for this run (with init_from= to begin with its weights), or resume=false to put "
            f"the earlier one aside and start anew{hint}"
        )
    if earlier.mel != ours.mel:
        raise UserError(
            f"{checkpoint} was trained on other mel frames ({earlier.mel}, now {ours.mel}); restore data.mel, or "
            "choose another name=… for this run"
        )
    names = sorted(name for name in {*ours.network, *earlier.network} if _differ(ours, earlier, name))
    if names:
        raise UserError(
            f"{checkpoint} holds a model with other settings ({', '.join(names)}); choose another name=… for this "
            "run (with init_from= to begin with its weights), or resume=false to put the earlier one aside and start "
            "anew"
        )


@torch.no_grad()
def init_weights(network: Melle, ours: ModelDescription, checkpoint: str | Path) -> list[str]:
    """Begin with the (averaged) weights of a checkpoint or exported folder, where names and shapes agree.

    Returns what could not be taken.

    The text embedding is taken only where both tokenizers are the same: equal sizes do not make equal symbols.
    """
    model = load_pretrained(checkpoint)
    theirs = model.network.state_dict()
    theirs_read = with_normaliser(model.description.tokenizer, ours.tokenizer.normaliser)  # which changes no token
    same_text = theirs_read.as_dict() == ours.tokenizer.as_dict()
    not_taken, taken = [], 0
    if model.description.mel != ours.mel:
        not_taken.append(f"its mel frames ({model.description.mel}, here {ours.mel})")
    for name, weight in network.state_dict().items():
        if name not in theirs:
            not_taken.append(f"{name} (not in it)")
        elif theirs[name].shape != weight.shape:
            not_taken.append(f"{name} ({_shape(theirs[name])}, here {_shape(weight)})")
        elif name == "text_embedding.weight" and not same_text:
            not_taken.append(f"{name} (another tokenizer)")
        else:
            weight.copy_(theirs[name])
            taken += weight.ndim >= 2
    not_taken += [f"{name} (not here)" for name in sorted(theirs.keys() - network.state_dict().keys())]
    if not taken:
        raise UserError(f"init_from={checkpoint}: none of its matrices fits this model")
    return not_taken


def _shape(weight: nn.Parameter | torch.Tensor) -> str:
    return "×".join(map(str, weight.shape)) or "scalar"


def _differ(ours: ModelDescription, earlier: ModelDescription, name: str) -> bool:
    if name == "text_dropout":  # has no weights of its own: a run may begin with it late
        return False
    return ours.network.get(name) != earlier.network.get(name)


def _put_aside(run: Path) -> None:
    if not (run / "checkpoints").exists():
        return
    with locked(run / ".lock"):  # torchrun starts all ranks at once
        if not (run / "checkpoints").exists():
            return
        number = next(n for n in range(1, 10**6) if not (run / f"previous-{n}").exists())
        (run / f"previous-{number}").mkdir()
        for path in [path for name in OWN_FILES for path in run.glob(name)]:
            path.rename(run / f"previous-{number}" / path.name)
