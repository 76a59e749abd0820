"""MELLE's network: text and the frames so far in, the next frames out (arXiv 2407.08551, §3.2).

Shapes: B rows, S text tokens (<EOS> included), T frames, M mel bands, r frames a step, K = T / r steps, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from melle.model import layout
from melle.model.arguments import check_arguments
from melle.model.attention import Rotation, rotation
from melle.model.block import Block, choose, initialise, make_norm
from melle.model.cache import DecodingState, KVCache
from melle.model.guidance import NO_GUIDANCE, Guidance, drop_text, guided_prefixes, repeat
from melle.model.heads import LatentOutput, LatentSampler, PostNet, PreNet
from melle.model.noise import StepNoise
from melle.model.old_weights import rename_old_weights
from melle.model.output import MelleOutput
from melle.model.window import TextWindow

TEXT_ATTENTIONS = ("causal", "bidirectional")


class Melle(nn.Module):
    """The decoder-only Transformer of the paper. Knows tensors only: no files, no tokenizer, no trainer.

    Args:
        vocab_size: text ids, padding (0) and <EOS> (1) counted.
        n_mels: mel bands M.
        reduction_factor: frames r that one step reads and predicts (eq. 2).
        width, layers, heads, ff_width: the Transformer's D, blocks N, heads, inner width.
        dropout: on the joined input, after attention and after the MLP.  attention_dropout, mlp_dropout: inside them.
        block: "pre_ln" or "sub_ln" (see ``Block``), with which every matrix and embedding begins with the deviation
            0.02 √(ln 2N) and every bias at 0, as in the reference.  norm: "layer" or "rms".
        activation: "relu", "silu" or "tanh".  mlp: "plain" or "gated".
        position: "learned" (text and mel numbered apart), "rope" (rotary over the joined sequence) or "paced" (rotary,
            where a token stands at the step at which it is due; see ``layout.paced_text_positions``).
        max_text, max_steps: sizes of the learned position tables.  rope_base: base of the rotary frequencies.
        text_attention: "causal" (paper) or "bidirectional" (text tokens see all of the text).
        guided_layers: blocks whose head 0 reports its attention, for the guided-attention loss.
        prenet_*: the pre-net; its dropout stays on unless asked otherwise.  postnet: "conv" or "none", with its sizes.
        text_dropout: probability in training that a row reads no text, for classifier-free ``guidance`` (paper: 0).
        frame_dropout: probability in training that a step reads a learned mask embedding and not its frames (paper: 0).
        latent_*: the sampler; ``latent_sampling=False`` is the paper's ablation.
        mel_mean, mel_std: log10-mel statistics; the network works on (mel - mean) / std. 0 and 1 leave it as it is.
        pace: mean mel steps per text token, for position="paced".
        gradient_checkpointing: in training, keep only what enters a block and compute the block again in the backward
            pass: less memory for about a third more arithmetic. Changes no result.
    """

    def __init__(
        self,
        vocab_size: int,
        n_mels: int = 80,
        reduction_factor: int = 1,
        width: int = 1024,
        layers: int = 12,
        heads: int = 16,
        ff_width: int = 4096,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        mlp_dropout: float = 0.0,
        block: str = "pre_ln",
        norm: str = "layer",
        activation: str = "relu",
        mlp: str = "plain",
        position: str = "learned",
        max_text: int = 1024,
        max_steps: int = 4096,
        rope_base: float = 10000.0,
        text_attention: str = "causal",
        guided_layers: list[int] | tuple[int, ...] = (),
        prenet_hidden: int = 1024,
        prenet_layers: int = 3,
        prenet_activation: str = "relu",
        prenet_dropout: float = 0.5,
        text_dropout: float = 0.0,
        frame_dropout: float = 0.0,
        latent_hidden: int = 1024,
        latent_layers: int = 3,
        latent_activation: str = "relu",
        latent_dropout: float = 0.5,
        latent_bias: bool = False,
        latent_sampling: bool = True,
        postnet: str = "conv",
        postnet_channels: int = 256,
        postnet_layers: int = 5,
        postnet_kernel: int = 5,
        postnet_activation: str = "tanh",
        postnet_dropout: float = 0.5,
        mel_mean: float = 0.0,
        mel_std: float = 1.0,
        pace: float = 1.0,
        gradient_checkpointing: bool = False,
    ):
        dropouts = {name: value for name, value in locals().items() if name.endswith("dropout")}
        super().__init__()
        check_arguments(reduction_factor, width, heads, layers, guided_layers, dropouts)
        self.position = choose("position", position, layout.POSITIONS)
        self.text_attention = choose("text_attention", text_attention, TEXT_ATTENTIONS)
        choose("postnet", postnet, ("conv", "none"))
        self.n_mels, self.reduction_factor, self.rope_base, self.pace = n_mels, reduction_factor, rope_base, pace
        self.mel_mean, self.mel_std = mel_mean, mel_std
        self.head_width, self.guided_layers = width // heads, tuple(guided_layers)
        self.text_dropout, self.frame_dropout = text_dropout, frame_dropout
        self.gradient_checkpointing = gradient_checkpointing

        self.text_embedding = nn.Embedding(vocab_size, width)
        self.text_position = nn.Embedding(max_text, width) if position == "learned" else None
        self.mel_position = nn.Embedding(max_steps, width) if position == "learned" else None
        self.bos = nn.Parameter(torch.randn(width) * 0.02)
        # The mask embedding: what the network reads in the place of a step that ``frame_dropout`` hides.
        self.hidden_step = nn.Parameter(torch.randn(width) * 0.02) if frame_dropout > 0 else None
        self.group = group = reduction_factor * n_mels  # values that one step reads and predicts
        self.prenet = PreNet(group, prenet_hidden, width, prenet_layers, prenet_activation, prenet_dropout)
        self.dropout = nn.Dropout(dropout)
        in_blocks = (dropout, attention_dropout, mlp_dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, ff_width, norm, activation, mlp, block, *in_blocks) for _ in range(layers)
        )
        self.norm = make_norm(norm, width)
        self.stop = nn.Linear(width, 1)
        self.latent = LatentSampler(
            width, group, latent_hidden, latent_layers, latent_activation, latent_dropout, latent_bias, latent_sampling
        )
        sizes = (postnet_channels, postnet_layers, postnet_kernel)
        self.postnet = PostNet(n_mels, *sizes, postnet_activation, postnet_dropout) if postnet == "conv" else None
        for embedding in (self.text_embedding, self.text_position, self.mel_position):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=0.02)
        if block == "sub_ln":
            initialise(self, 0.02 * math.sqrt(math.log(2 * max(layers, 1))))
        self.register_load_state_dict_pre_hook(rename_old_weights)

    @property
    def max_positions(self) -> tuple[int, int] | None:
        """Most text tokens (<EOS> counted) and most mel steps (prompt and new ones together); None for any length."""
        if self.text_position is None or self.mel_position is None:
            return None
        return self.text_position.num_embeddings, self.mel_position.num_embeddings

    def normalise(self, mel: Tensor) -> Tensor:
        """log10 mel to the network's scale."""
        return (mel - self.mel_mean) / self.mel_std

    def denormalise(self, frames: Tensor) -> Tensor:
        """The network's scale to log10 mel."""
        return frames * self.mel_std + self.mel_mean

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
        temperature: float = 1.0,
    ) -> MelleOutput:
        """The teacher-forced pass: every step is predicted from the true frames before it.

        Args:
            text (B, S), text_lengths (B,): token ids with <EOS>, padded.
            text_segments (B, S): which utterance of the row each token belongs to, -1 in the padding.
            mel (B, T, M), mel_lengths (B,): log10 mel; T a multiple of r, lengths in frames.
            segment_steps (B, U): mel steps of each utterance of the row, 0 where a row has fewer.
            longest: positions of the longest row. The row with the longest text is seldom the one with the most steps:
                without this number, which costs a host-device synchronisation to find out, more padding is computed.
            true_frames: the sum of ``mel_lengths``, without which the post-net synchronises in training to find it out.
        """
        rows, frames, _ = mel.shape
        steps = frames // self.reduction_factor
        target, reads_text = self.normalise(mel), None
        if self.training and self.text_dropout > 0:
            text, reads_text = drop_text(text, self.text_dropout)
        read = self.prenet(target.view(rows, steps, self.group)[:, :-1])
        if self.training and self.hidden_step is not None:
            masked = torch.rand(rows, steps - 1, 1, device=mel.device) < self.frame_dropout
            read = torch.where(masked, self.hidden_step.to(read.dtype), read)
        x, rotary, mask = self.join(text, text_lengths, text_segments, read, segment_steps, longest)
        slots = layout.step_slots(text_lengths, steps).clamp(max=x.shape[1] - 1)
        guide = []
        for number, block in enumerate(self.blocks):
            guided = self.training and number in self.guided_layers
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x, weights = checkpoint(block, x, rotary, mask, None, guided, use_reentrant=False)
            else:
                x, weights = block(x, rotary, mask, guide=guided)
            if weights is not None:
                own = slots[:, :, None].expand(-1, -1, weights.shape[2])
                guide.append(weights.gather(1, own)[:, :, : text.shape[1]])
        hidden = self.norm(x.gather(1, slots[:, :, None].expand(-1, -1, x.shape[2])))
        latent = LatentOutput(*(part.reshape(rows, frames, self.n_mels) for part in self.latent(hidden, temperature)))
        refined = self.refine(latent.frames, layout.lengths_to_mask(mel_lengths, frames), true_frames)
        return MelleOutput(target, *latent, refined, self.stop(hidden)[..., 0].float(), guide, reads_text)

    def refine(self, frames: Tensor, valid: Tensor, count: int | None = None) -> Tensor:
        """y' to y'' (B, T, M), by the post-net where there is one.

        ``valid`` (B, T): True where a frame is no padding. ``count``: how many are (see ``PostNet.forward``).
        """
        if self.postnet is None:
            return frames
        return self.postnet(frames, valid, count).float()

    def make_caches(self, rows: int, positions: int) -> list[KVCache]:
        """Empty keys and values for every block, with room for so many positions of each row."""
        size, like = (positions, self.head_width), self.bos
        return [KVCache(rows, block.attention.heads, *size, like.device, like.dtype) for block in self.blocks]

    def prefill(
        self,
        caches: list[KVCache],
        text: Tensor,
        text_lengths: Tensor,
        text_segments: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        temperature: float = 1.0,
        noise: StepNoise | None = None,
        tempo: Tensor | None = None,
        window: float = math.inf,
        guidance: Guidance = NO_GUIDANCE,
    ) -> tuple[DecodingState, Tensor, Tensor]:
        """Read text and prompt; returns the state, the first new frames y' (B, r, M) and their stop logits (B,).

        ``caches`` (see ``make_caches``) are empty, with room for the longest row's text, <BOS> and prompt and for all
        steps to come. ``prompt`` (B, T, M) log10 mel and ``prompt_lengths`` (B,), multiples of r, may be ragged; T may
        be 0. Rows with a prompt have text segments 0 (prompt) and 1; rows without one, or with the beginning of what
        their text says in its place, segment 0 only. Without ``noise`` torch's own generator decides. ``tempo`` (B,):
        how many times as fast as the pace each row is to speak, with paced positions ((G B,): all G rows of a request;
        see ``Guidance``). ``window``: tokens that guided attention may look ahead of the one that is due (see
        ``TextWindow``). ``guidance``: caches need room for all its rows.
        """
        rows, frames, _ = prompt.shape
        if frames % self.reduction_factor or (prompt_lengths % self.reduction_factor).any():
            raise ValueError(f"prompt lengths must be multiples of reduction_factor={self.reduction_factor}")
        steps = prompt_lengths // self.reduction_factor
        given = self.normalise(prompt).reshape(rows, frames // self.reduction_factor, self.group).to(self.bos.dtype)
        read = self.prenet(given, None if noise is None else noise.keep)
        due = TextWindow.begin(text_lengths, text_segments, window) if self.guided_layers else None
        begun = (text_segments.amax(dim=1) == 0) & (steps > 0)  # whose text has begun: attention knows how far
        text, text_lengths, text_segments, steps = guided_prefixes(text, text_lengths, text_segments, steps, guidance)
        read, each = repeat(read, guidance.rows), guidance.rows
        segment_steps = torch.stack((steps, torch.zeros_like(steps)), dim=1)
        prefix = text_lengths + 1 + steps
        size = int(prefix.max())
        x, rotary, mask = self.join(text, text_lengths, text_segments, read, segment_steps, size, tempo)
        looks, end, asked = [], (prefix - 1)[:, None, None], due is not None and bool(begun.any())
        for number, (block, cache) in enumerate(zip(self.blocks, caches)):
            # ``Module.compile`` replaces calls of the block; ``forward`` bypasses it, as the cache changes its shape.
            x, weights = block.forward(x, rotary, mask, cache, asked and number in self.guided_layers)
            if weights is not None:
                looks.append(weights.gather(1, end.expand(-1, 1, weights.shape[2]))[::each, 0])
        if asked:
            due.advance(looks, 0.0, begun)
        last = x.gather(1, end.expand(-1, 1, x.shape[2]))
        state = DecodingState(prefix, size, steps, bool((prefix == size).all()), None, due, guidance)
        return state, *self.predict(last, temperature, noise, guidance)

    def step(
        self,
        caches: list[KVCache],
        state: DecodingState,
        frames: Tensor,
        temperature: float = 1.0,
        noise: StepNoise | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read the last frames (B, r, M) in the network's scale; returns the next ones and their stop logits (B,)."""
        place, first = state.place, state.prefix_size  # slots of this step and of the first new one
        first = first if isinstance(first, int) else first[:, 0]
        done = (caches[0].length if place is None else place) - first  # steps
        number = state.steps + 1 + done  # this step's index in the row, <BOS> being 0
        x = self.prenet(frames.flatten(1)[:, None].to(self.bos.dtype), None if noise is None else noise.keep)
        x = repeat(x, state.guidance.rows)
        if self.mel_position is not None:
            # A row that has ended stays in the batch, beyond the last position too; what it says is not heard.
            x = x + self.mel_position(number.clamp(max=self.mel_position.num_embeddings - 1)[:, None])
        text_lengths = state.prefix - 1 - state.steps
        at = number if self.position == "paced" else text_lengths + number
        rotary = self._rotation(at[:, None])
        count = caches[0].capacity if place is not None else state.prefix_size + done + 1
        mask, window, looks = state.mask(count), state.window, []
        near = None if window is None else window.mask(mask, self.blocks[0].attention.heads, count, state.guidance)
        if place is not None:  # as what is added to scores, which every layer would else make of it on a GPU
            mask = torch.where(mask, 0.0, -torch.inf).to(x.dtype)
        for number, (block, cache) in enumerate(zip(self.blocks, caches)):
            guided = window is not None and number in self.guided_layers
            # Compiled only where the cache keeps its shape; where it grows with every step, ``forward`` bypasses that.
            run = block.forward if place is None else block
            x, weights = run(x, rotary, near if guided else mask, cache, guided)
            if weights is not None:
                looks.append(weights[:: state.guidance.rows, 0])
        if window is not None:
            window.advance(looks)
        if place is not None:
            place += 1
        return self.predict(x, temperature, noise, state.guidance)

    def predict(
        self, x: Tensor, temperature: float, noise: StepNoise | None, guidance: Guidance = NO_GUIDANCE
    ) -> tuple[Tensor, Tensor]:
        """From what the blocks make of one position (G B, 1, D): frames (B, r, M) and stop logits (B,)."""
        hidden = self.norm(x).to(self.stop.weight.dtype)
        latent = self.latent(hidden, temperature, None if noise is None else noise.latent, guidance)
        frames = latent.frames.reshape(-1, self.reduction_factor, self.n_mels)
        return frames, self.stop(hidden[:: guidance.rows])[:, 0, 0].float()

    def join(
        self,
        text: Tensor,
        text_lengths: Tensor,
        text_segments: Tensor,
        read: Tensor,
        segment_steps: Tensor,
        longest: int | None = None,
        tempo: Tensor | None = None,
    ) -> tuple[Tensor, Rotation | None, Tensor | None]:
        """Embed and join text, <BOS> and the steps read so far (B, K, D): the blocks' input, rotation and mask."""
        rows, steps = read.shape[0], read.shape[1] + 1
        words = self.text_embedding(text)
        read = torch.cat((self.bos.to(read.dtype).expand(rows, 1, -1), read), dim=1)
        if self.text_position is not None and self.mel_position is not None:
            for name, size, table in (("text", text.shape[1], self.text_position), ("mel", steps, self.mel_position)):
                if size > table.num_embeddings:
                    raise ValueError(f"{size} {name} positions, but the model has learned {table.num_embeddings}")
            words = words + self.text_position.weight[: text.shape[1]]
            read = read + self.mel_position.weight[:steps]
        index = layout.join_index(text_lengths, text.shape[1], steps)[:, :longest]
        both = torch.cat((words, read.to(words.dtype)), dim=1)
        x = self.dropout(both.gather(1, index[:, :, None].expand(-1, -1, both.shape[2])))
        if self.position == "paced":
            due = layout.paced_text_positions(text_segments, segment_steps.float(), self.pace, tempo)
            count = torch.arange(steps, device=text.device, dtype=due.dtype).expand(rows, -1)
            positions = torch.cat((due, count), dim=1).gather(1, index)
        else:
            positions = torch.arange(index.shape[1], device=text.device).expand(rows, -1)
        mask = layout.joined_mask(text_lengths, index.shape[1]) if self.text_attention == "bidirectional" else None
        return x, self._rotation(positions), mask

    def _rotation(self, positions: Tensor) -> Rotation | None:
        return None if self.position == "learned" else rotation(positions, self.head_width, self.rope_base)
