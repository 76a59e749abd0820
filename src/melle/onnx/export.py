"""Writing the graphs of a model to a folder, with what else decoding needs as plain JSON and NumPy arrays."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim

from melle.errors import UserError
from melle.files import write_text, written_whole
from melle.onnx.graphs import Prefill, Refine, Step, VocoderSpectra
from melle.synthesis.options import DecodingOptions
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.voices import read_voices
from melle.vocoders.vocos.vocoder import load_network

CONFIG, VOICES = "onnx.json", "voices"
VARIES = {1: Dim.AUTO}  # the second dimension


def export_onnx(model: str | Path, folder: str | Path) -> Path:
    """Write the graphs of an exported model, and its named voices as prompts that were read; returns the folder.

    ``prefill.onnx``, ``step.onnx``, ``refine.onnx`` and, where the model has a vocoder of its own, ``vocoder.onnx``
    are the graphs (see ``graphs.py``). ``onnx.json`` has the sizes, the mel spec, the tokenizer, and the model's usual
    lengths, temperature and dropout of the pre-net; ``voices/NAME.npz`` the ``tokens`` (S,) and the ``mel`` (T, M) of a
    prompt. Raises UserError where the extra ``onnx`` is missing.
    """
    model, folder = Path(model), Path(folder)
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError('the export to ONNX needs: python -m pip install -e ".[onnx]"') from None
    speaker = Synthesizer.from_checkpoint(model, device="cpu")
    network, description = speaker.network.float().eval(), speaker.description
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (folder / CONFIG, folder / "vocoder.onnx", *(folder / VOICES).glob("*.npz")):  # of an older export
        stale.unlink(missing_ok=True)
    past = [name for block in range(len(network.blocks)) for name in (f"keys_{block}", f"values_{block}")]
    made = ["made", "stop", *(f"new_{name}" for name in past)]
    units, group, r = network.prenet.units, network.group, network.reduction_factor
    text = torch.full((1, 9), 2)
    segments = torch.tensor([[0] * 4 + [1] * 5])
    prompt, keep, noise = torch.zeros(1, 6 * r, network.n_mels), torch.rand(1, 6, units), torch.randn(1, 1, group)
    _write(
        *(Prefill(network), (text, segments, prompt, keep, noise), folder / "prefill.onnx"),
        ["text", "segments", "prompt", "keep", "noise"],
        made,
        (VARIES, VARIES, VARIES, VARIES, None),
    )
    caches = [torch.randn(1, block.attention.heads, 16, network.head_width) for block in network.blocks for _ in "kv"]
    one = torch.ones(1, dtype=torch.long)
    _write(
        *(Step(network), (torch.zeros(1, r, network.n_mels), one * 7, one * 9, keep[:, :1], noise, caches)),
        folder / "step.onnx",
        ["frames", "number", "text_length", "keep", "noise", *past],
        made,
        (None, None, None, None, None, [{2: Dim.AUTO}] * len(caches)),
    )
    frames = torch.zeros(1, 40, network.n_mels)
    _write(Refine(network), (frames,), folder / "refine.onnx", ["frames"], ["mel"], (VARIES,))
    if (model / "vocoder.json").is_file():
        _, vocoder = load_network(model)
        _write(VocoderSpectra(vocoder), (frames,), folder / "vocoder.onnx", ["mel"], ["spectra"], (VARIES,))
    (folder / VOICES).mkdir(exist_ok=True)
    for name, voice in read_voices(model).items():
        read = speaker.read_prompt(voice.audio, voice.text)
        with written_whole(folder / VOICES / f"{name}.npz") as partial, partial.open("wb") as file:
            np.savez(file, tokens=np.array(read.tokens), mel=read.mel.numpy())
    options = DecodingOptions().with_defaults(description.decoding)
    config = {
        "tokenizer": description.tokenizer.as_dict(),
        "mel": vars(description.mel),
        "reduction_factor": r,
        "blocks": len(network.blocks),
        "heads": network.blocks[0].attention.heads if len(network.blocks) else 0,
        "head_width": network.head_width,
        "prenet_units": units,
        "mel_mean": network.mel_mean,
        "mel_std": network.mel_std,
        "context": network.postnet.context if network.postnet is not None else 0,
        "frames_per_token": description.frames_per_token,
        "length_range": list(description.length_range),
        "temperature": options.temperature,
        "prenet_dropout": network.prenet.dropout if options.prenet_dropout is None else options.prenet_dropout,
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return folder


def _write(
    graph: nn.Module,
    arguments: tuple[Any, ...],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: tuple[Any, ...],
) -> None:
    """``shapes``: of every argument which dimensions vary."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of what is not installed and not needed
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.eval(),
                arguments,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
            with written_whole(path) as partial:
                program.save(partial, external_data=False)
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
