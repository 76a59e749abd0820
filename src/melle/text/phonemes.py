"""Phonemes as tokens, by espeak-ng."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from melle.errors import UserError
from melle.text.base import check_not_empty
from melle.text.symbols import SymbolTokenizer


class PhonemeTokenizer:
    """Text as IPA symbols, of one language: "in a word" as "ɪn ɐ wˈɜːd ", each word ended by a blank.

    Args:
        language: espeak's code, "en-us", "fr-fr", "it".  symbols: the IPA symbols that the model knows.
    """

    def __init__(self, language: str, symbols: Iterable[str]):
        self.language = language
        self._phonemes = SymbolTokenizer("characters", symbols)
        self._speak = lru_cache(20_000)(_phonemizer(language))  # a small corpus is encoded many times

    @classmethod
    def fit(cls, texts: Iterable[str], language: str = "en-us") -> PhonemeTokenizer:
        """A tokenizer that knows every phoneme in ``texts``."""
        tokenizer = cls(language, ())
        tokenizer._phonemes = SymbolTokenizer.fit((tokenizer._speak(text) for text in texts), "characters")
        return tokenizer

    def __reduce__(self):  # a loader process that is not forked starts an espeak of its own
        return PhonemeTokenizer, (self.language, self._phonemes.symbols)

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        return self._phonemes.vocab_size

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without <EOS>. Raises UserError for a text that is empty, silent or has unknown phonemes."""
        check_not_empty(text)
        phonemes = self._speak(text)
        if not phonemes:
            raise UserError(f"the text {text!r} has no sound; give it words that can be spoken")
        return self._phonemes.encode(phonemes)

    def decode(self, ids: Iterable[int]) -> str:
        """The phonemes: what was written is not kept."""
        return self._phonemes.decode(ids)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "phonemes", "language": self.language, "symbols": self._phonemes.symbols}


def _phonemizer(language: str):
    """A function from text to phonemes in one string."""
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.separator import Separator
    except ImportError:
        raise UserError('tokenizer=phonemes needs: python -m pip install -e ".[phonemes]"') from None
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    os.environ["ESPEAK_DATA_PATH"] = espeakng_loader.get_data_path()  # where the library looks unless it is told
    if not EspeakBackend.is_supported_language(language):
        raise UserError(f"tokenizer.language={language}: espeak-ng has no such language; try en-us, fr-fr, de, it …")
    backend = EspeakBackend(language, with_stress=True, language_switch="remove-flags")
    separator = Separator(phone="", word=" ", syllable="")

    def speak(text: str) -> str:
        return " ".join(backend.phonemize([" ".join(text.split())], separator=separator, strip=True)[0].split())

    return speak
