"""Our own vocoder as synthesis uses it, and its checkpoints."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from melle.audio import MelSpec
from melle.checkpoint import read_content
from melle.errors import UserError, reason
from melle.files import write_text, write_weights
from melle.vocoders.base import Stream, Vocoder, WindowedStream
from melle.vocoders.vocos.network import VocosNetwork, VocosSizes

WEIGHTS, CONFIG = "vocoder.safetensors", "vocoder.json"  # in an exported folder
KEY = "melle_vocoder"  # where the description lies in a Lightning checkpoint
FORMAT = 1
HINT = "train a vocoder with `python train.py experiment=vocoder_quickstart`, or give another path"
PREFIX = "network."  # of the network's weights: the LightningModule's attribute


@dataclass(frozen=True)
class VocosDescription:
    """All that is needed besides weights."""

    mel: MelSpec
    sizes: VocosSizes
    mel_mean: float  # log10
    mel_std: float  # log10

    def as_dict(self) -> dict[str, Any]:
        """Plain Python values, safe to load with ``weights_only=True``."""
        return {
            "format": FORMAT,
            "mel": self.mel.as_dict(),
            "sizes": self.sizes.as_dict(),
            "mel_mean": self.mel_mean,
            "mel_std": self.mel_std,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: str | Path) -> VocosDescription:
        """Raises UserError, which names ``path``, for what another version wrote."""
        if values.get("format") != FORMAT:
            raise UserError(f"{path}: a vocoder of another version (format {values.get('format')}); train it again")
        return cls(MelSpec(**values["mel"]), VocosSizes(**values["sizes"]), values["mel_mean"], values["mel_std"])

    def make(self) -> VocosNetwork:
        mel = self.mel
        return VocosNetwork(
            mel.n_mels, mel.n_fft, mel.hop_length, self.sizes, self.mel_mean, self.mel_std, mel.sample_rate
        )


class Vocos(Vocoder):
    """From a checkpoint that ``python train.py experiment=vocoder_quickstart`` wrote, or a folder exported with it."""

    title = "our own vocoder"

    def __init__(self, spec: MelSpec, model: str | Path):
        super().__init__(spec)
        self.description, self.network = load_network(model)
        # The floor may be another: what is below the vocoder's is raised to it.
        if replace(self.description.mel, floor=spec.floor) != spec:
            raise UserError(f"{model} reads other mel frames ({self.description.mel}) than the model makes ({spec})")
        self.lowest = math.log10(self.description.mel.floor)
        self.network.eval()
        self.context = self.network.context

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        return self.network(self.frames(mel))[0]

    def frames(self, mel: Tensor) -> Tensor:
        """Mel (T, M) as the network reads it (1, T, M)."""
        return mel.clamp(min=self.lowest).to(self.network.window)[None]

    def stream(self) -> Stream:
        return VocosStream(self)


class VocosStream(WindowedStream):
    """The turns of the voice go on from window to window, so that the samples are those of the whole."""

    def __init__(self, vocoder: Vocos):
        super().__init__(vocoder)
        self._turned: Tensor | int = 0  # by when the first frame is due whose samples were not given

    @torch.inference_mode()
    def samples(self, mel: Tensor, before: int, ready: int) -> Tensor:
        network, mel = self._vocoder.network, self._vocoder.frames(mel)
        voice = network.turns(mel)
        if voice is not None:
            pitch, turns = voice
            turns = turns + self._turned - turns[:, before : before + 1]
            self._turned = turns[:, before + ready : before + ready + 1]
            voice = pitch, turns
        return network.waveform(mel, voice)[0]


def save_vocoder(folder: Path, description: VocosDescription, weights: dict[str, Tensor]) -> None:
    """Write ``vocoder.json`` and ``vocoder.safetensors`` to ``folder``."""
    write_weights(folder / WEIGHTS, {name: value.contiguous() for name, value in weights.items()})
    write_text(folder / CONFIG, json.dumps(description.as_dict(), indent=2) + "\n")


def load_network(path: str | Path, hint: str = HINT) -> tuple[VocosDescription, VocosNetwork]:
    """Description and network, with its weights, of what ``load_vocoder`` reads. Raises UserError likewise."""
    description, weights = load_vocoder(path, hint)
    network = description.make()
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: a damaged vocoder ({reason(error)}); {hint}") from None
    return description, network


def load_vocoder(path: str | Path, hint: str = HINT) -> tuple[VocosDescription, dict[str, Tensor]]:
    """Description and weights of a checkpoint, or of a folder of ``save_vocoder``.

    Raises UserError for others, which ends with ``hint``.
    """
    if Path(path).is_dir():
        return _load_folder(Path(path), hint)
    content = read_content(path, missing=f"no such vocoder; {hint}", damaged=f"not a vocoder, or a damaged one; {hint}")
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict) or "state_dict" not in content:
        raise UserError(f"{path}: a checkpoint of something else; {hint}")
    try:
        weights = {name[len(PREFIX) :]: w for name, w in content["state_dict"].items() if name.startswith(PREFIX)}
        return VocosDescription.from_dict(content[KEY], path), weights
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: a damaged vocoder ({reason(error)}); {hint}") from None


def _load_folder(folder: Path, hint: str) -> tuple[VocosDescription, dict[str, Tensor]]:
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return VocosDescription.from_dict(values, folder), load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise UserError(f"{folder}: has no {Path(error.filename or WEIGHTS).name}; {hint}") from None
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError, OSError) as error:
        raise UserError(f"{folder}: its vocoder is damaged ({reason(error)}); export it again") from None
