"""What a run folder says of the run: how it was started, by which code and machine, and what it came to."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

import melle
from melle.files import write_text

PROJECT = "melle-lightning"


def write_record(run_dir: str | Path, cfg: DictConfig, world_size: int = 1) -> None:
    """Add this start to ``run_dir``/record.json, a list, and write the resolved configuration to config.yaml."""
    path = Path(run_dir) / "record.json"
    starts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    starts.append(
        {
            "begun": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": shlex.join(sys.argv),
            "git": git_state(Path(melle.__file__).parent),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "host": platform.node(),
            "cpu": _cpu(),
            "cpu_cores": os.cpu_count(),
            "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
            "world_size": world_size,
            "packages": installed_versions(),
        }
    )
    write_text(path, json.dumps(starts, indent=1, ensure_ascii=False) + "\n")
    write_text(Path(run_dir) / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))


def write_metrics(run_dir: str | Path, metrics: dict[str, float]) -> None:
    """Write the final metrics of a run to ``run_dir``/metrics.json; a number that is not finite becomes null."""
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    write_text(Path(run_dir) / "metrics.json", json.dumps(finite, indent=1) + "\n")


def read_metrics(run_dir: str | Path) -> dict[str, float]:
    """What ``write_metrics`` wrote, with nan for null; empty where it wrote nothing."""
    path = Path(run_dir) / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def monitor_and_mode(cfg: DictConfig) -> tuple[str, str]:
    """What a sweep of train.py goes by: the metric of the best checkpoint, and "min" or "max", whichever is best."""
    best = OmegaConf.select(cfg, "callbacks.best") or {}
    usual = "validation/mel_distance" if cfg.get("task") == "vocoder" else "validation/regression"
    return best.get("monitor") or usual, best.get("mode") or "min"


def git_state(package: Path) -> dict[str, Any] | None:
    """The revision of the repository that tracks this package, and whether code or configuration differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    try:
        # A package installed into an environment that lies inside of some other repository is not tracked by it.
        git("ls-files", "--error-unmatch", "__init__.py")
        changes = git("status", "--porcelain", "--", ":/src", ":/conf", ":/*.py", ":/pyproject.toml")
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return None


def installed_versions() -> dict[str, str]:
    """The versions of this project and of those of its dependencies, optional ones too, that are installed."""
    try:
        requirements = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    names = {PROJECT, *(re.match(r"[\w.-]+", requirement).group() for requirement in requirements)}
    versions = {}
    for name in sorted(names, key=str.lower):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
