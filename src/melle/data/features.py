"""Log-mels computed once and kept on disk, so that training need not decode sound.

A folder holds a store for each mel spec and setting of silences: ``mel-<hash>``, which ``spec.json`` names. What a
model predicts of recordings (``prepare predictions``) is kept alike. In a store each recording has a NumPy file of its
own, ``ab/cdef….npy``: its log10 mel (frames, bands) as 16-bit floats, named by a hash of where the recording is, its
size and the time of its last change. A recording that changes is never served from what was computed before. Files are
written whole or not at all, by any number of processes, and a store may be copied.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from melle.audio import MelSpec
from melle.errors import UserError
from melle.files import digest, write_text, written_whole

FORMAT = 2  # raise it when LogMel or the files change
FRAME = np.dtype("<f2")  # resolves log10 magnitudes to 0.004 (0.08 dB), far below what is audible


class FeatureStore:
    """The log10 mels of one spec in a folder.

    Args:
        folder: where ``build_features`` put them.  spec: what a frame is.
        silence: how silences were shortened (``SileroTrim.description``), empty where they were not.
        predicted: whether frames are what a model predicts of the recordings, not their own.
    """

    def __init__(self, folder: str | Path, spec: MelSpec, silence: str = "", predicted: bool = False):
        content = [FORMAT, _plain(spec), silence] + ["predicted"] * predicted
        self.folder = Path(folder) / f"mel-{digest(content)}"
        self.spec, self.silence = spec, silence

    def get(self, path: str | Path) -> Tensor | None:
        """log10 mel (T, M), float32, of a recording; None where it is not there or the file has changed since."""
        mel = self._open(path)
        return None if mel is None else torch.from_numpy(mel.astype(np.float32))

    def has(self, path: str | Path) -> bool:
        """Whether ``get`` gives something, by the header and the size of the file, which is not read."""
        return self._open(path, mmap_mode="r") is not None

    def _open(self, path: str | Path, mmap_mode: str | None = None) -> NDArray | None:
        place = self.place(path)
        try:
            mel = None if place is None else np.load(place, mmap_mode)
        except (OSError, ValueError, EOFError):  # not there, or what a machine left that lost its power
            return None
        return mel if mel is not None and mel.ndim == 2 and mel.shape[1] == self.spec.n_mels else None

    def put(self, place: Path, mel: NDArray) -> None:
        """Keep a log10 mel (T, M) where ``place`` said, whole or not at all; of several writers the last one counts."""
        with written_whole(place, f"{place}.{uuid4().hex}.partial", sync=False) as partial:
            content = BytesIO()  # NumPy itself says of a full disk how much it wrote, not what is wrong
            np.save(content, mel.astype(FRAME))
            partial.write_bytes(content.getbuffer())

    def place(self, path: str | Path) -> Path | None:
        """The file that is for a recording as it is now; None where there is no recording."""
        try:
            status, real = os.stat(path), os.path.realpath(path)
        except (OSError, ValueError):
            return None
        content = b"%s\0%d\0%d" % (os.fsencode(real), status.st_size, status.st_mtime_ns)
        name = hashlib.blake2b(content, digest_size=12).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.npy"

    def is_empty(self) -> bool:
        """Whether there are no features of any recording."""
        return next(self.folder.glob("*/*.npy"), None) is None

    def describe(self, predicted_by: str | None = None) -> None:
        """Make the folder, and say in ``spec.json`` what it holds.

        ``predicted_by``: words on the model, of which the last identifies it. Raises UserError where the frames are of
        another one.
        """
        place = self.folder / "spec.json"
        earlier = json.loads(place.read_text(encoding="utf-8")) if predicted_by and place.exists() else {}
        if predicted_by and earlier and earlier["predicted by"].split()[-1] != predicted_by.split()[-1]:
            raise UserError(
                f"{self.folder.parent}: holds what another model predicted ({earlier['predicted by']}); "
                "give another folder"
            )
        content = {
            "content": "log10 of mel magnitudes, (frames, bands), 16-bit floats",
            "mel": _plain(self.spec),
            "silence": self.silence or "as recorded",
            "format": FORMAT,
        }
        content |= {"predicted by": predicted_by} if predicted_by else {}
        write_text(place, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _plain(spec: MelSpec) -> dict:
    return {f.name: type(f.default)(getattr(spec, f.name)) for f in fields(MelSpec)}  # 80 and 80.0 are the same
