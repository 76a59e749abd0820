"""Forced alignment: when each word of a transcript is said, by a CTC recogniser of letters.

The recogniser gives every frame a distribution over its letters; among all ways of passing through the transcript's the
most probable is the alignment (torchaudio's ``forced_align``). How probable its letters are says whether the transcript
fits the recording at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchaudio
from torch import Tensor

from melle.errors import DataError, UserError, reason
from melle.hub import is_hub_name, locate
from melle.text.normalise import written_words

MAX_SECONDS = 120.0  # of a recording: the recogniser's memory grows with its square
STAR = -1  # stands for something said that the recogniser has no letters for, such as "21"


@dataclass(frozen=True)
class Alignment:
    """Begin and end of every word in seconds, and the mean probability of each one's letters, 0 to 1."""

    words: tuple[tuple[float, float], ...]
    scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """Of the transcript, words counted alike."""
        return sum(self.scores) / len(self.scores)


class CtcAligner:
    """Aligns with a CTC recogniser of transformers: a local folder of weights and processor, or an hf:// name."""

    def __init__(self, model: str, device: str | torch.device = "cpu"):
        try:
            from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer
        except ImportError:
            raise UserError('alignment needs transformers: python -m pip install -e ".[align]"') from None
        where, revision = locate(model, "--model")
        options = {"revision": revision or "main", "local_files_only": not is_hub_name(model)}
        try:
            self.model, found = AutoModelForCTC.from_pretrained(where, output_loading_info=True, **options)
            self._extractor = AutoFeatureExtractor.from_pretrained(where, **options)
            tokenizer = AutoTokenizer.from_pretrained(where, **options)
        except Exception as error:  # of many kinds: no network, broken files, another kind of model
            raise UserError(
                f"--model {model}: no CTC recogniser can be loaded from there ({reason(error)}); "
                "give a local folder, or a name such as hf://facebook/wav2vec2-base-960h"
            ) from None
        if any("lm_head" in key for key in found["missing_keys"]):
            raise UserError(f"--model {model}: was not fine-tuned to recognise speech; give one that was")
        self.model.to(device).eval()
        self.device, self.rate = device, self._extractor.sampling_rate
        self.blank = tokenizer.pad_token_id  # as transformers' CTC models have it
        self.letters = letters_of(tokenizer.get_vocab(), getattr(tokenizer, "word_delimiter_token", "|"))

    def align(self, waveform: Tensor, text: str) -> Alignment:
        """Align mono samples (N,) at ``self.rate`` with what is said in them. Raises DataError where that cannot be."""
        spelled = spell(text, self.letters)
        if not spelled:
            raise DataError("no word", "nothing in the transcript can be aligned; write what is said")
        seconds = len(waveform) / self.rate
        if seconds > MAX_SECONDS:
            raise DataError("too long", f"{seconds:.0f} s, more than {MAX_SECONDS:.0f}; cut it at pauses")
        return align_words(self._log_probs(waveform), spelled, self.blank, seconds)

    @torch.inference_mode()
    def _log_probs(self, waveform: Tensor) -> Tensor:
        """(T frames, V letters)"""
        features: Any = self._extractor(waveform.numpy(), sampling_rate=self.rate, return_tensors="pt")
        return self.model(**features.to(self.device)).logits[0].float().log_softmax(-1).cpu()


def letters_of(vocabulary: Mapping[str, int], delimiter: str = "|") -> dict[str, int]:
    """The vocabulary's single letters in lower case; not its blank, delimiter and special tokens."""
    return {
        token.lower(): number
        for token, number in vocabulary.items()
        if len(token) == 1 and token != delimiter and (token.isalpha() or token == "'")
    }


def spell(text: str, letters: Mapping[str, int]) -> list[list[int]]:
    """The letters of every word of a text; a word without any that is known is a STAR."""
    spelled = []
    for word in written_words(text):
        known = []
        for character in word.lower().replace("’", "'"):
            plain = character if character in letters else unicodedata.normalize("NFKD", character)[0]
            if plain in letters:
                known.append(letters[plain])
        spelled.append(known or [STAR])
    return spelled


def align_words(log_probs: Tensor, words: Sequence[Sequence[int]], blank: int, seconds: float) -> Alignment:
    """The most probable alignment of words with log-probabilities (T, V) of frames that last ``seconds`` together.

    A STAR matches any frame at the price of its best letter. Raises DataError where there are fewer frames than
    letters.
    """
    frames, size = log_probs.shape
    star = log_probs[:, torch.arange(size) != blank].amax(dim=1, keepdim=True)
    targets = torch.tensor([[size if id == STAR else id for word in words for id in word]], dtype=torch.int32)
    needed = targets.shape[1] + int((targets[0, 1:] == targets[0, :-1]).sum())  # a blank between equal ones
    if frames < needed:
        raise DataError("too many words", f"{needed} letters in {seconds:.2f} s; this is not what is said")
    path, scores = torchaudio.functional.forced_align(torch.cat([log_probs, star], dim=1)[None], targets, blank=blank)
    spans = torchaudio.functional.merge_tokens(path[0], scores[0].exp(), blank=blank)
    times, fits, place = [], [], 0
    for word in words:
        own, place = spans[place : place + len(word)], place + len(word)
        times.append((own[0].start * seconds / frames, own[-1].end * seconds / frames))
        fits.append(sum(span.score for span in own) / len(own))
    return Alignment(tuple(times), tuple(fits))
