"""Nearer to a voice: what a model's predictions of the prompt lack is added to like frames that it speaks.

What a step makes of a voice that training never had lies between this voice and those that it knows, even where the
frames before it are true. How far off it is can be seen in the prompt, whose frames are known: there each step is
predicted as in training, by the text and the true frames before it, without guidance and at temperature 0, and what the
prediction lacks of the true frame is kept beside it. A frame that is spoken gets what like predictions lacked, by
kernel regression (Nadaraya 1964, Watson 1964).
"""

from __future__ import annotations

import torch
from torch import Tensor

from melle.model import layout
from melle.model.melle import Melle
from melle.model.whole_rows import WholeRows

WIDTH = 0.1  # squared log10, mean over the bands: of the kernel exp(-distance / WIDTH)
LIKE = 1.0  # frames just like it by which what is known of a frame counts half


class PromptCorrection:
    """For frames of one voice, in log10 mel, each by itself, so that they can come in any pieces.

    Args:
        predicted, true: (J, M) what the model made of the prompt's frames, and what they are.
    """

    def __init__(self, predicted: Tensor, true: Tensor):
        good = (true - predicted).isfinite().all(dim=1)  # of weights in 16 bits a frame may be no number
        self._predicted, self._lacked = predicted[good], (true - predicted)[good]

    def __call__(self, mel: Tensor, share: float) -> Tensor:
        """Frames (n, M) on the CPU, with a share, 0 to 1, of what like predictions lacked added."""
        distance = torch.cdist(mel, self._predicted, compute_mode="donot_use_mm_for_euclid_dist").square()
        weights = torch.exp(-distance / mel.shape[1] / WIDTH)
        return mel + share * (weights @ self._lacked) / (weights.sum(dim=1, keepdim=True) + LIKE)


@torch.no_grad()
def predicted_frames(network: Melle, rows: WholeRows) -> Tensor:
    """The refined frames y'' of ``rows``, at temperature 0, as log10 mel: (B, T, M).

    Leaves the network as it is, so that other threads may use it meanwhile.
    """
    mel = rows.mel
    x, rotary, mask = rows.join(network)
    for block in network.blocks:
        x, _ = block.forward(x, rotary, mask)
    slots = layout.step_slots(rows.text_lengths, mel.shape[1] // network.reduction_factor)
    hidden = network.norm(x.gather(1, slots[:, :, None].expand(-1, -1, x.shape[2])))
    made = network.latent(hidden.to(network.stop.weight.dtype), 0.0).frames.reshape(mel.shape)
    valid = torch.ones_like(mel[..., 0], dtype=torch.bool)
    return network.denormalise(network.refine(made, valid, valid.numel()))
