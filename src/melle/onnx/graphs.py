"""What becomes an ONNX graph each: reading text and prompt, one step, the post-net, the vocoder's spectra.

All are of one row. Keys and values go in and out as inputs and outputs of every block, and grow by what is read; random
numbers are inputs, too, so that a graph is a function.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from melle.model import Melle
from melle.model.cache import DecodingState
from melle.model.noise import StepNoise
from melle.vocoders.vocos.network import VocosNetwork


class GrowingCache:
    """Keys and values (1, H, P, head_width) of one block, by the interface of ``KVCache``: what is new is joined on."""

    length = 0

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None):
        self.keys, self.values = keys, values

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat((self.keys, keys), dim=2), torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values


def _flat(caches: list[GrowingCache]) -> list[Tensor]:
    return [part for cache in caches for part in (cache.keys, cache.values) if part is not None]


class Prefill(nn.Module):
    """Read text and prompt.

    Takes ``text`` (1, S) ids with <EOS>, ``segments`` (1, S): 0 for what the prompt says, 1 for what is to be said (0
    where there is no prompt), ``prompt`` (1, T, M) log10 mel, T a multiple of r or 0, ``keep`` (1, T / r, units)
    as in ``StepNoise``, ``noise`` (1, 1, r·M) ε of eq. 3 times the temperature. Gives the first frames, ``made``
    (1, r, M) in the network's scale, their ``stop`` logit (1,), and keys and values of every block.
    """

    def __init__(self, network: Melle):
        super().__init__()
        self.network = network

    def forward(
        self, text: Tensor, segments: Tensor, prompt: Tensor, keep: Tensor, noise: Tensor
    ) -> tuple[Tensor, ...]:
        network = self.network
        lengths = torch.full_like(text[:, 0], text.shape[1])
        steps = torch.full_like(text[:, :2], keep.shape[1]) * torch.tensor([[1, 0]])
        read = network.prenet(network.normalise(prompt).reshape(1, -1, network.group), keep)
        x, rotary, mask = network.join(text, lengths, segments, read, steps)
        if mask is None:  # a graph of any length has to say what is causal
            slots = torch.arange(x.shape[1])
            mask = (slots[None, :] <= slots[:, None])[None, None]
        caches = [GrowingCache() for _ in network.blocks]
        for block, cache in zip(network.blocks, caches):
            x, _ = block(x, rotary, mask, cache)
        return *network.predict(x[:, -1:], 1.0, StepNoise(keep, noise)), *_flat(caches)


class Step(nn.Module):
    """Read the last frames, and give the next.

    Takes ``frames`` (1, r, M) as they came, ``number`` (1,): how many steps were read before, the prompt's counted,
    plus 1, ``text_length`` (1,), ``keep`` (1, 1, units), ``noise`` (1, 1, r·M), keys and values; gives what
    ``Prefill`` does.
    """

    def __init__(self, network: Melle):
        super().__init__()
        self.network = network

    def forward(
        self, frames: Tensor, number: Tensor, text_length: Tensor, keep: Tensor, noise: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        caches = [GrowingCache(keys, values) for keys, values in zip(past[::2], past[1::2])]
        state = DecodingState(prefix=text_length + number, prefix_size=0, steps=number - 1, even=True)
        frames, stop = self.network.step(caches, state, frames, 1.0, StepNoise(keep, noise))  # type: ignore[arg-type]
        return frames, stop, *_flat(caches)


class Refine(nn.Module):
    """All frames (1, T, M) in the network's scale to log10 mel (1, T, M), by the post-net where there is one."""

    def __init__(self, network: Melle):
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        count = frames.shape[0] * frames.shape[1]
        valid = torch.ones_like(frames[:, :, 0], dtype=torch.bool)
        return self.network.denormalise(self.network.refine(frames, valid, count))


class VocoderSpectra(nn.Module):
    """Log10 mel (1, T, M) to the real and imaginary part of spectra (1, 2, n_fft / 2 + 1, T), by our own vocoder."""

    def __init__(self, network: VocosNetwork):
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor) -> Tensor:
        magnitude, phase = self.network.polar(mel, self.network.turns(mel))
        return torch.stack((magnitude * phase.cos(), magnitude * phase.sin()), dim=1)
