"""Naturalness predictors: the mean opinion score (MOS, 1 to 5) that listeners would give."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.judges.base import QualityPredictor, audible
from melle.evaluation.judges.loading import loading, packages_of

RATE = 16000  # samples per second, of both predictors
SPEECHMOS = "tarepan/SpeechMOS:ed25eacbfa42b99156c36ebec67a733b5dbb9b79"  # its release 1.2.0
SHORTEST = 0.1  # seconds; nothing shorter can be rated
DNSMOS_NAMES = {
    "dnsmos": "ovrl_mos",
    "dnsmos_signal": "sig_mos",
    "dnsmos_background": "bak_mos",
    "dnsmos_p808": "p808_mos",
}


@dataclass(eq=False)
class Utmos(QualityPredictor):
    """UTMOS (arXiv 2204.02152), which predicts the naturalness of synthetic speech: ``{"utmos": 1 to 5}``.

    ``model`` is a repository on GitHub at a commit, "OWNER/NAME:COMMIT", whose code torch.hub downloads and runs; a
    folder with a clone of it (``hubconf.py``); or a TorchScript file. It is called with samples (1, N) and their rate.
    """

    name = "utmos"
    packages = ("torch", "torchaudio")
    model: str = SPEECHMOS
    entry: str = "utmos22_strong"  # which of the repository's models
    device: str = "auto"  # "auto", "cpu", "cuda", …

    def __post_init__(self) -> None:
        self.device = find_device(self.device, "device=")
        pinned = re.fullmatch(r"[\w.-]+/[\w.-]+:[0-9a-f]{40}", self.model) is not None
        if not pinned and not Path(self.model).exists():
            # Code of a branch or a tag may be replaced by other code at any time.
            raise UserError(
                f"model={self.model}: no such file or folder; give one, or a GitHub repository at a full commit hash, "
                f"such as {SPEECHMOS}"
            )
        hint = "give a folder with a clone of the repository, or a TorchScript file"
        with loading(f"model={self.model}", hint):
            if Path(self.model).is_file():
                predictor = torch.jit.load(self.model, map_location="cpu")
            else:
                source = "github" if pinned else "local"
                with _hidden("speechmos"):
                    predictor = torch.hub.load(self.model, self.entry, source=source, trust_repo=True, verbose=False)
            self._predictor = predictor.to(self.device).eval()

    @torch.inference_mode()
    def rate(self, waveform: Tensor, sample_rate: int) -> dict[str, float]:
        samples = audible(waveform, sample_rate, RATE, SHORTEST)
        if samples is None:
            return {}
        return _finite({"utmos": self._predictor(samples[None].to(self.device), RATE).mean()})


@dataclass(eq=False)
class Dnsmos(QualityPredictor):
    """DNSMOS P.835 and P.808 by Microsoft's speechmos, whose weights are in its wheel: works offline, on the CPU.

    It rates speech after noise suppression: how clean it is rather than how natural. Gives ``dnsmos`` (overall),
    ``dnsmos_signal``, ``dnsmos_background`` and ``dnsmos_p808``, each 1 to 5.
    """

    name = "dnsmos"
    packages = ("speechmos", "onnxruntime", "librosa")

    personalized: bool = False  # whether other voices than the loudest count as noise

    def __post_init__(self) -> None:
        with packages_of("quality", "DNSMOS"):
            from speechmos import dnsmos
        self._run = dnsmos.run

    def rate(self, waveform: Tensor, sample_rate: int) -> dict[str, float]:
        samples = audible(waveform, sample_rate, RATE, SHORTEST)
        if samples is None:
            return {}
        kind = "dnsmos_personalized" if self.personalized else "dnsmos"
        found = self._run(samples.clamp(-1, 1).numpy(), RATE, model_type=kind)
        return _finite({name: found[its] for name, its in DNSMOS_NAMES.items()})


def _finite(scores: dict[str, Any]) -> dict[str, float]:
    return {name: float(score) for name, score in scores.items() if math.isfinite(score)}


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Within, ``package`` is imported anew, and forgotten at the end; whoever has imported it before keeps theirs.

    UTMOS's repository has a package of its own by the name of Microsoft's speechmos, which DNSMOS needs.
    """

    def take() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == package}

    before = take()
    try:
        yield
    finally:
        take()
        sys.modules.update(before)
