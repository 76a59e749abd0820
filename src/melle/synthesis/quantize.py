"""Lighter weights for decoding (half precision, int8), which waits for memory more than for arithmetic."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from melle.errors import UserError
from melle.model import Melle
from melle.model.linear import make_plain

KINDS = ("float32", "bfloat16", "float16", "int8")
EXACT = ("latent", "stop", "postnet")  # parts of the network that 16 bits leave alone


def check_weights(kind: str, device: str | torch.device, compile: bool = False) -> None:
    """Raise UserError for weights that there are not, not on this device, or not with compiled blocks."""
    if kind not in KINDS:
        raise UserError(f"weights={kind}: choose one of {', '.join(KINDS)}")
    if kind == "int8" and torch.device(device).type != "cpu":
        raise UserError(f"weights=int8 are for CPUs; on {device} choose bfloat16 or float16")
    if kind == "int8" and compile:
        raise UserError("compile is for floating-point weights; leave it out, or choose others than int8")


def quantize(network: Melle, kind: str) -> Melle:
    """Change the weights of ``network`` in place; what it says changes by their rounding.

    "bfloat16" and "float16" are for the Transformer, its embeddings and the pre-net; latent sampling, stop and post-net
    make the frames and are small: they stay in 32 bits. "int8" is for the matrices of the Transformer, and for CPUs
    alone: a scale for each matrix, and one for what comes in, anew at every step (torch's dynamic quantisation).
    """
    check_weights(kind, network.bos.device)
    if kind == "float32":
        return network
    quantised = torch.ao.nn.quantized.dynamic.Linear
    if network.bos.dtype != torch.float32 or any(isinstance(part, quantised) for part in network.modules()):
        raise UserError(f"weights={kind}: the network has lighter weights already; start from those of 32 bits")
    if kind == "int8":
        make_plain(network.blocks)  # the library looks for this very class
        with warnings.catch_warnings():
            # It says that torch 2.10 no longer has it, but 2.11 does, which the project is bound to.
            warnings.simplefilter("ignore")
            torch.ao.quantization.quantize_dynamic(network.blocks, {nn.Linear}, dtype=torch.qint8, inplace=True)
    else:
        dtype = getattr(torch, kind)
        for name, part in network.named_children():
            if name not in EXACT:
                part.to(dtype)
        for parameter in network.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
    return network
