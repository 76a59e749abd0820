"""Characters or words as tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from melle.errors import UserError
from melle.text.base import FIRST, PAD, LenientTokenizer, spans
from melle.text.normalise import is_speakable, normalise, spellings
from melle.text.verbalise import find_normaliser


class SymbolTokenizer(LenientTokenizer):
    """Text as a sequence of symbols: words, or characters with a blank after every word.

    The last word has its blank too, so that utterances which share a row stay apart.

    The symbols' ids follow each other in sorted order. Text is normalised, lower-cased and its white space collapsed.
    """

    def __init__(self, unit: str, symbols: Iterable[str], normaliser: str | None = None):
        super().__init__(normaliser)
        if unit not in ("characters", "words"):
            raise UserError(f"tokenizer.unit={unit!r}: choose characters or words")
        self.unit = unit
        self.symbols = sorted(set(symbols))
        self._ids = {symbol: FIRST + i for i, symbol in enumerate(self.symbols)}
        # Models from before texts were normalised know ’ rather than '.
        self._also = {normalise(symbol): id for symbol, id in self._ids.items() if symbol.strip()}

    @classmethod
    def fit(
        cls, texts: Iterable[str], unit: str, language: str | None = None, normalise: bool = True
    ) -> SymbolTokenizer:
        """A tokenizer that knows every symbol in ``texts``.

        ``normalise``: figures and abbreviations become words of ``language``, where there are readings for it.
        """
        tokenizer = cls(unit, (), find_normaliser(language) if normalise else None)
        symbols = {symbol for text in texts for symbol in tokenizer.split(tokenizer.spoken(text))}
        return cls(unit, symbols, tokenizer.normaliser)

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        return FIRST + len(self.symbols)

    def split(self, text: str) -> list[str]:
        words = text.lower().split()
        return words if self.unit == "words" else list(" ".join([*words, ""]))

    def known(self, text: str) -> tuple[list[int], list[str]]:
        find = self._words if self.unit == "words" else self._characters
        return find(self.split(text))

    def complaint(self, unknown: list[str]) -> str:
        known = " ".join(self.symbols) if len(self.symbols) <= 40 else f"{len(self.symbols)} {self.unit}"
        return f"the text holds what the model never learned: {' '.join(unknown)!r}; it knows: {known}"

    def _find(self, symbol: str) -> int | None:
        return self._ids.get(symbol, self._also.get(symbol))

    def _words(self, words: list[str]) -> tuple[list[int], list[str]]:
        """A word may be known without the marks around it."""
        ids, unknown = [], set()
        for word in words:
            bare = word.strip("".join(mark for mark in word if unicodedata.category(mark)[0] in "PS"))
            found = self._find(word) or self._find(bare)
            if found is not None:
                ids.append(found)
            else:
                unknown.add(word)
        return ids, sorted(unknown)

    def _characters(self, characters: list[str]) -> tuple[list[int], list[str]]:
        """A character may be known by another spelling. For a mark that is not known, words stay apart."""
        blank, ids, unknown = self._ids.get(" "), [], set()
        for character in characters:
            found = self._find(character)
            if found is None:
                ways = ([self._find(part) for part in way] for way in spellings(character))
                found = next((way for way in ways if None not in way), None)
            if found is None:
                unknown.add(character)
                found = [] if blank is None or is_speakable(character) or character in "'\"" else blank
            for id in found if isinstance(found, list) else [found]:
                if id != blank or (ids and ids[-1] != blank):  # single blanks, and none at the beginning
                    ids.append(id)
        return ids, sorted(unknown)

    def word_spans(self, ids: Iterable[int]) -> list[tuple[int, int]]:
        """First token and one past the last of every word in ``ids``; blanks between words belong to none."""
        blank = self._ids.get(" ", PAD) if self.unit == "characters" else PAD
        return spans(ids, {blank}) if self.unit == "characters" else [(i, i + 1) for i, _ in enumerate(ids)]

    def decode(self, ids: Iterable[int]) -> str:
        symbols = [self.symbols[i - FIRST] for i in ids if i >= FIRST]
        return (" " if self.unit == "words" else "").join(symbols).strip()

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "symbols", "unit": self.unit, "symbols": self.symbols, **self._own()}
