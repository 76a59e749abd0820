"""What decoding is asked for: one text that fits the model, in one voice, within bounds of length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from melle.audio import speech_level
from melle.checkpoint import ModelDescription
from melle.data.batch import NO_BOS, join_text, pad_texts
from melle.data.silence import speech_frames
from melle.errors import UserError
from melle.model import Melle
from melle.model.noise import kept
from melle.model.whole_rows import WholeRows
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import SLACK, Prompt, steps_of_pause, with_pause
from melle.text import Marks, marks_of


@dataclass(frozen=True, eq=False)
class Request:
    """A row of a batch. Steps are mel steps of r frames."""

    text: str
    tokens: list[int]  # of the text
    prompt: Prompt | None  # that was read; without tokens it is the beginning of what the text says
    seed: int
    min_steps: float  # before which a stop is ignored
    max_steps: float  # at which speech is cut off
    level: float  # log10, how loud speech should be (``audio.speech_level``)
    marks: Marks = NO_BOS  # ids around the text
    pace: float = 1.0  # at which it is to be spoken, as a multiple of the prompt's
    prenet_dropout: float | None = None  # while it is spoken; None: that of the network's training

    @property
    def segments(self) -> list[list[int]]:
        """Tokens of the prompt, where it has some, and of the text."""
        return [self.prompt.tokens, self.tokens] if self.prompt is not None and self.prompt.tokens else [self.tokens]

    @property
    def tempo(self) -> float:
        """Of paced positions, which go by all that is read before: a pause is no part of the prompt's pace."""
        if self.prompt is None:
            return self.pace
        return self.pace * len(self.prompt.mel) / (len(self.prompt.mel) - self.prompt.pause)


def prenet_dropout(network: Melle, request: Request) -> float:
    """How much of the pre-net is dropped while a request is spoken."""
    return network.prenet.dropout if request.prenet_dropout is None else request.prenet_dropout


def make_request(
    text: str,
    tokens: list[int],
    prompt: Prompt | None,
    seed: int,
    options: DecodingOptions,
    model: ModelDescription,
    network: Melle,
    leads: bool = False,
) -> Request:
    """With the length that is expected of it: at the pace of the prompt's speech, within what the training data had.

    ``leads``: it becomes the prompt of what follows, for which it leaves room.

    Raises UserError for a text or a prompt longer than the model's positions.
    """
    r = network.reduction_factor
    shortest, longest = model.length_range
    frames_per_token, level = model.frames_per_token, model.speech_level or 0.0
    pause = steps_of_pause(options.prompt_pause or 0.0, model.mel, r)
    prompt_steps = given = 0  # mel steps of the prompt; and of those what the text says
    if prompt is not None:
        prompt_steps, level = len(prompt.mel) // r, speech_level(prompt.mel)
        if prompt.tokens:
            # A prompt with long silences, or with a wrong text, has a pace that nobody speaks at.
            fastest, slowest = (frames_per_token * share for share in model.paces)
            own = speech_frames(prompt.mel, model.mel) / len(prompt.tokens)
            frames_per_token = min(max(own, fastest), slowest)
            prompt, prompt_steps = with_pause(prompt, pause * r, model.mel), prompt_steps + pause
        else:
            given = prompt_steps
    marks = marks_of(model.tokenizer)
    before = marks.count + (len(prompt.tokens) if prompt is not None else 0)
    check_positions(before + len(tokens), prompt_steps, network)
    expected = len(tokens) * frames_per_token / r
    asked = 1.0 if options.pace is None else options.pace  # which a model follows all the way, part of it, or not
    least = shortest / SLACK if options.min_length is None else options.min_length
    most = longest * SLACK if options.max_length is None else options.max_length
    last = expected * most / min(asked, 1) - given
    if leads and network.max_positions is not None:
        last = min(last, (network.max_positions[1] - pause) // 2)
    first = expected * least / max(asked, 1) - given
    return Request(text, tokens, prompt, seed, first, last, level, marks, asked, options.prenet_dropout)


def check_positions(tokens: int, prompt_steps: int, network: Melle) -> None:
    """UserError where text and prompt, marks counted, have more than the model's learned positions."""
    if network.max_positions is None:
        return
    most_tokens, most_steps = network.max_positions
    if tokens > most_tokens:
        raise UserError(f"text and prompt text have {tokens} tokens, the model takes {most_tokens}; shorten the prompt")
    if prompt_steps >= most_steps:
        raise UserError(f"the prompt has {prompt_steps} mel steps, the model takes {most_steps - 1}; shorten it")


def teacher_forced(network: Melle, request: Request, mel: Tensor) -> WholeRows:
    """One row: the request's prompt and, as what was spoken for it, ``mel`` (T, M) log10.

    As much of the pre-net is dropped as while it is spoken, by its seed.
    """
    parts = [mel] if request.prompt is None else [request.prompt.mel, mel]
    steps = [len(part) // network.reduction_factor for part in parts]
    generator = torch.Generator().manual_seed(request.seed)
    uniform = torch.rand(1, sum(steps) - 1, network.prenet.units, generator=generator)
    row = WholeRows(
        *pad_texts([join_text(request.segments, request.marks)]),
        torch.cat(parts)[None],
        torch.tensor([steps]),
        kept(uniform, prenet_dropout(network, request)),
        torch.tensor([request.tempo]),
    )
    return WholeRows(*(part.to(network.bos.device) for part in row))
