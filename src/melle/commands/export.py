"""``python -m melle export``: a checkpoint becomes a folder to hand on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from melle.console import shell_command
from melle.errors import UserError
from melle.options import option


@dataclass
class Export:
    checkpoint: str = option(..., "a .ckpt file that train.py wrote, or another export")
    output: Path = option(..., "folder to write", "-o")
    dtype: Literal["float32", "float16", "bfloat16"] = option("float32", "of the weights; 16 bits halve the file")
    raw_weights: bool = option(False, "not the average of the weights (EMA) but the last ones")
    vocoder: Path | None = option(None, "a .ckpt file of our own vocoder to go with it")
    voices: Path | None = option(
        None, "folder with voices.json and recordings to go with it; default: those of --checkpoint"
    )
    normalise: bool | None = option(
        None, "whether it reads figures and abbreviations as words, $5 as five dollars; default: as in its training"
    )
    temperature: float | None = option(
        None, "at which it speaks where nobody says otherwise; default: that of --checkpoint, else 1"
    )
    attention_window: float | None = option(
        None,
        "tokens that its guided attention then may look ahead (see synthesize --help); default: likewise, else inf",
    )
    guidance_scale: float | None = option(
        None, "of classifier-free guidance (see synthesize --help); default: likewise, else 1"
    )
    prompt_guidance: float | None = option(
        None, "of what the prompt alone changes (see synthesize --help); default: likewise, else 0"
    )
    prompt_correction: float | None = option(
        None, "of what predictions of the prompt lack (see synthesize --help); default: likewise, else 0"
    )
    pace: float | None = option(None, "of paced positions (see synthesize --help); default: likewise, else 1")
    prompt_pause: float | None = option(
        None, "seconds of silence after the prompt (see synthesize --help); default: likewise, else 0"
    )
    prenet_dropout: float | None = option(
        None, "of the pre-net while speaking (see synthesize --help); default: likewise, else that of its training"
    )
    onnx: bool = option(False, "write graphs for onnxruntime, too, to OUTPUT/onnx (extra: onnx)")
    push: str | None = option(None, "upload it to the Hugging Face hub under this name, too", metavar="USER/MODEL")
    public: bool = option(False, "with --push: for everybody to see")

    def _decoding(self) -> dict[str, float]:
        """What is given of how it is to speak. Raises UserError for values out of range."""
        from melle.checkpoint import DECODING
        from melle.synthesis.options import DecodingOptions

        given = {name: getattr(self, name) for name in DECODING}
        DecodingOptions(**given)
        return {name: value for name, value in given.items() if value is not None}

    def run(self) -> None:
        """Write the folder, and upload it if asked to."""
        from dataclasses import replace

        import torch

        from melle.pretrained import WEIGHTS, fetched, load_pretrained, push, save_pretrained
        from melle.synthesis.options import USUAL
        from melle.synthesis.voices import copy_voices
        from melle.text import normalising

        model = load_pretrained(self.checkpoint, average=not self.raw_weights)
        tokenizer = normalising(model.description.tokenizer, self.normalise)
        decoding = {**model.description.decoding, **self._decoding()}
        decoding = {name: value for name, value in decoding.items() if math.isfinite(value)}  # inf is the usual window
        for name, how in model.description.unsupported().items():
            if decoding.get(name, USUAL[name]) != USUAL[name]:
                raise UserError(f"--{name.replace('_', '-')}: this model was trained {how}; leave it out")
        model = replace(model, description=replace(model.description, tokenizer=tokenizer, decoding=decoding))
        save_pretrained(model, self.output, getattr(torch, self.dtype), self.vocoder or model.vocoder)
        copy_voices(self.voices or fetched(self.checkpoint), self.output)
        size = (self.output / WEIGHTS).stat().st_size / 2**20
        print(f"{self.output}: step {model.step}, {size:.1f} MiB of {self.dtype} weights")
        if self.onnx:
            from melle.onnx.export import export_onnx

            graphs = export_onnx(self.output, self.output / "onnx")
            speak = shell_command("python", "examples/onnx_speak.py", graphs, "Good morning.", "VOICE", "out.wav")
            print(f"{graphs}: speak by {speak}")
            without = (name for name in USUAL if name != "temperature")
            if left_out := [name for name in without if decoding.get(name, USUAL[name]) != USUAL[name]]:
                print(f"The graphs speak without {', '.join(left_out)}.")
        if self.push:
            print(push(self.output, self.push, private=not self.public))
