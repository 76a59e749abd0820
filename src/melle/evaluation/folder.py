"""Folders of runs, and where an evaluation writes by default: known without a look at the files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import ListConfig, OmegaConf

WILD = "*?["  # what makes a path a pattern


def run_folder(path: str | Path) -> Path:
    """runs/NAME for runs/NAME/checkpoints/x.ckpt, and for an exported model NAME; a pattern counts up to its signs."""
    parts = Path(path).parts
    fixed = next((n for n, part in enumerate(parts) if any(sign in part for sign in WILD)), None)
    path = Path(path) if fixed is None else Path(*parts[:fixed]) / "any.ckpt"
    if path.suffix not in (".ckpt", ".pt", ".pth"):
        return Path("runs") / path.name
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def evaluation_folder(checkpoint: str | Sequence[str] | None) -> str:
    """Where the results of ``checkpoint`` go: RUN/evaluation, or of several runs the folder that they share.

    ``runs/a/checkpoints/*.ckpt`` gives runs/a/evaluation, ``runs/*/checkpoints/last.ckpt`` runs/evaluation, an exported
    model digits/ runs/digits/evaluation, and no checkpoint runs/recordings/evaluation.
    """
    items = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint or [])
    folders = [os.path.abspath(run_folder(item)) for item in items] or [os.path.abspath("runs/recordings")]
    return os.path.relpath(os.path.join(os.path.commonpath(folders), "evaluation"))


def _resolve(checkpoint: Any) -> str:
    return evaluation_folder(list(checkpoint) if isinstance(checkpoint, ListConfig) else checkpoint)


OmegaConf.register_new_resolver("evaluation_folder", _resolve, replace=True)
