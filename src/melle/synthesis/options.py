"""How to decode, and seeds of what is said; without torch, so that the command line knows it at once."""

from __future__ import annotations

import math
import operator
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from melle.errors import UserError
from melle.options import option

SPEEDS = (0.5, 2.0)
MAX_GAP = 10.0  # seconds
MAX_PAUSE = 2.0  # seconds
MAX_GUIDANCE = 10.0  # beyond which nothing but noise is heard
# Of models that do not say how they speak best.
USUAL = {
    "temperature": 1.0,
    "attention_window": math.inf,
    "guidance_scale": 1.0,
    "prompt_guidance": 0.0,
    "prompt_correction": 0.0,
    "pace": 1.0,
    "prompt_pause": 0.0,
}
MIN_PROMPT, MAX_PROMPT = 0.1, 60.0  # seconds
BEST_PROMPT = "3 to 10 seconds"
USUAL_PROMPT = 30.0  # seconds: the longest utterance that training takes, where the model does not say


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode, and when not to go on. Raises UserError for values out of range."""

    temperature: float | None = option(
        None, "scale of the latent's deviation σ; 0 takes the mean; default: what the model was exported with, else 1"
    )
    attention_window: float | None = option(
        None,
        "tokens that guided attention may look ahead of the one that is due, and half as many back, so that fewer "
        "words are skipped or said twice; inf: anywhere; default: what the model was exported with, else inf",
    )
    guidance_scale: float | None = option(
        None,
        "of classifier-free guidance: what text and prompt change in each prediction is multiplied by it, which takes "
        "a second pass without them; 1: none; for models trained with text_dropout; default: what the model was "
        "exported with, else 1",
    )
    prompt_guidance: float | None = option(
        None,
        "what the prompt alone changes in each prediction, multiplied by this, is added, which takes another pass, "
        "without it: nearer to the prompt's voice, with some more words wrong; 0: none; default: what the model was "
        "exported with, else 0",
    )
    prompt_correction: float | None = option(
        None,
        "share, 0 to 1, of what predictions of the prompt lack that is added to like frames that it speaks: "
        "more of the prompt's voice, and of its noise; 0: none; default: what the model was exported with, else 0",
    )
    pace: float | None = option(
        None,
        f"how many times as fast as the voice a model is asked to speak, {SPEEDS[0]:g} to {SPEEDS[1]:g}, less than 1 "
        "slower; it follows as far as it has learned to; fast voices can read better at 0.85; for models with "
        "paced positions; default: what the model was exported with, else 1",
    )
    prompt_pause: float | None = option(
        None,
        f"seconds of silence, 0 to {MAX_PAUSE:g}, that the model reads between the prompt and what it says, so that it "
        "begins as clearly as it goes on; default: what the model was exported with, else 0",
    )
    prenet_dropout: float | None = option(
        None,
        "of the pre-net while speaking, from 0 to below 1; with less than in training a voice can be nearer to the "
        "prompt's and clearer; default: what the model was exported with, else that of its training, as in the paper",
    )
    stop_threshold: float = option(0.5, "probability at which speech ends")
    min_length: float | None = option(
        None,
        "before this multiple of the length expected at the prompt's pace (without a prompt: the training data's) a "
        "stop is ignored; default: what the training data had, less a fifth",
    )
    max_length: float | None = option(
        None, "at this multiple of it speech is cut off; default: what the training data had, and a quarter more"
    )
    max_silence: float = option(1.5, "seconds of silence that end speech; inf: never")
    max_still: float = option(1.0, "seconds of one unchanging sound that end it; inf: never")

    speed: float = option(
        1.0,
        f"how many times as fast as the model speaks, {SPEEDS[0]:g} to {SPEEDS[1]:g}, at the same pitch: its frames "
        "are stretched",
    )
    sentence_gap: float | None = option(
        None,
        "seconds of silence between sentences, which are then spoken one by one; default: what the model makes of it",
    )

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not isinstance(value, Real):
                raise UserError(f"{name}={value} must be a number, or inf")
        if self.temperature is not None and not 0 <= self.temperature < math.inf:
            raise UserError(f"temperature={self.temperature} must be a number from 0 on")
        if self.attention_window is not None and not self.attention_window >= 1:
            raise UserError(f"attention_window={self.attention_window} must be 1 token or more; inf: anywhere")
        if self.guidance_scale is not None and not 1 <= self.guidance_scale <= MAX_GUIDANCE:
            raise UserError(
                f"guidance_scale={self.guidance_scale} must be a number from 1 to {MAX_GUIDANCE:g}; 1: none"
            )
        if self.prompt_guidance is not None and not 0 <= self.prompt_guidance <= MAX_GUIDANCE:
            raise UserError(
                f"prompt_guidance={self.prompt_guidance} must be a number from 0 to {MAX_GUIDANCE:g}; 0: none"
            )
        if self.prompt_correction is not None and not 0 <= self.prompt_correction <= 1:
            raise UserError(f"prompt_correction={self.prompt_correction} must be a share from 0 to 1; 0: none")
        if not 0 < self.stop_threshold <= 1:
            raise UserError(f"stop_threshold={self.stop_threshold} must be above 0 and at most 1")
        for name in ("pace", "speed"):
            value = getattr(self, name)
            if value is not None and not SPEEDS[0] <= value <= SPEEDS[1]:
                raise UserError(f"{name}={value} must be between {SPEEDS[0]:g} and {SPEEDS[1]:g}")
        if self.prompt_pause is not None and not 0 <= self.prompt_pause <= MAX_PAUSE:
            raise UserError(f"prompt_pause={self.prompt_pause} must be between 0 and {MAX_PAUSE:g} seconds")
        if self.prenet_dropout is not None and not 0 <= self.prenet_dropout < 1:
            raise UserError(f"prenet_dropout={self.prenet_dropout} must be from 0 to below 1")
        if self.sentence_gap is not None and not 0 <= self.sentence_gap <= MAX_GAP:
            raise UserError(f"sentence_gap={self.sentence_gap} must be between 0 and {MAX_GAP:g} seconds")
        for name in ("max_silence", "max_still"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}={getattr(self, name)} must be above 0 seconds; inf turns the limit off")
        if self.min_length is not None and not 0 <= self.min_length < math.inf:
            raise UserError(f"min_length={self.min_length} must be a number from 0 on")
        if self.max_length is not None and not (self.min_length or 0) < self.max_length < math.inf:
            least = "0" if self.min_length is None else f"min_length={self.min_length}"
            raise UserError(f"max_length={self.max_length} must be a number above {least}")

    def with_defaults(self, model: Mapping[str, float] | None = None) -> DecodingOptions:
        """With a value for what is not given: the model's own (``ModelDescription.decoding``), else the usual one.

        ``prenet_dropout`` may stay None, which is that of the network's training.
        """
        values = {**USUAL, **(model or {})}
        return replace(self, **{name: value for name, value in values.items() if getattr(self, name) is None})


def derive_seed(seed: int, what: str, number: int) -> int:
    """The seed of part, attempt or candidate ``number``; of number 0 it is ``seed`` itself."""
    return seed if number == 0 else zlib.crc32(f"{seed} {what} {number}".encode())


def make_seeds(seed: int | Sequence[int] | None, count: int) -> list[int]:
    """One for each of ``count`` texts; None draws them."""
    seeds = [secrets.randbits(32) if seed is None else operator.index(seed) for seed in each("seed", seed, count)]
    for seed in seeds:
        check_seed(seed)
    return seeds


def check_seed(seed: int) -> None:
    """Raises UserError for a seed that torch's generators cannot take."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise UserError(f"seed={seed} must be 0 or more and below 2^63")


def each(name: str, value: Any, count: int) -> list[Any]:
    """One value for every text, or as many values as texts."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{count} texts, but {len(value)} values of {name}")
    return list(value)
