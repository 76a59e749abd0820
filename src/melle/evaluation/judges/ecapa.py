"""ECAPA-TDNN (arXiv 2005.07143) over the hidden states of a speech model, in the size that UniSpeech calls small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (2, 3, 4)  # of the three SE-Res2 blocks


class Conv1dReluBn(nn.Module):
    """Convolution, ReLU, batch normalisation: (B, inputs, T) to (B, outputs, T)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=kernel // 2 * dilation)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x).relu())


class Res2Conv(nn.Module):
    """Res2Net's convolution: ``scale`` groups of channels, each sees those before it; the last is unchanged."""

    def __init__(self, channels: int, scale: int, dilation: int):
        super().__init__()
        self.width = channels // scale
        self.convs = nn.ModuleList(
            nn.Conv1d(self.width, self.width, 3, dilation=dilation, padding=dilation) for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(self.width) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        *groups, last = x.split(self.width, dim=1)
        done: list[Tensor] = []
        for group, conv, norm in zip(groups, self.convs, self.bns):
            done.append(norm(conv(group + done[-1] if done else group).relu()))
        return torch.cat([*done, last], dim=1)


class SqueezeExcitation(nn.Module):
    """Scales every channel by a gate computed from the whole clip."""

    def __init__(self, channels: int, bottleneck: int):
        super().__init__()
        self.linear1 = nn.Linear(channels, bottleneck)
        self.linear2 = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.linear2(self.linear1(x.mean(dim=2)).relu()).sigmoid()
        return x * gate[:, :, None]


class SeRes2Block(nn.Module):
    """Residual block of ECAPA-TDNN, (B, channels, T) to the same; its parts have the names of UniSpeech's file."""

    def __init__(self, channels: int, scale: int, bottleneck: int, dilation: int):
        super().__init__()
        self.Conv1dReluBn1 = Conv1dReluBn(channels, channels)
        self.Res2Conv1dReluBn = Res2Conv(channels, scale, dilation)
        self.Conv1dReluBn2 = Conv1dReluBn(channels, channels)
        self.SE_Connect = SqueezeExcitation(channels, bottleneck)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.SE_Connect(self.Conv1dReluBn2(self.Res2Conv1dReluBn(self.Conv1dReluBn1(x))))


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time, weighted per channel by attention: (B, C, T) to (B, 2 C)."""

    def __init__(self, channels: int, attention: int):
        super().__init__()
        self.linear1 = nn.Conv1d(channels, attention, 1)
        self.linear2 = nn.Conv1d(attention, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.linear2(self.linear1(x).tanh()).softmax(dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * x.square()).sum(dim=2) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=1)


class EcapaTdnn(nn.Module):
    """The hidden states (S, T, F) of one clip to its embedding (E,): their learned mean, normalised per clip, T > 1."""

    def __init__(
        self,
        states: int,
        features: int,
        channels: int,
        scale: int,
        bottleneck: int,
        pooled: int,
        attention: int,
        size: int,
    ):
        super().__init__()
        self.feature_weight = nn.Parameter(torch.zeros(states))
        self.layer1 = Conv1dReluBn(features, channels, kernel=5)
        self.layer2, self.layer3, self.layer4 = (
            SeRes2Block(channels, scale, bottleneck, dilation) for dilation in DILATIONS
        )
        self.conv = nn.Conv1d(len(DILATIONS) * channels, pooled, 1)
        self.pooling = AttentiveStatistics(pooled, attention)
        self.bn = nn.BatchNorm1d(2 * pooled)
        self.linear = nn.Linear(2 * pooled, size)

    @classmethod
    def like(cls, weights: dict[str, Tensor]) -> EcapaTdnn:
        """A network of the sizes of a state dict. Raises KeyError where that lacks a name."""
        return cls(
            states=len(weights["feature_weight"]),
            features=weights["layer1.conv.weight"].shape[1],
            channels=weights["layer1.conv.weight"].shape[0],
            scale=weights["layer2.Conv1dReluBn1.conv.weight"].shape[0]
            // weights["layer2.Res2Conv1dReluBn.convs.0.weight"].shape[0],
            bottleneck=weights["layer2.SE_Connect.linear1.weight"].shape[0],
            pooled=weights["conv.weight"].shape[0],
            attention=weights["pooling.linear1.weight"].shape[0],
            size=weights["linear.weight"].shape[0],
        )

    def forward(self, states: Tensor) -> Tensor:
        x = torch.einsum("s,stf->ft", self.feature_weight.softmax(dim=0), states)[None]
        x = self.layer1(F.instance_norm(x))
        outputs = []
        for block in (self.layer2, self.layer3, self.layer4):
            x = block(x)
            outputs.append(x)
        x = self.conv(torch.cat(outputs, dim=1)).relu()
        return self.linear(self.bn(self.pooling(x)))[0]
