"""Recognisers of NVIDIA's NeMo: the Conformer-Transducer of the paper's WER-C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.judges.base import Recogniser, Transcript, samples_at
from melle.evaluation.judges.loading import loading, packages_of
from melle.hub import download, is_hub_name, title_of

RATE = 16000  # samples per second; NeMo takes arrays to be at its recognisers' rate
SHORTEST = 0.1  # seconds; nobody says a word in less


@dataclass(eq=False)
class NemoRecogniser(Recogniser):
    """Any of NeMo's recognisers, decoding as the model itself is set to (greedily, for the paper's)."""

    packages = ("nemo_toolkit", "torch")
    model: str  # "hf://USER/MODEL@REVISION", a local .nemo file, or a name in NVIDIA's catalogue (without a slash)
    device: str = "auto"  # "auto", "cpu", "cuda", …
    batch_size: int = 8  # clips recognised at a time; rounding and padding may change a transcript with it

    def __post_init__(self) -> None:
        with packages_of("eval,nemo", "this recogniser"):
            from nemo.collections.asr.models import ASRModel
        super().__post_init__()
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size}: give the clips to recognise at a time, 1 or more")
        self.name = title_of(self.model).removesuffix(".nemo")
        self.device = find_device(self.device, "device=")
        path = Path(self.model).expanduser()
        hint = "give a local file by model=FILE.nemo"
        with loading(f"model={self.model}", hint):
            if is_hub_name(self.model):
                folder = download(self.model, ["*.nemo"], f"model={self.model}", hint)
                path, self.revision = next(folder.glob("*.nemo")), folder.name
            if path.is_file():
                loaded = ASRModel.restore_from(str(path), map_location=self.device)
            elif path.suffix == ".nemo" or "/" in self.model:
                raise UserError(
                    f"model={self.model}: no such file; on the Hugging Face hub it would be hf://{self.model}"
                )
            else:
                loaded = ASRModel.from_pretrained(self.model, map_location=self.device)
        self.network = loaded.to(self.device).eval()

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        for start in range(0, len(waveforms), self.batch_size):
            batch = [samples_at(waveform, sample_rate, RATE) for waveform in waveforms[start : start + self.batch_size]]
            spoken = [number for number, samples in enumerate(batch) if len(samples) >= SHORTEST * RATE]
            texts = dict(zip(spoken, self._recognise([batch[number] for number in spoken]))) if spoken else {}
            yield from (Transcript(texts.get(number, "")) for number in range(len(batch)))

    def _recognise(self, clips: list[Tensor]) -> list[str]:
        found = self.network.transcribe([clip.numpy() for clip in clips], batch_size=len(clips), verbose=False)
        best = found[0] if isinstance(found, tuple) else found  # some releases: the best, and all of a beam
        return [_text(hypothesis) for hypothesis in best]


def _text(hypothesis: Any) -> str:
    """A string, or an object with one, or a list of these, the best first: releases and decoders differ."""
    if isinstance(hypothesis, list):
        hypothesis = hypothesis[0]
    return hypothesis if isinstance(hypothesis, str) else hypothesis.text
