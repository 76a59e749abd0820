"""The decoding loop: from text and prompt to frames, one step at a time, until each row says stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from melle.data.batch import NO_BOS, join_text, pad_texts
from melle.model import Melle
from melle.model.noise import RowNoise, StepNoise
from melle.synthesis.guards import REASONS, DecodingOptions, Guards
from melle.synthesis.refining import BLOCK, Refiner
from melle.synthesis.stepping import Stepper
from melle.text import Marks


@dataclass(frozen=True)
class Row:
    """What is to be spoken, and within which bounds."""

    segments: list[list[int]]  # tokens of the prompt, where there is one, and of the text
    prompt: Tensor  # (T, M) log10 mel, T a multiple of r, perhaps 0; with one segment the beginning of what it says
    earliest: float  # steps before which a stop is not heeded
    latest: float  # steps at which speech is cut off
    level: float  # log10, how loud speech should be (``audio.speech_level``)
    seed: int
    marks: Marks = NO_BOS  # ids around the text


@dataclass(frozen=True)
class Ending:
    """How a row ended: ``reason`` is "stop", "length", "stuck" or "empty"; ``stop`` (K,) each step's probability."""

    reason: str
    stop: Tensor


@dataclass(frozen=True)
class Piece:
    """The next frames of row number ``row``, (n, M) log10 on the CPU; the last one of a row has its ``ending``."""

    row: int
    mel: Tensor
    ending: Ending | None = None


@torch.inference_mode()
def decode(
    network: Melle, rows: Sequence[Row], options: DecodingOptions, frame_rate: float, fixed: bool | None = None
) -> Iterator[Piece]:
    """Decode rows together, and give their refined frames as soon as they are final.

    Rows of unequal texts and prompts may be mixed. Each row's random numbers are its own. A row that has ended leaves:
    its memory and its share of the work go to none once half of the rows have.

    ``fixed``: make steps of fixed shapes, as compiled blocks want them; None: on a CUDA device, as CUDA graphs.
    """
    r, device = network.reduction_factor, network.bos.device
    text, text_lengths, text_segments = (
        part.to(device) for part in pad_texts([join_text(row.segments, row.marks) for row in rows])
    )
    prompt = pad_sequence([row.prompt for row in rows], batch_first=True).to(device)
    frames = [len(row.prompt) for row in rows]
    prompt_lengths = torch.tensor(frames, device=device)
    earliest, latest = _bounds(network, rows)
    limit = int(latest.max())

    noise = RowNoise([row.seed for row in rows], network.prenet.units, network.group, device)
    refiner = Refiner(network, prompt, prompt_lengths, limit * r)
    level = torch.tensor([row.level for row in rows], device=device)
    guards = Guards(options, earliest.to(device), latest.to(device), level, frame_rate, r)
    stops = torch.empty(len(rows), limit, device=device)

    first = StepNoise(noise.prompt([count // r for count in frames]), noise.next().latent)
    state, made, logits = network.start(
        text, text_lengths, text_segments, prompt, prompt_lengths, limit, options.temperature, first
    )
    step = Stepper(network, state, options.temperature, device.type == "cuda" if fixed is None else fixed)
    places = list(range(len(rows)))  # the number of the row in each place of the batch
    going = set(places)
    done = 0  # frames given away of every row that goes on
    look = _look(device)
    for count in range(1, limit + 1):
        if count > 1:
            made, logits = step(made, noise.next())
        refiner.append(made)
        stops[:, count - 1] = logits.sigmoid()
        guards.watch(count, stops[:, count - 1], refiner.raw(guards.window))
        if count % look and count < limit:
            continue
        steps = guards.steps.tolist()
        for place, row in enumerate(places):
            if row in going and steps[place]:
                going.discard(row)
                at = torch.tensor([place], device=device)
                mel = [refiner.refine(at, start, steps[place] * r)[0] for start in range(done, steps[place] * r, BLOCK)]
                ending = Ending(REASONS[int(guards.reason[place])], stops[place, : steps[place]].cpu())
                yield Piece(row, torch.cat(mel), ending)
        if not going:
            return
        if len(going) <= len(places) // 2:
            kept = torch.tensor([place for place, row in enumerate(places) if row in going], device=device)
            places = [row for row in places if row in going]
            for part in (noise, refiner, guards, step):
                part.select(kept)
            made, stops = made[kept], stops[kept]
        while refiner.ready(done):
            at = torch.tensor([place for place, row in enumerate(places) if row in going], device=device)
            for row, mel in zip((row for row in places if row in going), refiner.refine(at, done)):
                yield Piece(row, mel)
            done += BLOCK


def _look(device: torch.device) -> int:
    """Steps to make before asking which rows have ended: a GPU would wait for each answer."""
    return 8 if device.type == "cuda" else 1


def _bounds(network: Melle, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Steps (B,) before which a row may not stop, and at which it is cut off.

    At least one step; an upper bound of a few steps more keeps very short texts from being cut.
    """
    earliest = torch.tensor([row.earliest for row in rows]).floor().clamp(min=1)
    latest = torch.tensor([row.latest for row in rows]).ceil().clamp(min=4)
    if network.max_positions is not None:
        left = [network.max_positions[1] - len(row.prompt) // network.reduction_factor for row in rows]
        latest = torch.minimum(latest, torch.tensor(left)).clamp(min=1)
    return torch.minimum(earliest, latest).long(), latest.long()
