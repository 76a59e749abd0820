"""Phonemes as tokens, by espeak-ng."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

from melle.errors import UserError
from melle.text.base import FIRST, LenientTokenizer, spans
from melle.text.cache import remembered
from melle.text.languages import foreign_words, language_code, script_complaint, without
from melle.text.normalise import is_speakable
from melle.text.symbols import SymbolTokenizer
from melle.text.verbalise import find_normaliser

# What speech does at a mark: it pauses, ends, asks, or cries out.
_MARKS = {**dict.fromkeys(",;:—–", ","), **dict.fromkeys(".…", "."), "?": "?", "!": "!"}
# Marks at the end of a word, but for the points of titles and of initials, of which "I" is seldom one, nor a letter
# behind a hyphen, as in P-M.
_POINT = r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<![^\w-][A-HJ-Z])(?<!^[A-HJ-Z])\."
_AT_MARKS = re.compile(rf"({_POINT}|[,;:—–…?!])[^\w\s]*(?=\s|$)")

_ESPEAK = threading.Lock()  # the library speaks for one thread at a time


class PhonemeTokenizer(LenientTokenizer):
    """Text as IPA symbols, of one language: "in a word" as "ɪn ɐ wˈɜːd ", each word ended by a blank.

    Args:
        language: espeak's code, "en-us", "fr-fr", "it".  symbols: the IPA symbols that the model knows.
        punctuation: keep marks, as one of ",", ".", "?" and "!" after their word; those not among the symbols are
            passed over. A text that ends without one is read as if it ended with ".", where that is among them: else a
            model that learned from texts with marks would not know where a prompt's text ends.
        normaliser: as for ``LenientTokenizer``; without, figures are read as espeak does.
    """

    def __init__(self, language: str, symbols: Iterable[str], punctuation: bool = False, normaliser: str | None = None):
        super().__init__(normaliser)
        self.language, self.punctuation = language, punctuation
        self._phonemes = SymbolTokenizer("characters", symbols)
        self._phonemize = espeak_phonemizer(language)
        self._speak = remembered(self._say)

    @classmethod
    def fit(
        cls, texts: Iterable[str], language: str = "en-us", punctuation: bool = False, normalise: bool = True
    ) -> PhonemeTokenizer:
        """A tokenizer that knows every phoneme in ``texts``.

        ``normalise``: figures and abbreviations become words, where there are readings for the language.
        """
        tokenizer = cls(language, (), punctuation, find_normaliser(language) if normalise else None)
        spoken = (tokenizer._speak(tokenizer.spoken(text)) for text in texts)
        tokenizer._phonemes = SymbolTokenizer.fit(spoken, "characters")
        return tokenizer

    def __reduce__(self):  # a loader process that is not forked starts an espeak of its own
        return PhonemeTokenizer, (self.language, self._phonemes.symbols, self.punctuation, self.normaliser)

    @property
    def _between(self) -> set[int]:
        """Ids of what stands between words."""
        return {FIRST + number for number, symbol in enumerate(self._phonemes.symbols) if symbol in " ,.?!"}

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        return self._phonemes.vocab_size

    def known(self, text: str) -> tuple[list[int], list[str]]:
        foreign = foreign_words(text, self.language)  # of which espeak would say the letters' names
        if foreign:
            text = without(text, foreign)
            if not is_speakable(text):
                raise UserError(script_complaint(foreign, self.language))
        ids, unknown = self._known(text)
        return ids, [*foreign, *unknown]

    def _known(self, text: str) -> tuple[list[int], list[str]]:
        phonemes = self._speak(text)
        if self.punctuation:
            unknown = "".join({*_MARKS.values()}.difference(self._phonemes.symbols))
            phonemes = phonemes.translate(str.maketrans("", "", unknown))
            if "." in self._phonemes.symbols and phonemes[-1:] not in (*_MARKS.values(), ""):
                phonemes += "."
        if not phonemes.strip(",.?! "):
            raise UserError(f"the text {text!r} has no sound; give it words that can be spoken")
        return self._phonemes.known(phonemes)

    def complaint(self, unknown: list[str]) -> str:
        foreign = foreign_words(" ".join(unknown), self.language)
        if foreign:
            return script_complaint(foreign, self.language)
        return self._phonemes.complaint(unknown)

    def speaks(self, language: str | None) -> bool:
        return language is None or language_code(language) == language_code(self.language)

    def word_spans(self, ids: Iterable[int]) -> list[tuple[int, int]]:
        """First token and one past the last of every word in ``ids``; blanks and marks belong to none."""
        return spans(ids, self._between)

    def decode(self, ids: Iterable[int]) -> str:
        """The phonemes: what was written is not kept."""
        return self._phonemes.decode(ids)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": "phonemes",
            "language": self.language,
            "symbols": self._phonemes.symbols,
            "punctuation": self.punctuation,
            **self._own(),
        }

    def _say(self, text: str) -> str:
        """The text's phonemes and, if wanted, marks."""
        if not self.punctuation:
            return self._phonemize([text])[0]
        parts = _AT_MARKS.split(" ".join(text.split()))  # by turns text and a mark, or two
        spoken = self._phonemize(parts[::2])
        marks = [_MARKS[mark] for mark in parts[1::2]] + [""]
        return " ".join(words + mark for words, mark in zip(spoken, marks) if words)


def espeak_phonemizer(
    language: str, needs: str = 'tokenizer=phonemes needs: python -m pip install -e ".[phonemes]"', **options: Any
) -> Callable[[list[str]], list[str]]:
    """A function from texts to the phonemes of each in one string.

    ``needs``: what to say where a package is missing.  ``options``: of phonemizer's ``EspeakBackend``.
    """
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.logger import get_logger
        from phonemizer.separator import Separator
    except ImportError:
        raise UserError(needs) from None
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    os.environ["ESPEAK_DATA_PATH"] = espeakng_loader.get_data_path()  # where the library looks unless it is set
    if not EspeakBackend.is_supported_language(language):
        raise UserError(f"tokenizer.language={language}: espeak-ng has no such language; try en-us, fr-fr, de, it …")
    quiet = get_logger("quiet")
    quiet.setLevel(logging.CRITICAL)  # else handlers of the root logger show a warning of every "in the" said as one
    options |= {"with_stress": True, "language_switch": "remove-flags", "logger": quiet}
    backend = EspeakBackend(language, **options)
    separator = Separator(phone="", word=" ", syllable="")

    def phonemize(texts: list[str]) -> list[str]:
        texts = [" ".join(text.split()) for text in texts]
        with _ESPEAK:
            spoken = backend.phonemize(texts, separator=separator, strip=True)
        return [" ".join(words.split()) for words in spoken]

    return phonemize
