"""Decoding as it is usually written first, to compare with: one utterance, and a cache that is copied at every step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from melle.model import Melle
from melle.model.attention import rotate
from melle.model.cache import DecodingState, KVCache
from melle.model.linear import make_plain


class PlainDecoder:
    """Steps of ``network`` for one row, after ``length`` positions whose keys and values are random numbers.

    It shares the network's parameters, and multiplies as PyTorch's own layer does.
    """

    def __init__(self, network: Melle, length: int):
        shared = {id(value): value for value in network.parameters()}
        self.network, self.length = copy.deepcopy(network, shared), length
        make_plain(self.network)
        like = network.bos
        shape = (1, network.blocks[0].attention.heads, length, network.head_width)
        self.caches = [(torch.randn(shape).to(like), torch.randn(shape).to(like)) for _ in range(len(network.blocks))]

    def step(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Read frames (1, r, M) and predict the next ones, with their stop logit."""
        net = self.network
        x = net.prenet(frames.view(1, 1, -1).to(net.bos.dtype))
        position = torch.tensor([[self.length]], device=x.device)
        if net.mel_position is not None:
            x = x + net.mel_position(position)
        rotation = net._rotation(position)
        self.length += 1
        # Nothing is hidden from the last step; the mask is added all the same, as over a whole sequence.
        mask = torch.zeros(1, 1, 1, self.length, device=x.device)
        for number, block in enumerate(net.blocks):
            attention, normed = block.attention, block.attention_norm(x)
            q, k, v = (
                part.unflatten(2, (attention.heads, -1)).transpose(1, 2) for part in attention.qkv(normed).chunk(3, -1)
            )
            if rotation is not None:
                q, k = rotate(q, rotation), rotate(k, rotation)
            keys, values = (torch.cat(pair, dim=2) for pair in zip(self.caches[number], (k, v)))
            self.caches[number] = (keys, values)
            weights = (q @ keys.transpose(2, 3) / q.shape[-1] ** 0.5 + mask).softmax(dim=-1).to(values.dtype)
            x = x + attention.out(attention.norm((weights @ values).transpose(1, 2).flatten(2)))
            x = x + block.mlp(block.mlp_norm(x))
        hidden = net.norm(x).to(net.stop.weight.dtype)
        return net.latent(hidden).frames.view(1, net.reduction_factor, net.n_mels), net.stop(hidden)[:, 0, 0]


def caches_and_state(network: Melle, length: int, more: int) -> tuple[list[KVCache], DecodingState]:
    """Of a row with so many positions, whose keys and values are random numbers."""
    caches = network.make_caches(1, length + more)
    for block, cache in zip(network.blocks, caches):
        values: Tensor = torch.randn(1, block.attention.heads, length, network.head_width).to(network.bos)
        cache.append(values, values)
    count = torch.tensor([length], device=network.bos.device)
    return caches, DecodingState(count, length, torch.zeros_like(count), even=True)
