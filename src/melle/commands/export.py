"""``python -m melle export``: a checkpoint becomes a folder to hand on."""

from __future__ import annotations

import argparse
from pathlib import Path

from melle.console import shell_command

DTYPES = ("float32", "float16", "bfloat16")


def add(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser("export", help="write a folder with the model alone, to hand on or to publish")
    export.add_argument("--checkpoint", required=True, help="a .ckpt file that train.py wrote, or another export")
    export.add_argument("-o", "--output", required=True, type=Path, help="folder to write")
    export.add_argument("--dtype", choices=DTYPES, default="float32", help="of the weights; 16 bits halve the file")
    export.add_argument(
        "--raw-weights", action="store_true", help="not the average of the weights (EMA) but the last ones"
    )
    export.add_argument("--vocoder", type=Path, help="a .ckpt file of our own vocoder to go with it")
    export.add_argument(
        "--voices",
        type=Path,
        help="folder with voices.json and recordings to go with it; default: those of --checkpoint",
    )
    export.add_argument(
        "--normalise",
        action=argparse.BooleanOptionalAction,
        help="whether it reads figures and abbreviations as words, $5 as five dollars; default: as in its training",
    )
    export.add_argument(
        "--onnx", action="store_true", help="write graphs for onnxruntime, too, to OUTPUT/onnx (extra: onnx)"
    )
    export.add_argument("--push", metavar="USER/MODEL", help="upload it to the Hugging Face hub under this name, too")
    export.add_argument("--public", action="store_true", help="with --push: for everybody to see")
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the folder, and upload it if asked to."""
    from dataclasses import replace

    import torch

    from melle.pretrained import WEIGHTS, fetched, load_pretrained, push, save_pretrained
    from melle.synthesis.voices import copy_voices
    from melle.text import normalising

    model = load_pretrained(options.checkpoint, average=not options.raw_weights)
    tokenizer = normalising(model.description.tokenizer, options.normalise)
    model = replace(model, description=replace(model.description, tokenizer=tokenizer))
    save_pretrained(model, options.output, getattr(torch, options.dtype), options.vocoder or model.vocoder)
    copy_voices(options.voices or fetched(options.checkpoint), options.output)
    size = (options.output / WEIGHTS).stat().st_size / 2**20
    print(f"{options.output}: step {model.step}, {size:.1f} MiB of {options.dtype} weights")
    if options.onnx:
        from melle.onnx.export import export_onnx

        graphs = export_onnx(options.output, options.output / "onnx")
        speak = shell_command("python", "examples/onnx_speak.py", graphs, "Good morning.", "VOICE", "out.wav")
        print(f"{graphs}: speak by {speak}")
    if options.push:
        print(push(options.output, options.push, private=not options.public))
