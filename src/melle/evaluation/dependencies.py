"""What kept scores depend on besides their inputs: versions of packages, and our own source code."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any


def package_versions(*names: str) -> dict[str, str | None]:
    """Installed versions of distributions; None: not installed."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def source_digest(*sources: str) -> str:
    """Changes with the Python code of the given files, modules or packages ("melle.synthesis"), comments included."""
    digest = hashlib.sha256()
    for source in sources:
        for path in _files(source):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _files(source: str) -> list[Path]:
    if source.endswith(".py"):
        return [Path(source)]
    spec = util.find_spec(source)
    if spec is None or spec.origin is None:
        raise ValueError(f"{source}: no such module")
    folders = spec.submodule_search_locations
    return sorted(path for folder in folders for path in Path(folder).rglob("*.py")) if folders else [Path(spec.origin)]


def digest(content: Any) -> str:
    """Of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
