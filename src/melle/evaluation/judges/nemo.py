"""Recognisers of NVIDIA's NeMo: the Conformer-Transducer of the paper's WER-C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError, reason
from melle.evaluation.judges.base import Recogniser, Transcript, samples_at
from melle.evaluation.judges.normalisers import make_normaliser
from melle.evaluation.wer import import_jiwer

RATE = 16000  # samples per second; NeMo takes arrays to be at its recognisers' rate
SHORTEST = 0.1  # seconds; nobody says a word in less


class NemoRecogniser(Recogniser):
    """Any of NeMo's recognisers, decoding as the model itself is set to (greedily, for the paper's).

    Args:
        model: a name on the hub or in NVIDIA's catalogue, or a local .nemo file.
        device: "auto", "cpu", "cuda", …
        batch_size: clips recognised at a time; rounding and padding may change a transcript with it.
        normaliser: of ``melle.evaluation.judges.normalisers``.
    """

    packages = ("nemo_toolkit", "torch")

    def __init__(
        self,
        model: str = "nvidia/stt_en_conformer_transducer_xlarge",
        device: str = "auto",
        batch_size: int = 8,
        normaliser: str = "english",
    ):
        try:
            from nemo.collections.asr.models import ASRModel
        except ImportError as error:
            raise UserError(
                f'this recogniser needs NeMo ({reason(error)}): python -m pip install -e ".[eval,nemo]"'
            ) from None
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: give the number of clips to recognise at a time, 1 or more")
        import_jiwer()
        self.normalise = make_normaliser(normaliser)
        self.name = Path(model).name.removesuffix(".nemo")
        self.settings = {"model": str(model), "batch_size": batch_size, "normaliser": normaliser}
        self.batch_size = batch_size
        device = find_device(device, "device=")
        path = Path(model).expanduser()
        try:
            if path.suffix == ".nemo":
                loaded = ASRModel.restore_from(str(path), map_location=device)
            else:
                loaded = ASRModel.from_pretrained(model, map_location=device)
        except Exception as error:  # from the hub, the network, the archive or its configuration
            raise UserError(
                f"model={model}: NeMo cannot load it ({reason(error)}); give a local file by model=FILE.nemo"
            ) from None
        self.model = loaded.to(device).eval()

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        for start in range(0, len(waveforms), self.batch_size):
            batch = [samples_at(waveform, sample_rate, RATE) for waveform in waveforms[start : start + self.batch_size]]
            spoken = [number for number, samples in enumerate(batch) if len(samples) >= SHORTEST * RATE]
            texts = dict(zip(spoken, self._recognise([batch[number] for number in spoken]))) if spoken else {}
            yield from (Transcript(texts.get(number, "")) for number in range(len(batch)))

    def _recognise(self, clips: list[Tensor]) -> list[str]:
        found = self.model.transcribe([clip.numpy() for clip in clips], batch_size=len(clips), verbose=False)
        best = found[0] if isinstance(found, tuple) else found  # some releases: the best, and all of a beam
        return [_text(hypothesis) for hypothesis in best]


def _text(hypothesis: Any) -> str:
    """A string, or an object with one, or a list of these, the best first: releases and decoders differ."""
    if isinstance(hypothesis, list):
        hypothesis = hypothesis[0]
    return hypothesis if isinstance(hypothesis, str) else hypothesis.text
