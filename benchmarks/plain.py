"""The network as it is usually written first, to compare with: same sizes, same weights, same losses, other manners.

Text and mel are padded apart and stand one after the other with their padding between them; a dense mask of floats is
added to the attention's scores, whose softmax is computed in full; queries, keys and values come from matrices of their
own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from melle.model import Melle, MelleOutput
from melle.model.attention import Rotation, SelfAttention, rotate
from melle.model.guidance import drop_text
from melle.model.heads import PostNet
from melle.model.layout import lengths_to_mask, paced_text_positions


class PlainAttention(nn.Module):
    """Attention over (B, L, D) by the weights of ``attention``; returns its weights (B, H, L, L) too."""

    def __init__(self, attention: SelfAttention):
        super().__init__()
        self.heads, self.dropout = attention.heads, nn.Dropout(attention.dropout)
        self.q, self.k, self.v = (self._linear(*part) for part in zip(*self._thirds(attention.qkv)))
        self.norm, self.out = attention.norm, attention.out

    @staticmethod
    def _thirds(qkv: nn.Linear) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return qkv.weight.detach().chunk(3), qkv.bias.detach().chunk(3)

    @staticmethod
    def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
        linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
        linear.weight.data, linear.bias.data = weight.clone(), bias.clone()
        return linear

    def forward(self, x: Tensor, rotation: Rotation | None, mask: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 + mask
        weights = scores.softmax(dim=-1)
        mixed = self.dropout(weights).to(v.dtype) @ v
        return self.out(self.norm(mixed.transpose(1, 2).flatten(2))), weights


class PlainMelle(nn.Module):
    """A network of the same function as ``network``, of which it takes the weights. Its forward pass takes the same."""

    def __init__(self, network: Melle):
        super().__init__()
        for block in network.blocks:
            block.attention = PlainAttention(block.attention)
        self.network = network

    def forward(
        self,
        text: Tensor,
        text_lengths: Tensor,
        text_segments: Tensor,
        mel: Tensor,
        mel_lengths: Tensor,
        segment_steps: Tensor,
        longest: int | None = None,
        true_frames: int | None = None,
    ) -> MelleOutput:
        net = self.network
        rows, frames, _ = mel.shape
        tokens, steps = text.shape[1], frames // net.reduction_factor
        target, reads_text = net.normalise(mel), None
        if self.training and net.text_dropout > 0:
            text, reads_text = drop_text(text, net.text_dropout)
        words = net.text_embedding(text)
        read = net.prenet(target.view(rows, steps, net.group)[:, :-1])
        if self.training and net.hidden_step is not None:
            hide = torch.rand(rows, steps - 1, 1, device=mel.device) < net.frame_dropout
            read = torch.where(hide, net.hidden_step.to(read.dtype), read)
        read = torch.cat((net.bos.expand(rows, 1, -1).to(read.dtype), read), dim=1)
        if net.text_position is not None:
            words = words + net.text_position.weight[:tokens]
            read = read + net.mel_position.weight[:steps]
        x = torch.cat((words, read), dim=1)
        rotation = self._rotation(text_segments, segment_steps, tokens, steps)
        mask = self._mask(text_lengths, mel_lengths, tokens, steps)
        guide = []
        for number, block in enumerate(net.blocks):
            attended, weights = block.attention(block.attention_norm(x), rotation, mask)
            x = x + block.attention_out(attended)
            x = x + block.mlp_out(block.mlp(block.mlp_norm(x)))
            if self.training and number in net.guided_layers:
                guide.append(weights[:, 0, tokens:, :tokens].float())
        hidden = net.norm(x[:, tokens:])
        mean, log_variance, out = (part.reshape(rows, frames, net.n_mels) for part in net.latent(hidden))
        refined = out if net.postnet is None else refine(net.postnet, out).float()
        stop = net.stop(hidden)[..., 0].float()
        return MelleOutput(target, mean, log_variance, out, refined, stop, guide, reads_text)

    def _rotation(self, text_segments: Tensor, segment_steps: Tensor, tokens: int, steps: int) -> Rotation | None:
        rows, device = len(text_segments), text_segments.device
        if self.network.position == "paced":
            due = paced_text_positions(text_segments, segment_steps.float(), self.network.pace)
            positions = torch.cat((due, torch.arange(steps, device=device, dtype=due.dtype).expand(rows, -1)), dim=1)
        else:
            positions = torch.arange(tokens + steps, device=device).expand(rows, -1)
        return self.network._rotation(positions)

    def _mask(self, text_lengths: Tensor, mel_lengths: Tensor, tokens: int, steps: int) -> Tensor:
        """(B, 1, L, L), to be added to scores: 0 where a query may look, the lowest number elsewhere."""
        own = -(-mel_lengths // self.network.reduction_factor)
        real = torch.cat((lengths_to_mask(text_lengths, tokens), lengths_to_mask(own, steps)), dim=1)
        seen = torch.ones(tokens + steps, tokens + steps, dtype=torch.bool, device=real.device).tril()
        if self.network.text_attention == "bidirectional":
            seen[:tokens, :tokens] = True
        seen = seen & real[:, None, None]
        return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, torch.finfo(torch.float32).min)


def refine(postnet: PostNet, frames: Tensor) -> Tensor:
    """y' + convolutions(y') over padding and all."""
    x, last = frames.transpose(1, 2), len(postnet.norms) - 1
    for index, (convolution, norm) in enumerate(zip(postnet.convolutions, postnet.norms)):
        x = norm(convolution(x))
        x = postnet.dropout(postnet.activation(x) if index < last else x)
    return frames + x.transpose(1, 2)
