"""The corpus of general English: sentences of a grammar in thousands of synthetic voices, tens of hours in minutes.

Neither the voices of validation and test nor their sentences, which were written by hand, occur in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from melle.corpora.english.grammar import Grammar
from melle.corpora.english.lexicon import held_out
from melle.corpora.spoken import SpokenCorpus
from melle.corpora.voices import Manner
from melle.errors import UserError

SECONDS = 4.0  # of a sentence, on average over the voices


@dataclass
class EnglishCorpus(SpokenCorpus):
    """Sentences of one word to thirty, with numbers and names, at the pace of somebody who reads aloud."""

    NAME = "English"
    VERSION = 2
    # Of 30 sentences held out, in each accent's own voice at 130 words a minute, Whisper base gets 12 % of the words
    # wrong in en-us, 13 % in en-gb-x-rp and 17 % in en-gb, but 20 to 24 % in en-us-nyc, en-gb-x-gbcwmd and
    # en-gb-scotland; at 110 words a minute in en-us as many as at 130, at 150 16 %.
    MANNER = Manner(accents=("en-us", "en-us", "en-gb-x-rp", "en-gb"), rate=(110, 151), word_gap=2)

    folder: str | Path = "data/english"
    hours: float = 60.0
    train_voices: int = 3000
    test_voices: int = 24
    held_out_utterances: int = 21
    sentences: int = 20_000  # different ones in training

    def seconds(self) -> float:
        return SECONDS

    def texts(self, split: str, voices: int, count: int, generator: np.random.Generator) -> Iterable[list[str]]:
        sentences = self.training_sentences() if split == "train" else held_out(split)
        if count > len(sentences):
            raise UserError(
                f"{self.NAME} corpus: {count} utterances of a voice of {split} are more than its {len(sentences)} "
                "sentences; ask for fewer, or for more voices or sentences"
            )
        deal = _deal(sentences, generator)
        return (list(islice(deal, count)) for _ in range(voices))

    def training_sentences(self) -> list[str]:
        """The different sentences of training, none of which is held out."""
        grammar = Grammar(self._generator("train", "sentences"))
        unwanted = {*held_out("validation"), *held_out("test")}
        drawn: dict[str, None] = {}
        while len(drawn) < self.sentences:
            sentence = grammar.sentence()
            if sentence not in unwanted:
                drawn[sentence] = None
        return list(drawn)


def _deal(sentences: Sequence[str], generator: np.random.Generator) -> Iterator[str]:
    """All of them in random order, again and again in others: each comes as often as any other."""
    while True:
        yield from (sentences[index] for index in generator.permutation(len(sentences)))
