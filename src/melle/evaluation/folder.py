"""Where an evaluation writes, by default: told from what it scores, without a look at the files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import ListConfig, OmegaConf

WILD = "*?["  # what makes a path a pattern


def evaluation_folder(checkpoint: str | Sequence[str] | None) -> str:
    """Where the results of ``checkpoint`` go: RUN/evaluation, or of several runs the folder that they share.

    ``runs/a/checkpoints/*.ckpt`` gives runs/a/evaluation, ``runs/*/checkpoints/last.ckpt`` runs/evaluation, an exported
    model digits/ runs/digits/evaluation, and no checkpoint runs/recordings/evaluation.
    """
    items = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint or [])
    if not items:
        return "runs/recordings/evaluation"
    folders = [_run_folder(str(item)) for item in items]
    shared = os.path.commonpath([os.path.abspath(folder) for folder in folders])
    return os.path.relpath(os.path.join(shared, "evaluation"))


def _run_folder(item: str) -> Path:
    parts = Path(item).parts
    fixed = next((n for n, part in enumerate(parts) if any(sign in part for sign in WILD)), None)
    path = Path(item) if fixed is None else Path(*parts[:fixed]) / "any.ckpt"
    if path.suffix not in (".ckpt", ".pt", ".pth"):
        return Path("runs") / path.name
    folder = path.parent
    return folder.parent if folder.name == "checkpoints" else folder


def _resolve(checkpoint: Any) -> str:
    return evaluation_folder(list(checkpoint) if isinstance(checkpoint, ListConfig) else checkpoint)


OmegaConf.register_new_resolver("evaluation_folder", _resolve, replace=True)
