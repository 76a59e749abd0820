"""Each voice compared with its own prompt and with those of other speakers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from melle.evaluation.judges import similarities
from melle.evaluation.judges.base import DIGITS
from melle.evaluation.protocols import Case
from melle.evaluation.systems import voice_key

Embeddings = Sequence[Sequence[float]]


class Voices:
    """Which of B prompts were given for A cases."""

    def __init__(self, cases: Sequence[Case], prompts: Sequence[Case]):
        index = {voice_key(prompt): number for number, prompt in enumerate(prompts)}
        numbers = {None: -1}  # of the speakers
        of_cases, of_prompts = (
            torch.tensor([numbers.setdefault(one.target.speaker, len(numbers)) for one in some])
            for some in (cases, prompts)
        )
        self.speakers = [prompt.target.speaker for prompt in prompts]
        self.own = torch.tensor([index[voice_key(case)] for case in cases])  # (A,)
        # (A, B): whether it is another speaker's
        self.others = (of_cases[:, None] != of_prompts) & (of_cases >= 0)[:, None] & (of_prompts >= 0)
        # (A, B): whether it may win: a recording that is the prompt of another case would win by being itself
        self.fair = torch.ones_like(self.others)
        for number, case in enumerate(cases):
            if (itself := index.get((case.target.audio_path.resolve(), None))) is not None:
                self.fair[number, itself] = False

    def compare(
        self, embeddings: Embeddings, original: Embeddings, vocoded: Embeddings
    ) -> list[dict[str, float | str]]:
        """Cosines of A voices with B prompts as recorded and through the vocoder.

        Gives "sim_o" and "sim_r" with the own prompt and, where there are other speakers, "sim_others" (their mean, as
        recorded) and "nearest" (the speaker of the prompt that is most alike).
        """
        said, *prompts = (torch.tensor(some, dtype=torch.float64) for some in (embeddings, original, vocoded))
        alike, resynthesised = (similarities(said, some) for some in prompts)  # (A, B)
        own = [some.gather(1, self.own[:, None])[:, 0].tolist() for some in (alike, resynthesised)]
        count = self.others.sum(1)
        others = (alike * self.others).sum(1) / count.clamp(min=1)
        nearest = alike.masked_fill(~self.fair, -torch.inf).argmax(1)
        compared: list[dict[str, float | str]] = []
        for sim_o, sim_r, there, mean, number in zip(*own, count.tolist(), others.tolist(), nearest.tolist()):
            compared.append({"sim_o": round(sim_o, DIGITS), "sim_r": round(sim_r, DIGITS)})
            if there:
                compared[-1] |= {"sim_others": round(mean, DIGITS), "nearest": self.speakers[number] or ""}
        return compared
