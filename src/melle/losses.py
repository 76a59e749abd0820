"""The four losses of the paper (§3.3, equations 5 to 8), and guided attention, which is not in the paper.

The scale is the paper's: the mel terms are norms, that is sums over the M bands of a frame, and the weights of
``conf/loss`` are those printed in the paper. Every term is a sum over true frames, padding never enters; a step counts
r frames in the terms that are over steps (stop, guide). Sums add up however frames are cut into batches: training
divides them by a constant (``MelleModule.training_step``), validation by the true frames of all its batches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from melle.model.layout import lengths_to_mask
from melle.model.output import MelleOutput


class LossTerms(NamedTuple):
    """Each a scalar, summed over ``frames``; ``total`` is their weighted sum, equation 5."""

    total: Tensor
    regression: Tensor
    kl: Tensor
    flux: Tensor
    stop: Tensor
    guide: Tensor
    mean_distance: Tensor  # |μ - y|, a mean over bands, only watched: the flux loss pushes it up
    frames: Tensor  # how many


SUMMED_OVER_BANDS = ("regression", "kl", "flux")  # what is comparable between implementations once divided by M


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the places where ``mask`` (B, T) is True of ``values``, (B, T) or (B, T, M)."""
    if values.ndim == 3:
        values = values.sum(dim=2)
    return torch.where(mask, values, 0).sum()


def regression_loss(output: MelleOutput, valid: Tensor) -> Tensor:
    """|y - y'|₁ + |y - y'|₂² + |y - y''|₁ + |y - y''|₂² (eq. 6)."""
    error, refined_error = output.frames - output.target, output.refined - output.target
    return masked_sum(error.abs() + error.square() + refined_error.abs() + refined_error.square(), valid)


def kl_loss(output: MelleOutput, valid: Tensor) -> Tensor:
    """½ (σ² + (μ - y)² - 1 - log σ²): the prior is N(y, I) (eq. 7)."""
    terms = output.log_variance.exp() + (output.mean - output.target).square() - 1 - output.log_variance
    return 0.5 * masked_sum(terms, valid)


def flux_loss(output: MelleOutput, pairs: Tensor) -> Tensor:
    """-|μ_t - y_{t-1}|₁ (eq. 8). ``pairs`` (B, T - 1): True where frames t - 1 and t are of one utterance."""
    return -masked_sum((output.mean[:, 1:] - output.target[:, :-1]).abs(), pairs)


def stop_loss(logits: Tensor, steps: Tensor, positive_weight: float) -> Tensor:
    """Binary cross-entropy over steps, (B, K); the one positive is each row's last, ``steps`` (B,) counting them."""
    count = torch.arange(logits.shape[1], device=logits.device)
    is_last = (count == steps[:, None] - 1).to(logits.dtype)
    weight = torch.full((), positive_weight, device=logits.device, dtype=logits.dtype)
    terms = F.binary_cross_entropy_with_logits(logits, is_last, reduction="none", pos_weight=weight)
    return masked_sum(terms, lengths_to_mask(steps, logits.shape[1]))


