"""Nearer to a voice: what a model gets wrong of the prompt's frames is taken from like frames that it says.

What a step makes of a voice that training never had lies between this voice and those that it knows, even where the
frames before it are true. How far off it is can be seen in the prompt, whose frames are known: there each step is
predicted as in training, and what the prediction lacks of the true frame is kept beside it. A frame that is spoken
gets what like predictions lacked, by kernel regression (Nadaraya and Watson, 1964).
"""

from __future__ import annotations

import torch
from torch import Tensor

from melle.model import layout
from melle.model.melle import Melle

UNHEARD = 0.2  # of a prompt's frames: the first ones, predicted when little of the voice had been heard
WIDTH = 0.1  # squared log10, mean over the bands: of the kernel exp(-distance / WIDTH)
LIKE = 1.0  # frames just like it by which what is known of a frame counts half


class PromptCorrection:
    """For frames of one voice, in log10 mel, each by itself, so that they can come in any pieces.

    Args:
        predicted, true: (J, M) what the model made of the prompt's frames, and what they are.
        share: of what like predictions lacked that a frame gets, 0 to 1.
    """

    def __init__(self, predicted: Tensor, true: Tensor, share: float):
        self._predicted, self._lacked = predicted, share * (true - predicted)

    def __call__(self, mel: Tensor) -> Tensor:
        """Frames (n, M) on the CPU, corrected."""
        distance = (mel[:, None] - self._predicted).square().mean(dim=2)
        weights = torch.exp(-distance / WIDTH)
        return mel + weights @ self._lacked / (weights.sum(dim=1, keepdim=True) + LIKE)


@torch.no_grad()
def predicted_frames(
    network: Melle,
    text: Tensor,
    text_lengths: Tensor,
    text_segments: Tensor,
    mel: Tensor,
    segment_steps: Tensor,
    keep: Tensor | None = None,
    tempo: Tensor | None = None,
) -> Tensor:
    """The refined frames y'' of whole rows of one length, at temperature 0, as log10 mel: (B, T, M).

    Arguments as of ``guided_attention``. Leaves the network as it is, so that other threads may use it meanwhile.
    """
    rows, frames, bands = mel.shape
    steps = frames // network.reduction_factor
    read = network.normalise(mel).view(rows, steps, network.group)[:, :-1].to(network.bos.dtype)
    x, rotary, mask = network.join(
        text, text_lengths, text_segments, network.prenet(read, keep), segment_steps, None, tempo
    )
    for block in network.blocks:
        x, _ = block.forward(x, rotary, mask)
    slots = layout.step_slots(text_lengths, steps)
    hidden = network.norm(x.gather(1, slots[:, :, None].expand(-1, -1, x.shape[2])))
    made = network.latent(hidden.to(network.stop.weight.dtype), 0.0).frames.reshape(rows, frames, bands)
    return network.denormalise(network.refine(made, torch.ones_like(mel[..., 0], dtype=torch.bool), rows * frames))
