"""Where everything sits in the joined sequence: slots, masks and positions.

A row of the batch is ``[text tokens, <EOS> | <BOS>, step 0, step 1, …]`` without a gap, then padding: the text's own
padding is squeezed out, so that no frame ever looks across it and the causal mask alone is right. Text and frames may
join several utterances of one voice ("segments"); ``text_segments`` (B, S) says of each token which, counted from 0,
with -1 in the padding. <EOS> belongs to the last segment.
"""

from __future__ import annotations

import torch
from torch import Tensor

POSITIONS = ("learned", "rope", "paced")


def lengths_to_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths to (B, size), True within the length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def join_index(text_lengths: Tensor, text_size: int, steps: int) -> Tensor:
    """For every slot of the joined rows the index into ``cat([text, steps], dim=1)``: (B, text_size + steps)."""
    slots = torch.arange(text_size + steps, device=text_lengths.device).expand(len(text_lengths), -1)
    gap = (text_size - text_lengths)[:, None]
    joined = torch.where(slots < text_lengths[:, None], slots, slots + gap)
    return joined.clamp(max=text_size + steps - 1)


def step_slots(text_lengths: Tensor, steps: int) -> Tensor:
    """The slot of every mel step in the joined row: (B, steps)."""
    return text_lengths[:, None] + torch.arange(steps, device=text_lengths.device)


def joined_mask(text_lengths: Tensor, size: int) -> Tensor:
    """Causal, but text is bidirectional: (B, 1, size, size), True where the query (row) may look."""
    slots = torch.arange(size, device=text_lengths.device)
    causal = slots[None, :] <= slots[:, None]
    in_text = slots < text_lengths[:, None]
    return (causal | (in_text[:, :, None] & in_text[:, None, :]))[:, None]


def paced_text_positions(
    text_segments: Tensor, segment_steps: Tensor, pace: float, tempo: Tensor | None = None
) -> Tensor:
    """The mel step, whole or not, at which each token is due: (B, S).

    The tokens of a segment spread from the step at which that segment begins, at the pace (steps per token) of all
    segments before it in the row; the first, which has none before it, takes ``pace``. Only what is known when the last
    segment is still to be spoken is used, so training and decoding agree. ``segment_steps`` (B, U): mel steps of each
    segment; a row's last one is never read. ``tempo`` (B,): how many times as fast as that pace each row's last segment
    is to be spoken; None: as fast.
    """
    segments = segment_steps.shape[1]
    member = text_segments[:, :, None] == torch.arange(segments, device=text_segments.device)  # (B, S, U)
    tokens = member.sum(dim=1)
    first_token = tokens.cumsum(1) - tokens
    first_step = segment_steps.cumsum(1) - segment_steps
    paces = torch.where(first_token > 0, first_step / first_token.clamp(min=1), torch.full_like(first_step, pace))
    if tempo is not None:
        last = text_segments.amax(dim=1, keepdim=True) == torch.arange(segments, device=text_segments.device)
        paces = torch.where(last, paces / tempo[:, None], paces)
    own = text_segments.clamp(min=0)
    index = torch.arange(text_segments.shape[1], device=text_segments.device)
    return first_step.gather(1, own) + (index - first_token.gather(1, own) + 0.5) * paces.gather(1, own)
