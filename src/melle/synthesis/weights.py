"""Lighter weights for decoding, which waits for memory more than for arithmetic."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from melle.errors import UserError
from melle.network import Melle

KINDS = ("float32", "bfloat16", "float16", "int8")


def lighten(network: Melle, kind: str) -> Melle:
    """Change the weights of ``network`` in place; what it says changes by their rounding.

    "bfloat16" and "float16" are for the Transformer, its embeddings and the pre-net; latent sampling, stop and post-net
    make the frames and are small: they stay in 32 bits. "int8" is for the matrices of the Transformer, and for CPUs
    alone: a scale for each matrix, and one for what comes in, anew at every step (torch's dynamic quantisation).
    """
    if kind not in KINDS:
        raise UserError(f"weights={kind}: choose one of {', '.join(KINDS)}")
    device = network.begin.device
    if kind == "int8":
        if device.type != "cpu":
            raise UserError(f"weights=int8 are for CPUs; on {device.type} choose bfloat16 or float16")
        with warnings.catch_warnings():
            # It says that torch 2.10 no longer has it, but 2.11 does, which the project is bound to.
            warnings.simplefilter("ignore")
            torch.ao.quantization.quantize_dynamic(network.blocks, {nn.Linear}, dtype=torch.qint8, inplace=True)
    elif kind != "float32":
        exact = (network.latent, network.stop, network.postnet)
        network.to(getattr(torch, kind))
        for part in exact:
            if part is not None:
                part.float()
    return network
