"""ECAPA-TDNN (arXiv 2005.07143) over the hidden states of a speech model, in the size that UniSpeech calls small.

Written over the tensors of UniSpeech's file by their names there: nothing is trained here. Missing ones are KeyErrors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DILATIONS = {"layer2": 2, "layer3": 3, "layer4": 4}  # of the three SE-Res2 blocks
Weights = dict[str, Tensor]


def ecapa_tdnn(weights: Weights, states: Tensor) -> Tensor:
    """Hidden states (S, T, F) of one clip, T > 1, to its embedding (E,): their learned mean, normalised per clip."""
    x = torch.einsum("s,stf->ft", weights["feature_weight"].softmax(dim=0), states)[None]
    x = _conv_relu_norm(weights, "layer1", F.instance_norm(x))
    outputs = []
    for block, dilation in DILATIONS.items():
        x = _se_res2_block(weights, block, x, dilation)
        outputs.append(x)
    x = _conv(weights, "conv", torch.cat(outputs, dim=1)).relu()
    return _linear(weights, "linear", _norm(weights, "bn", _attentive_statistics(weights, "pooling", x)))[0]


def _se_res2_block(weights: Weights, name: str, x: Tensor, dilation: int) -> Tensor:
    """Residual block, (1, C, T) to the same: Res2Net's convolution, and a gate per channel from the whole clip."""
    y = _conv_relu_norm(weights, f"{name}.Conv1dReluBn1", x)
    inner = f"{name}.Res2Conv1dReluBn"
    *groups, last = y.split(weights[f"{inner}.convs.0.weight"].shape[1], dim=1)
    done: list[Tensor] = []
    for number, group in enumerate(groups):  # each sees those before it; the last is unchanged
        seen = group + done[-1] if done else group
        seen = _conv(weights, f"{inner}.convs.{number}", seen, dilation).relu()
        done.append(_norm(weights, f"{inner}.bns.{number}", seen))
    y = _conv_relu_norm(weights, f"{name}.Conv1dReluBn2", torch.cat([*done, last], dim=1))
    gate = _linear(weights, f"{name}.SE_Connect.linear1", y.mean(dim=2)).relu()
    return x + y * _linear(weights, f"{name}.SE_Connect.linear2", gate).sigmoid()[:, :, None]


def _attentive_statistics(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Mean and standard deviation over time, weighted per channel by attention: (1, C, T) to (1, 2 C)."""
    scores = _conv(weights, f"{name}.linear2", _conv(weights, f"{name}.linear1", x).tanh())
    shares = scores.softmax(dim=2)
    mean = (shares * x).sum(dim=2)
    variance = (shares * x.square()).sum(dim=2) - mean.square()
    return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=1)


def _conv_relu_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    return _norm(weights, f"{name}.bn", _conv(weights, f"{name}.conv", x).relu())


def _conv(weights: Weights, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    """As many frames come out as go in."""
    kernel = weights[f"{name}.weight"]
    padding = kernel.shape[2] // 2 * dilation
    return F.conv1d(x, kernel, weights[f"{name}.bias"], padding=padding, dilation=dilation)


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Batch normalisation by the statistics of training."""
    of = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *of)
