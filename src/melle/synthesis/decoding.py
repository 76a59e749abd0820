"""The decoding loop: from text and prompt to frames, one step at a time, until each row says stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from melle.data.batch import join_text, pad_texts
from melle.model import DecodingState, Melle
from melle.model.cache import KVCache
from melle.model.guidance import Guidance
from melle.model.noise import RowNoise, StepNoise
from melle.synthesis.cuda_graph import StepRunner
from melle.synthesis.options import DecodingOptions
from melle.synthesis.postnet_streaming import BLOCK, StreamingPostNet
from melle.synthesis.request import Request, prenet_dropout
from melle.synthesis.stopping import REASONS, Stopping


class Frames(NamedTuple):
    """The next frames of row number ``row``; its last ones come with how it ended."""

    row: int
    mel: Tensor  # (n, M) log10, on the CPU
    finish_reason: str | None = None  # of ``stopping.REASONS``; None: there is more to come
    stop: Tensor | None = None  # (K,) each step's stop probability


@torch.inference_mode()
def decode(
    network: Melle,
    requests: Sequence[Request],
    options: DecodingOptions,
    frame_rate: float,
    fixed: bool | None = None,
) -> Iterator[Frames]:
    """Decode requests as one batch, and give their refined frames as soon as they are final.

    Texts and prompts of unequal lengths may be mixed. Each row's random numbers are its own. Rows that have ended
    are computed along until they are half of the batch, which then shrinks to those that go on.

    ``fixed``: make steps of fixed shapes, as compiled blocks want them; None: on a CUDA device, as CUDA graphs.
    """
    r, device, options = network.reduction_factor, network.bos.device, options.with_defaults()
    bounds = step_bounds(network, requests)
    limit = int(bounds[1].max())
    noise = make_noise(network, requests)
    first = StepNoise(noise.prompt(prompt_steps(network, requests)), noise.next().latent)
    caches, state, frames, logits, *prompt = prefill(network, requests, options, first, room=limit)
    step = StepRunner(network, caches, state, options.temperature, device.type == "cuda" if fixed is None else fixed)
    postnet = StreamingPostNet(network, *prompt, limit * r)
    level = torch.tensor([request.level for request in requests], device=device)
    stopping = Stopping(options, *(bound.to(device) for bound in bounds), level, frame_rate, r)
    stops = torch.empty(len(requests), limit, device=device)
    places = list(range(len(requests)))  # the number of the row in each place of the batch
    active = set(places)  # rows that have not ended
    emitted = 0  # frames of every active row that have been given to the caller
    interval = _check_interval(device)
    for count in range(1, limit + 1):
        if count > 1:
            frames, logits = step(frames, noise.next())
        postnet.append(frames)
        stops[:, count - 1] = logits.sigmoid()
        stopping.update(count, stops[:, count - 1], postnet.raw(stopping.window))
        if count % interval and count < limit:
            continue
        steps = stopping.steps.tolist()
        for place, row in enumerate(places):
            if row in active and steps[place]:
                active.discard(row)
                at, end = torch.tensor([place], device=device), steps[place] * r
                mel = torch.cat([postnet.refine(at, start, end)[0] for start in range(emitted, end, BLOCK)])
                yield Frames(row, mel, REASONS[int(stopping.reason[place])], stops[place, : steps[place]].cpu())
        if not active:
            return
        if len(active) <= len(places) // 2:
            kept = torch.tensor([place for place, row in enumerate(places) if row in active], device=device)
            places = [row for row in places if row in active]
            for part in (noise, postnet, stopping, step):
                part.select(kept)
            frames, stops = frames[kept], stops[kept]
        while postnet.ready(emitted):
            at = torch.tensor([place for place, row in enumerate(places) if row in active], device=device)
            for row, mel in zip((row for row in places if row in active), postnet.refine(at, emitted)):
                yield Frames(row, mel)
            emitted += BLOCK


def prefill(
    network: Melle, requests: Sequence[Request], options: DecodingOptions, noise: StepNoise, room: int = 0
) -> tuple[list[KVCache], DecodingState, Tensor, Tensor, Tensor, Tensor]:
    """Read requests as one batch, with room in the caches for so many steps to come.

    Returns caches, state, first frames and stop logits as ``Melle.prefill`` does, and the prompts (B, T, M), padded,
    with their lengths (B,).
    """
    device, nothing = network.bos.device, torch.zeros(0, network.n_mels)
    text, text_lengths, text_segments = pad_texts([join_text(one.segments, one.marks) for one in requests])
    mels = [nothing if one.prompt is None else one.prompt.mel for one in requests]
    lengths = torch.tensor([len(mel) for mel in mels])
    filled = int((text_lengths + 1 + lengths // network.reduction_factor).max())  # positions before the first new step
    guidance = guidance_of(options, requests)
    caches = network.make_caches(len(requests) * guidance.rows, filled + room)
    text, text_lengths, text_segments, lengths = (
        part.to(device) for part in (text, text_lengths, text_segments, lengths)
    )
    prompt = pad_sequence(mels, batch_first=True).to(device)
    tempo, pace = (torch.tensor(own, device=device) for own in zip(*((one.tempo, one.pace) for one in requests)))
    # Rows without prompt have no pause; that with the text takes the steps a token that the first has from its prompt.
    tokens, steps = (text_segments == 0).sum(dim=1), lengths / network.reduction_factor
    alone = network.pace * tempo * tokens / steps.clamp(min=1)
    tempo = guidance.stack(tempo, pace, torch.where(text_segments.amax(dim=1) > 0, alone, tempo))
    how = (options.temperature, noise, tempo, options.attention_window, guidance)
    return caches, *network.prefill(caches, text, text_lengths, text_segments, prompt, lengths, *how), prompt, lengths


def guidance_of(options: DecodingOptions, requests: Sequence[Request] = ()) -> Guidance:
    """Of options with defaults, and of requests with the same marks."""
    begin = max((one.marks.bos is not None for one in requests), default=False)
    return Guidance(options.guidance_scale, options.prompt_guidance, int(begin))


def make_noise(network: Melle, requests: Sequence[Request]) -> RowNoise:
    """What chance decides of each request, by its own seed."""
    seeds, dropouts = zip(*((one.seed, prenet_dropout(network, one)) for one in requests))
    return RowNoise(seeds, dropouts, network.prenet.units, network.group, network.bos.device)


def prompt_steps(network: Melle, requests: Sequence[Request]) -> list[int]:
    """How many mel steps the prompt of each has."""
    return [0 if one.prompt is None else len(one.prompt.mel) // network.reduction_factor for one in requests]


def _check_interval(device: torch.device) -> int:
    """Steps to make before asking which rows have ended: a GPU would wait for each answer."""
    return 8 if device.type == "cuda" else 1


def step_bounds(network: Melle, requests: Sequence[Request]) -> tuple[Tensor, Tensor]:
    """Steps (B,) before which a row may not stop, and at which it is cut off.

    At least one step; an upper bound of a few steps more keeps very short texts from being cut.
    """
    first = torch.tensor([request.min_steps for request in requests]).floor().clamp(min=1)
    last = torch.tensor([request.max_steps for request in requests]).ceil().clamp(min=4)
    if network.max_positions is not None:
        left = [network.max_positions[1] - steps for steps in prompt_steps(network, requests)]
        last = torch.minimum(last, torch.tensor(left)).clamp(min=1)
    return torch.minimum(first, last).long(), last.long()
