"""The decoding loop: from text and prompt to frames, one step at a time, until the network says stop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from melle.network import Melle


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode. Lengths count in what the text should take at the prompt's pace, or the corpus's without one."""

    temperature: float = 1.0  # scales σ of the latent; 0 takes the mean
    stop_threshold: float = 0.5  # stop at this probability
    # In the demo corpus, whose voices keep their pace, 99 of 100 recordings last 0.7 to 1.5 times what is expected.
    min_length: float = 0.7  # before this share of the expected length a stop is not heeded
    max_length: float = 2.0  # at this multiple of it speech is cut off (finish reason "length")


@dataclass(frozen=True)
class DecodedRow:
    """One row's new frames: ``mel`` (T, M) log10, the stop probability of each step, and why it ended."""

    mel: Tensor
    stop: Tensor
    finish_reason: str  # "stop" or "length"


@torch.inference_mode()
def decode(
    network: Melle,
    text: Tensor,
    text_lengths: Tensor,
    text_segments: Tensor,
    prompt: Tensor,
    prompt_lengths: Tensor,
    expected_steps: Tensor,
    options: DecodingOptions,
) -> list[DecodedRow]:
    """Decode B rows together. Arguments as in ``Melle.start``; ``expected_steps`` (B,) float, what the guards go by."""
    rows = len(text)
    # At least one step; an upper bound of a few steps more keeps very short texts from being cut.
    earliest = (expected_steps * options.min_length).floor().clamp(min=1)
    latest = (expected_steps * options.max_length).ceil().clamp(min=4)
    if network.longest is not None:
        latest = torch.minimum(latest, network.longest[1] - prompt_lengths / network.reduction_factor).clamp(min=1)
    limit = int(latest.max())
    state, frames, logits = network.start(
        text, text_lengths, text_segments, prompt, prompt_lengths, limit, options.temperature
    )
    outputs, stops = [frames], [logits.sigmoid()]
    stopped = torch.zeros(rows, dtype=torch.bool, device=text.device)
    steps = torch.zeros(rows, dtype=torch.long, device=text.device)
    for count in range(1, limit + 1):
        wants = (stops[-1] >= options.stop_threshold) & (count >= earliest)
        ends = (steps == 0) & (wants | (count >= latest))
        stopped |= ends & wants
        steps = torch.where(ends, count, steps)
        if bool((steps > 0).all()):
            break
        frames, logits = network.step(state, frames, options.temperature)
        outputs.append(frames)
        stops.append(logits.sigmoid())
    made = torch.cat(outputs, dim=1)
    mels = _refine(network, prompt, prompt_lengths, made, steps * network.reduction_factor)
    stop = torch.stack(stops, dim=1)
    return [
        DecodedRow(mel, stop[row, : int(steps[row])].cpu(), "stop" if stopped[row] else "length")
        for row, mel in enumerate(mels)
    ]


def _refine(network: Melle, prompt: Tensor, prompt_lengths: Tensor, made: Tensor, lengths: Tensor) -> list[Tensor]:
    """The post-net over each row's new frames, with as much of its prompt before them as the post-net can see."""
    context = network.postnet.context if network.postnet is not None else 0
    mels = []
    for row in range(len(made)):
        end = int(prompt_lengths[row])
        before = network.normalise(prompt[row, max(0, end - context) : end])
        frames = torch.cat((before, made[row, : int(lengths[row])]))[None]
        refined = network.refine(frames, torch.tensor([frames.shape[1]], device=frames.device))[0]
        mels.append(network.denormalise(refined[len(before) :]).cpu())
    return mels
