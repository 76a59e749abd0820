"""``python -m melle import-reference``: a checkpoint of the reference implementation becomes one of ours."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    reference = commands.add_parser(
        "import-reference", help="turn a checkpoint of the reference implementation into ours"
    )
    reference.add_argument("--checkpoint", required=True, type=Path, help="the reference's file")
    reference.add_argument("-o", "--output", required=True, type=Path, help="the .ckpt file to write")
    reference.add_argument("--tokenizer", required=True, help="the Hugging Face tokenizer: name on the hub or folder")
    reference.add_argument(
        "--eos", type=int, required=True, help="the id that ended texts in training: 2 for Llama's tokenizer"
    )
    reference.add_argument("--heads", type=int, default=16, help="attention heads")
    reference.add_argument("--activation", default="silu", help="relu, silu or tanh, of the Transformer blocks")
    reference.add_argument("--prenet-activation", default="relu", help="of the pre-net")
    reference.add_argument("--postnet-activation", default="tanh", help="of the post-net")
    reference.set_defaults(run=take_over_reference)


def take_over_reference(options: argparse.Namespace) -> None:
    """Write a checkpoint of ours with the reference's weights."""
    from melle.reference import import_reference
    from melle.text.subwords import SubwordTokenizer

    network = import_reference(
        options.checkpoint,
        options.output,
        SubwordTokenizer.from_pretrained([], options.tokenizer),
        options.eos,
        options.heads,
        options.activation,
        options.prenet_activation,
        options.postnet_activation,
    )
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    print(
        f"{options.output}: {millions:.1f} million parameters, r = {network.reduction_factor}, "
        f"{network.position} positions"
    )
