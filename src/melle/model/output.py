"""What a pass over whole rows gives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MelleOutput(NamedTuple):
    """What the losses need, in the network's own (normalised) mel scale."""

    target: Tensor  # (B, T, M) y
    mean: Tensor  # (B, T, M) μ
    log_variance: Tensor  # (B, T, M) log σ²
    frames: Tensor  # (B, T, M) y'
    refined: Tensor  # (B, T, M) y'', which is y' where there is no post-net
    stop: Tensor  # (B, K) logits
    guide: list[Tensor]  # per guided layer (B, K, S): how head 0 of a step spreads over the text
    reads_text: Tensor | None = None  # (B,) False where ``text_dropout`` left a row without its text; None: all read
