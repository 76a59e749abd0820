"""Reading what ``export_onnx`` wrote, and sound from mels, where there is no PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from melle.console import did_you_mean
from melle.errors import UserError


def read_graphs(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is in ``onnx.json``, and a session of onnxruntime for each graph. Raises UserError for another folder."""
    import onnxruntime

    if not (folder / "onnx.json").is_file():
        raise UserError(f"{folder}: has no onnx.json; give the folder `onnx` that python -m melle export --onnx wrote")
    config = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))
    if "prenet_dropout" not in config:  # its graphs take uniform numbers as ``keep``
        raise UserError(
            f"{folder}: graphs of an earlier version; export the model again by python -m melle export --onnx"
        )
    return config, {path.stem: onnxruntime.InferenceSession(path) for path in folder.glob("*.onnx")}


def read_voice(folder: Path, name: str) -> tuple[list[int], np.ndarray]:
    """The tokens of a voice's prompt, and its mel (T, M). Raises UserError for a name that is none of the voices'."""
    voices = sorted(path.stem for path in folder.glob("voices/*.npz"))
    if name not in voices:
        known = ", ".join(voices) or "none: export with --voices"
        raise UserError(f"{folder} has no voice {name!r}{did_you_mean(name, voices)}; it has {known}")
    prompt = np.load(folder / "voices" / f"{name}.npz")
    return prompt["tokens"].tolist(), prompt["mel"]


def vocode(mel: np.ndarray, vocoder: Any | None, spec: dict[str, Any]) -> np.ndarray:
    """Samples (N,) of a log10 mel (1, T, M): by the session of the model's vocoder, else by Griffin-Lim."""
    import librosa

    size, hop = spec["n_fft"], spec["hop_length"]
    if vocoder is not None:
        real, imaginary = vocoder.run(None, {"mel": mel})[0][0]
        return librosa.istft(real + 1j * imaginary, n_fft=size, hop_length=hop, center=True)
    bands = {"n_mels": spec["n_mels"], "fmin": spec["f_min"], "fmax": spec["f_max"]}
    basis = librosa.filters.mel(sr=spec["sample_rate"], n_fft=size, **bands)
    magnitudes = np.maximum(np.linalg.pinv(basis) @ 10.0 ** mel[0].T, 0)
    return librosa.griffinlim(magnitudes, n_iter=60, n_fft=size, hop_length=hop)


def write_sound(path: Path, samples: np.ndarray, rate: int) -> None:
    """In the format that the name ends in. Raises UserError where that cannot be."""
    import soundfile

    try:
        soundfile.write(path, samples, rate)
    except (OSError, TypeError, ValueError, soundfile.SoundFileError) as error:
        raise UserError(f"{path}: cannot be written ({error}); give a name such as out.wav") from None