def guide_loss(
    weights: Tensor,
    text_segments: Tensor,
    segment_steps: Tensor,
    width: float,
    due: Tensor | None = None,
    diagonal_width: float | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """-log of the attention's mass near the token that is due, (B, K, S) → scalar.

    ``due`` (B, K) says which token of the row a step is due at, by the times of words. Where it is NaN or not given, a
    segment of K_u steps and S_u tokens has its diagonal: step k is due at token (k + ½) S_u / K_u. A token counts by a
    Gaussian of ``width`` tokens around that point, on a diagonal of ``diagonal_width`` (None: the same); tokens of
    other segments do not count. ``rows`` (B,): True where a row counts; None: all.
    """
    segments, steps = segment_steps.shape[1], weights.shape[1]
    ends = segment_steps.cumsum(1)
    step_index = torch.arange(steps, device=weights.device)
    step_segment = (step_index[None, :, None] >= ends[:, None, :]).sum(dim=2)  # (B, K), U in the padding
    valid = step_segment < segments
    if rows is not None:
        valid = valid & rows[:, None]
    own = step_segment.clamp(max=segments - 1)
    tokens = (text_segments[:, :, None] == torch.arange(segments, device=weights.device)).sum(dim=1)  # (B, U)
    first_token, first_step = tokens.cumsum(1) - tokens, ends - segment_steps
    share = (step_index - first_step.gather(1, own) + 0.5) / segment_steps.gather(1, own).clamp(min=1)
    diagonal = first_token.gather(1, own) + share * tokens.gather(1, own)  # (B, K)
    diagonal_width = width if diagonal_width is None else diagonal_width
    widths = torch.full_like(diagonal, diagonal_width)
    if due is not None:
        widths = torch.where(due.isnan(), diagonal_width, width)
        diagonal = torch.where(due.isnan(), diagonal, due)
    token_index = torch.arange(weights.shape[2], device=weights.device) + 0.5
    near = torch.exp(-0.5 * ((token_index - diagonal[:, :, None]) / widths[:, :, None]).square())
    near = near * (text_segments[:, None, :] == own[:, :, None])
    mass = (weights * near).sum(dim=2)
    return masked_sum(-mass.clamp(min=1e-6).log(), valid)


class MelleLoss(nn.Module):
    """L = L_reg + λ L_KL + β L_flux + γ L_stop + guide (eq. 5; the paper has no guide).

    Args:
        kl_weight: λ.  kl_warmup_steps: optimiser steps before which λ is 0: a delay and no ramp, as in the paper.
        flux_weight: β.  stop_weight: γ.  stop_positive_weight: weight of the one positive step.
        guide_weight: weight of guided attention, falling linearly to 0 over ``guide_decay_steps`` (0: it stays).
        guide_width: tokens, the deviation of the guide's Gaussian around the token that is due.
        guide_diagonal_width: the same on a diagonal, where the times of words are not known; None: the same.
    """

    def __init__(
        self,
        kl_weight: float = 0.1,
        kl_warmup_steps: int = 10000,
        flux_weight: float = 0.5,
        stop_weight: float = 1.0,
        stop_positive_weight: float = 100.0,
        guide_weight: float = 0.0,
        guide_decay_steps: int = 0,
        guide_width: float = 1.0,
        guide_diagonal_width: float | None = None,
    ):
        super().__init__()
        self.kl_weight, self.kl_warmup_steps, self.flux_weight = kl_weight, kl_warmup_steps, flux_weight
        self.stop_weight, self.stop_positive_weight = stop_weight, stop_positive_weight
        self.guide_weight, self.guide_decay_steps = guide_weight, guide_decay_steps
        self.guide_width, self.guide_diagonal_width = guide_width, guide_diagonal_width

    def forward(
        self,
        output: MelleOutput,
        mel_lengths: Tensor,
        text_segments: Tensor,
        segment_steps: Tensor,
        reduction_factor: int,
        step: int,
        due: Tensor | None = None,
    ) -> LossTerms:
        """``step`` counts optimiser steps; the other arguments are the batch's, as in ``Melle.forward``."""
        frames = output.target.shape[1]
        valid = lengths_to_mask(mel_lengths, frames)
        # A frame that opens an utterance has no predecessor: the row's earlier utterances end where it begins.
        opens = torch.zeros(len(valid), frames + 1, dtype=torch.bool, device=valid.device)
        starts = (segment_steps.cumsum(1) * reduction_factor).clamp(max=frames)
        opens.scatter_(1, starts, True)
        regression = regression_loss(output, valid)
        kl = kl_loss(output, valid)
        flux = flux_loss(output, valid[:, 1:] & ~opens[:, 1:frames])
        stop = reduction_factor * stop_loss(output.stop, segment_steps.sum(1), self.stop_positive_weight)
        guide = torch.zeros((), device=regression.device)
        if output.guide:
            widths = {"width": self.guide_width, "due": due, "diagonal_width": self.guide_diagonal_width}
            how = {**widths, "rows": output.reads_text}  # a row without its text cannot know where in it it is
            guide = sum(guide_loss(w, text_segments, segment_steps, **how) for w in output.guide)
            guide = reduction_factor * guide / len(output.guide)
        total = (
            regression
            + (self.kl_weight if step >= self.kl_warmup_steps else 0.0) * kl
            + self.flux_weight * flux
            + self.stop_weight * stop
            + self._guide_weight(step) * guide
        )
        distance = masked_sum((output.mean - output.target).abs(), valid) / output.target.shape[2]
        return LossTerms(total, regression, kl, flux, stop, guide, distance.detach(), mel_lengths.sum().float())

    def _guide_weight(self, step: int) -> float:
        if self.guide_decay_steps <= 0:
            return self.guide_weight
        return self.guide_weight * max(0.0, 1 - step / self.guide_decay_steps)
