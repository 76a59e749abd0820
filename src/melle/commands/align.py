"""``python -m melle align``: the times of words for a manifest of one's own, and which transcripts fit badly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melle.data import MIN_ALIGNMENT
from melle.options import option


@dataclass
class Align:
    manifest: Path = option(..., "a JSONL file, one utterance a line", "MANIFEST")
    output: Path | None = option(None, "the new manifest (default: NAME.aligned.jsonl beside it)", "-o", "--output")
    model: str = option(
        "hf://facebook/wav2vec2-base-960h@22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        "CTC recogniser, this one of English: local folder or hf://USER/MODEL",
    )
    device: str = option("auto", "auto, cpu, cuda, …")
    poor: float = option(MIN_ALIGNMENT, "report lines with a lower score, 0 to 1")
    workers: int | None = option(None, "processes (default: one per core, on a GPU one)")

    def run(self) -> None:
        from functools import partial

        from melle.alignment.align_manifest import align_manifest
        from melle.alignment.ctc import CtcAligner
        from melle.devices import find_device

        device = find_device(self.device, "--device ")
        workers = self.workers if device.type == "cpu" else 1
        aligner = partial(CtcAligner, self.model, str(device))
        print(align_manifest(self.manifest, aligner, self.model, self.output, self.poor, workers).text)
