"""A training step of ours beside one in the reference implementation's manner: same sizes, same dropout, same losses.

In that manner text and mel are padded apart and stand one after the other with their padding between them, which is
attended to (a causal mask alone, by the fused kernel); queries, keys and values come from matrices of their own; batch
norms see padding; rows are drawn at random, whatever their lengths. Both sides take turns in one process.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import timed
from benchmarks.steps import WARMUP, Steps, make_batches, make_step
from melle.data.batch import Batch
from melle.model import Melle, MelleOutput
from melle.model.block import make_activation, make_norm


class ReferenceBlock(nn.Module):
    """A sub-LN block: attention and MLP, each with a norm before its last matrix."""

    def __init__(self, width: int, heads: int, ff_width: int, norm: str, activation: str, mlp: str, dropout: float):
        super().__init__()
        self.heads, self.gated, self.dropout = heads, mlp == "gated", dropout
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.inner, self.attention_norm, self.mlp_norm = (make_norm(norm, width) for _ in range(3))
        if self.gated:
            self.gate = nn.Linear(width, ff_width, bias=False)
        self.up = nn.Linear(width, ff_width, bias=not self.gated)
        self.down = nn.Linear(ff_width, width, bias=not self.gated)
        self.ff_norm, self.activation = make_norm(norm, ff_width), make_activation(activation)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        y = self.attention_norm(x)
        q, k, v = (part(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        if rotary is not None:
            cos, sin = rotary
            q, k = (z * cos + torch.cat((-z.chunk(2, -1)[1], z.chunk(2, -1)[0]), -1) * sin for z in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = self.o(self.inner(y.transpose(1, 2).flatten(2)))
        x = x + F.dropout(y, self.dropout, self.training)
        y = self.mlp_norm(x)
        if self.gated:
            return x + self.down(self.ff_norm(self.activation(self.gate(y)) * self.up(y)))
        y = self.down(self.ff_norm(self.activation(self.up(y))))
        return x + F.dropout(y, self.dropout, self.training)


class ReferenceMelle(nn.Module):
    """The reference's network by the arguments of ``Melle``, of those that it has. The forward pass takes the same."""

    def __init__(self, network: dict[str, Any]):
        super().__init__()
        n = network
        width, bands, self.r = n["width"], n.get("n_mels", 80), n["reduction_factor"]
        group, hidden = self.r * bands, n["prenet_hidden"]
        self.head_width, self.dropout, self.prenet_dropout = width // n["heads"], n["dropout"], n["prenet_dropout"]
        self.text = nn.Embedding(n["vocab_size"], width)
        self.bos = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = n["position"] == "learned"
        if self.positions:
            self.text_position = nn.Embedding(n["max_text"], width)
            self.mel_position = nn.Embedding(n["max_steps"], width)
        self.prenet = nn.ModuleList(nn.Linear(a, b) for a, b in ((group, hidden), (hidden, hidden), (hidden, width)))
        self.prenet_activation = make_activation(n["prenet_activation"])
        kinds = n["norm"], n["activation"], n["mlp"], n["dropout"]
        self.blocks = nn.ModuleList(
            ReferenceBlock(width, n["heads"], n["ff_width"], *kinds) for _ in range(n["layers"])
        )
        self.norm = make_norm(n["norm"], width)
        self.stop, self.latent = nn.Linear(width, 1), nn.Linear(width, 2 * group)
        activation, dropout = n["latent_activation"], n["latent_dropout"]
        sizes = [group, n["latent_hidden"], n["latent_hidden"], group]
        parts: list[nn.Module] = []
        for number, (a, b) in enumerate(pairwise(sizes)):
            parts += [nn.Linear(a, b, bias=False), make_activation(activation), nn.Dropout(dropout)]
            if number == len(sizes) - 2:
                del parts[-2]
        self.perceptron = nn.Sequential(*parts)
        self.postnet = None
        if n["postnet"] == "conv":
            sizes = [bands, *[n["postnet_channels"]] * (n["postnet_layers"] - 1), bands]
            parts = []
            for a, b in pairwise(sizes):
                parts += [nn.Conv1d(a, b, n["postnet_kernel"], padding=n["postnet_kernel"] // 2), nn.BatchNorm1d(b)]
                parts += [make_activation(n["postnet_activation"]), nn.Dropout(n["postnet_dropout"])]
            del parts[-2]
            self.postnet = nn.Sequential(*parts)

    def forward(self, text: Tensor, mel: Tensor, **_: Any) -> MelleOutput:
        rows, frames, _ = mel.shape
        steps = frames // self.r
        read = mel.view(rows, steps, -1)[:, :-1]
        for layer in self.prenet[:-1]:
            read = F.dropout(self.prenet_activation(layer(read)), self.prenet_dropout)
        read = torch.cat((self.bos.to(read).expand(rows, 1, -1), self.prenet[-1](read)), dim=1)
        words = self.text(text)
        if self.positions:
            words = words + self.text_position.weight[: words.shape[1]]
            read = read + self.mel_position.weight[:steps]
        x = F.dropout(torch.cat((words, read.to(words.dtype)), dim=1), self.dropout, self.training)
        rotary = None if self.positions else self._rotary(x)
        for block in self.blocks:
            x = block(x, rotary)
        hidden = self.norm(x[:, words.shape[1] :])
        mean, log_variance = self.latent(hidden).float().chunk(2, dim=-1)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        made = (latent + self.perceptron(latent)).view(mel.shape)
        refined = made if self.postnet is None else made + self.postnet(made.transpose(1, 2)).transpose(1, 2).float()
        mean, log_variance = mean.reshape(mel.shape), log_variance.reshape(mel.shape)
        return MelleOutput(mel, mean, log_variance, made, refined, self.stop(hidden)[..., 0].float(), [])

    def _rotary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = torch.arange(0, self.head_width, 2, device=x.device) / self.head_width
        angles = torch.arange(x.shape[1], device=x.device)[:, None] / 10000.0**half
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class Turns(NamedTuple):
    """Seconds and true frames of the steps of both sides."""

    ours: list[tuple[float, int]]
    theirs: list[tuple[float, int]]

    @property
    def ratio(self) -> float:
        """How many times as many frames in a second ours trains: the median over pairs of steps on the same batch."""
        speeds = ([frames / seconds for seconds, frames in side] for side in self)
        return median(ours / theirs for ours, theirs in zip(*speeds))

    @property
    def speeds(self) -> tuple[float, float]:
        """Frames a second of both sides over all of their steps, as where batches differ some take longer."""
        ours, theirs = (sum(frames for _, frames in side) / sum(seconds for seconds, _ in side) for side in self)
        return ours, theirs


def take_turns(
    ours: Any, theirs: Any, batches: Iterable[tuple[Batch, Batch]], warmup: int, device: torch.device
) -> Turns:
    """Steps of both sides by turns, each on its own batch; the first ``warmup`` pairs are not timed."""
    turns = Turns([], [])
    for number, pair in enumerate(batches):
        both = list(zip((ours, theirs), pair, turns))
        for step, batch, side in reversed(both) if number % 2 else both:
            seconds = timed(partial(step, batch), device)
            if number >= warmup:
                side.append((seconds, batch.true_frames))
    return turns


def bench_against_reference(setup: Steps) -> str:
    """Both sides on equal and on LibriSpeech-like lengths."""
    device = setup.start()
    ours, theirs = (
        make_step(one.train().to(device), setup) for one in (Melle(**setup.arguments), ReferenceMelle(setup.arguments))
    )
    equal, random_mix = make_batches(setup, equal=True), make_batches(setup, mixed=True)
    sorted_mix = make_batches(setup)
    equal, random_mix, sorted_mix = (batches[WARMUP - 1 :] for batches in (equal, random_mix, sorted_mix))
    kinds = {
        "equal lengths, the same batches": (equal, equal),
        "mixed lengths, the same batches": (random_mix, random_mix),
        "mixed lengths, each its own batches": (sorted_mix, random_mix),
    }
    lines = [
        f"Training experiment=reference {' '.join(setup.overrides)} on {device}, precision {setup.precision}, "
        f"batch_frames={setup.batch_frames}, {setup.steps} steps of each side by turns.",
        f"  {'true frames/s':<37}{'ours':>9}{'theirs':>9}{'ratio':>8}",
    ]
    for name, sides in kinds.items():
        turns = take_turns(ours, theirs, zip(*sides), 1, device)
        frames, other = turns.speeds
        ratio = turns.ratio if sides[0] is sides[1] else frames / other
        lines.append(f"  {name:<37}{frames:>9,.0f}{other:>9,.0f}{ratio:>8.2f}")
    return "\n".join(lines)
