"""``python -m melle prepare predictions``: what a model makes of recordings, for a vocoder to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from melle.errors import UserError
from melle.options import option


@dataclass
class Predictions:
    """Computes what a model predicts of all recordings of the manifests, each frame from the true ones before it.

    A vocoder that trains with vocoder_data.predictions=FOLDER fits that model's frames, which are smoother than
    those of recordings. A run that was broken off goes on where it was.
    """

    manifest: Sequence[Path] = option(..., "JSONL files")
    checkpoint: str = option(..., "of the model: a .ckpt file, an exported folder or hf://USER/MODEL")
    output: Path = option(Path("data/predictions"), "folder", "-o")
    workers: int | None = option(None, "processes (default: one per core)")

    def run(self) -> None:
        """Compute what is missing, say what was done."""
        from melle.training.predictions import predict_manifests

        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers {self.workers}: give 1 or more")
        print(predict_manifests(self.manifest, self.checkpoint, self.output, self.workers).text)
