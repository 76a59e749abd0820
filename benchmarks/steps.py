"""Training steps on made-up utterances as long as LibriSpeech's, for the benchmarks that time or try them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import VOCABULARY, Preset
from benchmarks.data import FRAME_RATE, librispeech_like
from melle.data.batch import Batch, Row, collate
from melle.data.batching import FrameBudgetSampler
from melle.errors import UserError
from melle.options import option

PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
WARMUP = 2  # steps that are not timed; the sampler's first two hold the longest rows and the most positions
UTTERANCES = 20_000  # of which the batches are drawn


@dataclass
class Steps(Preset):
    """Training steps of a preset."""

    precision: Literal["32", "bf16", "16"] = option("32", "of the arithmetic")
    batch_frames: int | None = option(None, "positions per batch, padding counted; CPU: 3000, GPU: 50000")
    steps: int | None = option(None, "to time, after two to warm up; CPU: 3, GPU: 20")

    def __post_init__(self) -> None:
        super().__post_init__()
        small = self.device == "cpu"
        self.batch_frames = self.batch_frames or (3000 if small else 50000)
        self.steps = self.steps or (3 if small else 20)
        longest = int(max(sum(lengths) for lengths in zip(*utterances()))) + 1
        if self.batch_frames < longest:
            raise UserError(
                f"--batch-frames {self.batch_frames}: the longest row has {longest} positions; give as many"
            )


def utterances() -> tuple[np.ndarray, np.ndarray]:
    """Frames and tokens of utterances as long as LibriSpeech's, of four characters a token."""
    seconds, characters = librispeech_like(UTTERANCES)
    return np.round(seconds * FRAME_RATE).astype(np.int32) + 1, characters // 4 + 1


def make_batches(setup: Steps, mixed: bool = False, equal: bool = False) -> list[Batch]:
    """Random tokens and mels, in batches of similar lengths; those to warm up first.

    ``mixed``: rows are drawn at random, whatever their lengths.  ``equal``: all utterances are of 10 seconds.
    """
    frames, tokens = utterances()
    if equal:
        frames, tokens = np.full_like(frames, round(10 * FRAME_RATE)), np.full_like(tokens, 37)
    plans: Iterator[list[int]]
    if mixed:
        plans = random_batches(frames, tokens, setup.batch_frames)
    else:
        nobody = np.full(len(frames), -1, np.int32)
        sampler = FrameBudgetSampler(nobody, frames, tokens, setup.batch_frames, 1, 10**6, 0)
        plans = ([row[0] for row in rows] for rows in sampler)
    bands = setup.arguments.get("n_mels", 80)

    def row(number: int) -> Row:
        text = torch.randint(2, VOCABULARY, (int(tokens[number]),)).tolist()
        return Row([text], [torch.randn(int(frames[number]), bands)], ["u"])

    return [
        collate([row(number) for number in plan], setup.r, bands).to(torch.device(setup.device))
        for plan in islice(plans, WARMUP + setup.steps)
    ]


def make_step(network: torch.nn.Module, setup: Steps) -> Callable[[Batch], None]:
    """One optimiser step on a batch: forward, losses, backward, clipping, AdamW."""
    dtype, kind = PRECISIONS[setup.precision], torch.device(setup.device).type
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    scaler = torch.amp.GradScaler(kind, enabled=dtype == torch.float16)
    autocast: Callable = contextlib.nullcontext
    if dtype != torch.float32:
        autocast = lambda: torch.autocast(kind, dtype)  # noqa: E731

    def step(batch: Batch) -> None:
        with autocast():
            output = network(**batch.inputs(), **batch.sizes())
            terms = setup.loss(output, batch.mel_lengths, batch.text_segments, batch.segment_steps, setup.r, 0)
            loss = terms.total / terms.frames
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def random_batches(frames: NDArray, tokens: NDArray, batch_frames: int, seed: int = 0) -> Iterator[list[int]]:
    """Utterances in random order, as many to a batch as its positions allow, padding counted; an epoch."""
    batch, most_frames, most_tokens = [], 0, 0
    for number in np.random.default_rng(seed).permutation(len(frames)).tolist():
        longest = max(most_frames, int(frames[number])) + max(most_tokens, int(tokens[number])) + 1
        if batch and (len(batch) + 1) * longest > batch_frames:
            yield batch
            batch, most_frames, most_tokens = [], 0, 0
        batch.append(number)
        most_frames, most_tokens = max(most_frames, int(frames[number])), max(most_tokens, int(tokens[number]))
    yield batch


def padding(batches: list[Batch], r: int, apart: bool = False) -> float:
    """Share of the positions that hold nothing. ``apart``: text and mel are padded each, else a row as a whole."""
    used = padded = 0
    for batch in batches:
        steps = -(-batch.mel_lengths // r)
        rows = batch.text_lengths + steps
        longest = batch.text_lengths.max() + steps.max() if apart else rows.max()
        used, padded = used + int(rows.sum()), padded + int(longest) * len(rows)
    return 1 - used / padded
