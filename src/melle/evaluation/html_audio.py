"""Audio inside the page with a picture of it: FLAC and PNG as data URIs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from PIL import Image  # matplotlib's own way to write PNG
from torch import Tensor

from melle.audio import UNREADABLE, LogMel, load_audio
from melle.errors import UserError
from melle.evaluation.plots import data_uri

SIZE = (260, 90)  # of a picture, pixels
RANGE = 4.0  # log10 magnitude (80 dB) below the loudest that colours show
EMPTY = 255  # colour of a picture after the end of the audio: none


@dataclass(frozen=True)
class HtmlAudio:
    """Audio and its picture, as data URIs."""

    title: str
    audio: str
    picture: str


class AudioFiles:
    """The audio files of ``folder``, each read once."""

    def __init__(self, folder: Path):
        self.folder, self._log_mel = folder, LogMel()
        self.read = cache(self._read)

    def _read(self, name: str | None) -> tuple[str, Tensor] | None:
        """The file as a data URI, and its log10 mel (T, M) at the paper's rate; None where it cannot be read."""
        try:
            path = self.folder / (name or "")
            mel = self._log_mel(load_audio(path, self._log_mel.spec.sample_rate))
            return data_uri("audio/flac", as_flac(path)), mel
        except (UserError, *UNREADABLE):
            return None

    def embed(self, names: Mapping[str, str | None]) -> list[HtmlAudio]:
        """Audio and picture for every title and file; none for those that cannot be read.

        All pictures of the row share their colours, those but the prompt's also their scale of time.
        """
        found = {title: pair for title, name in names.items() if (pair := self.read(name)) is not None}
        if not found:
            return []
        peak = max(float(mel.max()) for _, mel in found.values())
        low = max(min(float(mel.min()) for _, mel in found.values()), peak - RANGE)
        longest = max((len(mel) for title, (_, mel) in found.items() if title != "prompt"), default=1)
        embedded = []
        for title, (audio, mel) in found.items():
            picture = draw_mel(mel, (low, peak), len(mel) if title == "prompt" else longest)
            embedded.append(HtmlAudio(title, audio, data_uri("image/png", picture)))
        return embedded


def as_flac(path: Path) -> bytes:
    """The file itself where it is FLAC, else its samples as 16-bit FLAC."""
    content = path.read_bytes()
    if content.startswith(b"fLaC"):
        return content
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        rate = file.samplerate
        # Whole numbers stay what they are.
        samples = file.read(dtype="int16") if file.subtype == "PCM_16" else file.read(dtype="float32").clip(-1, 1)
    written = io.BytesIO()
    soundfile.write(written, samples, rate, format="FLAC", subtype="PCM_16")
    return written.getvalue()


def draw_mel(mel: Tensor, colours: tuple[float, float], frames: int) -> bytes:
    """log10 mel (T, M) as a PNG of ``SIZE``, low bands below, in colours from low to high; it is ``frames`` wide."""
    width = max(1, round(SIZE[0] * len(mel) / frames))
    scaled = F.interpolate(mel.T[None, None], (SIZE[1], width), mode="bilinear", antialias=True, align_corners=False)
    low, high = colours
    shares = ((scaled[0, 0].flip(0) - low) / max(high - low, 1e-6)).clamp(0, 1)
    pixels = np.full(SIZE[::-1], EMPTY, dtype=np.uint8)
    # Every fourth colour is enough for the eye, and makes the file half as large.
    pixels[:, :width] = 4 * (shares * 63).round().to(torch.uint8).numpy()
    image = Image.fromarray(pixels, "L")
    image.putpalette((matplotlib.colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    written = io.BytesIO()
    image.save(written, "PNG", transparency=EMPTY, optimize=True)
    return written.getvalue()
