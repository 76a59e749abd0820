"""``python -m melle prepare features``: compute the log-mels of manifests before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from melle.audio import MelSpec
from melle.data.build_features import build_features
from melle.data.silence import SileroTrim
from melle.errors import UserError
from melle.options import option, options_of


@dataclass
class Features:
    """Computes the log-mels of all recordings of the manifests.

    Training reads them with data.features=FOLDER where data.mel and vad are the same as here. A run that was broken off
    goes on where it was; recordings that changed are computed anew.
    """

    manifest: Sequence[Path] = option(..., "JSONL files")
    output: Path = option(Path("data/features"), "folder", "-o")
    workers: int | None = option(None, "processes (default: one per core)")
    mel: MelSpec = options_of(MelSpec, "mel, as data.mel")
    vad: Literal["none", "silero"] = option("none", "silero shortens silences, as vad")
    silences: dict[str, Any] = options_of(SileroTrim, "silences, as vad", "vad-", given_only=True)

    def run(self) -> None:
        """Compute what is missing, say what was done."""
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers {self.workers}: give 1 or more")
        if self.silences and self.vad == "none":
            name = next(iter(self.silences)).replace("_", "-")
            raise UserError(f"--vad-{name} says how to trim silences; add --vad silero")
        silence = SileroTrim(**self.silences) if self.vad == "silero" else None
        print(build_features(self.manifest, self.output, self.mel, silence, self.workers).text)
