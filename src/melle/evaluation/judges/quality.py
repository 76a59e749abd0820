"""Naturalness predictors: the mean opinion score (MOS, 1 to 5) that listeners would give."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.judges.base import QualityPredictor, audible, loading, packages_of

RATE = 16000  # samples per second, of both predictors
SPEECHMOS = "tarepan/SpeechMOS:ed25eacbfa42b99156c36ebec67a733b5dbb9b79"  # its release 1.2.0
SHORTEST = 0.1  # seconds; nothing shorter can be rated
DNSMOS_NAMES = {
    "dnsmos": "ovrl_mos",
    "dnsmos_signal": "sig_mos",
    "dnsmos_background": "bak_mos",
    "dnsmos_p808": "p808_mos",
}


class Utmos(QualityPredictor):
    """UTMOS (arXiv 2204.02152), which predicts the naturalness of synthetic speech: ``{"utmos": 1 to 5}``.

    Args:
        model: a repository on GitHub at a commit, "OWNER/NAME:COMMIT", whose code torch.hub downloads and runs; a
            folder with a clone of it (``hubconf.py``); or a TorchScript file. The model is called with samples (1, N)
            and their rate.
        entry: which of the repository's models.
        device: "auto", "cpu", "cuda", …

    Raises UserError where the model cannot be had.
    """

    name = "utmos"
    packages = ("torch", "torchaudio")

    def __init__(self, model: str = SPEECHMOS, entry: str = "utmos22_strong", device: str = "auto"):
        self.device = find_device(device, "quality.utmos.device=")
        self.settings = {"model": str(model), "entry": entry, "device": self.device.type}
        pinned = re.fullmatch(r"[\w.-]+/[\w.-]+:[0-9a-f]{40}", str(model)) is not None
        if not pinned and not Path(model).exists():
            # Code of a branch or a tag may be replaced by other code at any time.
            raise UserError(
                f"quality.utmos.model={model}: no such file or folder; give one, or a GitHub repository at a "
                f"full commit hash, such as {SPEECHMOS}"
            )
        hint = "give a folder with a clone of the repository, or a TorchScript file"
        with loading(f"quality.utmos.model={model}", hint):
            if Path(model).is_file():
                predictor = torch.jit.load(str(model), map_location="cpu")
            else:
                source = "github" if pinned else "local"
                with _hidden("speechmos"):
                    predictor = torch.hub.load(str(model), entry, source=source, trust_repo=True, verbose=False)
            self._predictor = predictor.to(self.device).eval()

    @torch.inference_mode()
    def rate(self, waveform: Tensor, sample_rate: int) -> dict[str, float]:
        samples = audible(waveform, sample_rate, RATE, SHORTEST)
        if samples is None:
            return {}
        return _finite({"utmos": self._predictor(samples[None].to(self.device), RATE).mean()})


class Dnsmos(QualityPredictor):
    """DNSMOS P.835 and P.808 by Microsoft's speechmos, whose weights are in its wheel: works offline, on the CPU.

    It rates speech after noise suppression: how clean it is rather than how natural. Gives ``dnsmos`` (overall),
    ``dnsmos_signal``, ``dnsmos_background`` and ``dnsmos_p808``, each 1 to 5. ``personalized``: other voices than the
    loudest count as noise.

    Raises UserError where speechmos, or what it needs, is missing.
    """

    name = "dnsmos"
    packages = ("speechmos", "onnxruntime", "librosa")

    def __init__(self, personalized: bool = False):
        with packages_of("quality", "DNSMOS"):
            from speechmos import dnsmos
        self.settings = {"personalized": personalized}
        self._run = dnsmos.run
        self._kind = "dnsmos_personalized" if personalized else "dnsmos"

    def rate(self, waveform: Tensor, sample_rate: int) -> dict[str, float]:
        samples = audible(waveform, sample_rate, RATE, SHORTEST)
        if samples is None:
            return {}
        found = self._run(samples.clamp(-1, 1).numpy(), RATE, model_type=self._kind)
        return _finite({name: found[its] for name, its in DNSMOS_NAMES.items()})


def _finite(scores: dict[str, Any]) -> dict[str, float]:
    return {name: float(score) for name, score in scores.items() if math.isfinite(score)}


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Within, ``package`` is imported anew, and forgotten at the end; whoever has imported it before keeps theirs.

    UTMOS's repository has a package of its own by the name of Microsoft's speechmos, which DNSMOS needs.
    """
    before = _take(package)
    try:
        yield
    finally:
        _take(package)
        sys.modules.update(before)


def _take(package: str) -> dict[str, Any]:
    names = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}
