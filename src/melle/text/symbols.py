"""Characters or words as tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from melle.errors import UserError
from melle.text.base import FIRST, PAD, check_not_empty, spans


class SymbolTokenizer:
    """Text as a sequence of symbols: words, or characters with a blank after every word.

    The last word has its blank too, so that utterances which share a row stay apart.

    The symbols' ids follow each other in sorted order. Text is lower-cased and its white space collapsed.
    """

    def __init__(self, unit: str, symbols: Iterable[str]):
        if unit not in ("characters", "words"):
            raise UserError(f"tokenizer.unit={unit!r}: choose characters or words")
        self.unit = unit
        self.symbols = sorted(set(symbols))
        self._ids = {symbol: FIRST + i for i, symbol in enumerate(self.symbols)}

    @classmethod
    def fit(cls, texts: Iterable[str], unit: str) -> SymbolTokenizer:
        """A tokenizer that knows every symbol in ``texts``."""
        tokenizer = cls(unit, ())
        return cls(unit, {symbol for text in texts for symbol in tokenizer.split(text)})

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        return FIRST + len(self.symbols)

    def split(self, text: str) -> list[str]:
        words = text.lower().split()
        return words if self.unit == "words" else list(" ".join([*words, ""]))

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without <EOS>. Raises UserError for a text that is empty or holds an unknown symbol."""
        check_not_empty(text)
        symbols = self.split(text)
        try:
            return [self._ids[symbol] for symbol in symbols]
        except KeyError:
            unknown = " ".join(sorted(set(symbols) - self._ids.keys()))
            known = " ".join(self.symbols) if len(self.symbols) <= 40 else f"{len(self.symbols)} {self.unit}"
            raise UserError(f"the text holds what the model never learned: {unknown!r}; it knows: {known}") from None

    def word_spans(self, ids: Iterable[int]) -> list[tuple[int, int]]:
        """First token and one past the last of every word in ``ids``; blanks between words belong to none."""
        blank = self._ids.get(" ", PAD) if self.unit == "characters" else PAD
        return spans(ids, {blank}) if self.unit == "characters" else [(i, i + 1) for i, _ in enumerate(ids)]

    def decode(self, ids: Iterable[int]) -> str:
        symbols = [self.symbols[i - FIRST] for i in ids if i >= FIRST]
        return (" " if self.unit == "words" else "").join(symbols).strip()

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "symbols", "unit": self.unit, "symbols": self.symbols}
