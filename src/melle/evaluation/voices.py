"""Each voice compared with its own prompt and with those of other speakers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from melle.evaluation.judges.base import DIGITS, similarities
from melle.evaluation.protocols import Case

Embeddings = Sequence[Sequence[float]]


def distinct_voices(cases: Sequence[Case]) -> list[Case]:
    """Every voice that is given, once, as a case of its own: several targets may share a prompt."""
    found = {key: case for case in reversed(cases) if (key := case.voice_key) is not None}
    return [case if case.prompt is None else Case(case.prompt, case.prompt) for case in reversed(found.values())]


def compare_voices(
    cases: Sequence[Case], prompts: Sequence[Case], voices: Embeddings, original: Embeddings, vocoded: Embeddings
) -> list[dict[str, float | str]]:
    """Cosines of the voices of A cases with B prompts (of ``distinct_voices``), as recorded and through the vocoder.

    Gives "sim_o" and "sim_r" with the own prompt and, where there are other speakers, "sim_others" (their mean, as
    recorded) and "nearest" (the speaker of the prompt that is most alike).
    """
    index = {prompt.voice_key: number for number, prompt in enumerate(prompts)}
    spoken, *both = (torch.tensor(some, dtype=torch.float64) for some in (voices, original, vocoded))
    recorded, resynthesised = (similarities(spoken, some) for some in both)  # (A, B)
    compared: list[dict[str, float | str]] = []
    for case, like, like_vocoded in zip(cases, recorded.tolist(), resynthesised.tolist()):
        own, speaker = index[case.voice_key], case.target.speaker
        found: dict[str, float | str] = {"sim_o": round(like[own], DIGITS), "sim_r": round(like_vocoded[own], DIGITS)}
        speakers = [prompt.target.speaker for prompt in prompts]
        others = [x for x, other in zip(like, speakers) if None not in (speaker, other) and other != speaker]
        if others:
            # A recording that is the prompt of another case would win by being itself.
            itself = index.get((case.target.audio_path.resolve(), None))
            fair = [number for number in range(len(prompts)) if number != itself]
            nearest = max(fair, key=lambda number: like[number])
            found |= {"sim_others": round(sum(others) / len(others), DIGITS), "nearest": speakers[nearest] or ""}
        compared.append(found)
    return compared
