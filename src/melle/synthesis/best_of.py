"""Best of N: say it several times and keep what is nearest to the prompt's voice, or to the text (paper, table 2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from melle.errors import UserError
from melle.synthesis.options import derive_seed, each
from melle.synthesis.prompt import Prompt, Voice, read_samples
from melle.synthesis.speech import Speech
from melle.synthesis.synthesizer import Synthesizer


class Recogniser(Protocol):
    """As those of ``melle.evaluation``; a transcript has its words as ``text``."""

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterable[Any]: ...

    def normalise(self, text: str) -> str: ...


class SpeakerEncoder(Protocol):
    """As those of ``melle.evaluation``: samples (N,) to a vector of the voice."""

    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor: ...


@dataclass(frozen=True)
class Candidate:
    """One way to say it: ``similarity`` to the prompt's voice (cosine), ``errors`` in words; None: not judged."""

    speech: Speech
    similarity: float | None
    errors: int | None

    @property
    def rank(self) -> tuple[bool, int, float]:
        """The smaller the better: ended by itself, understood, in the right voice."""
        return (self.speech.finish_reason != "stop", self.errors or 0, -(self.similarity or 0.0))


def best_of(
    tts: Synthesizer,
    text: str | Sequence[str],
    prompt: Voice | Sequence[Voice] = None,
    prompt_text: str | Sequence[str | None] | None = None,
    count: int = 5,
    speaker: SpeakerEncoder | None = None,
    asr: Recogniser | None = None,
    seed: int | None = 0,
    **how: Any,
) -> list[Candidate] | list[list[Candidate]]:
    """Say every text ``count`` times, all in one batch, and order what was said, the best first.

    Those that ended by themselves come before others, then those with fewer word errors (where ``asr`` listens), then
    those in a voice more like the prompt's (where ``speaker`` does, and there is a prompt).

    Args:
        count: N; the paper takes 5.
        seed: of the first candidate, which is what a plain call would say; None draws one.
        how: further arguments of the call of ``tts``.

    Returns a list of candidates, or for a list of texts a list of such lists.
    """
    if count < 1:
        raise UserError(f"best of {count}: give 1 or more")
    if speaker is None and asr is None:
        raise ValueError("no judge: give speaker, asr or both")
    texts = [text] if isinstance(text, str) else list(text)
    prompts, transcripts = each("prompt", prompt, len(texts)), each("prompt_text", prompt_text, len(texts))
    if asr is None and any(voice is None for voice in prompts):
        raise UserError("without a prompt there is no voice to compare with: give a prompt, or let an asr choose")
    if not texts:
        return []
    seed = secrets.randbits(32) if seed is None else seed
    numbers = [number for number in range(len(texts)) for _ in range(count)]
    seeds = [derive_seed(seed, "candidate", candidate) for _ in texts for candidate in range(count)]
    speeches = tts(
        [texts[n] for n in numbers], [prompts[n] for n in numbers], [transcripts[n] for n in numbers], seed=seeds, **how
    )
    errors = _count_errors(asr, [texts[n] for n in numbers], speeches)
    ranked = []
    for number, voice in enumerate(prompts):
        span = slice(number * count, (number + 1) * count)
        close = _compare(speaker, voice, speeches[span])
        candidates = [Candidate(*each) for each in zip(speeches[span], close, errors[span])]
        ranked.append(sorted(candidates, key=lambda candidate: candidate.rank))
    return ranked[0] if isinstance(text, str) else ranked


def _count_errors(asr: Recogniser | None, texts: Sequence[str], speeches: Sequence[Speech]) -> list[int | None]:
    if asr is None:
        return [None] * len(speeches)
    heard = asr.transcribe([speech.waveform for speech in speeches], speeches[0].sample_rate)
    return [_word_errors(asr.normalise(text), asr.normalise(said.text)) for text, said in zip(texts, heard)]


def _word_errors(reference: str, hypothesis: str) -> int:
    try:
        import jiwer
    except ImportError:
        raise UserError('word errors need jiwer: python -m pip install -e ".[eval]"') from None
    if not reference:  # which not every release of jiwer takes
        return len(hypothesis.split())
    found = jiwer.process_words(reference, hypothesis)
    return found.substitutions + found.deletions + found.insertions


def _compare(speaker: SpeakerEncoder | None, voice: Voice, speeches: Sequence[Speech]) -> list[float | None]:
    if speaker is None or voice is None:
        return [None] * len(speeches)
    rate = speeches[0].sample_rate
    audio = voice.audio if isinstance(voice, Prompt) else voice
    target = speaker.embed(read_samples(audio, rate), rate)
    return [float(torch.cosine_similarity(speaker.embed(one.waveform, rate), target, dim=0)) for one in speeches]
