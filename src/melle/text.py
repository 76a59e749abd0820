"""From text to token ids and into a checkpoint: the one path that training, evaluation and synthesis share."""

from __future__ import annotations

from collections.abc import Iterable

from melle.errors import UserError

PAD, EOS = 0, 1
FIRST_SYMBOL = 2


class SymbolTokenizer:
    """Text as a sequence of symbols: characters, or words parted by white space.

    Ids: 0 pads, 1 ends the text (the paper's <EOS>), the symbols follow in sorted order. Text is lower-cased and its
    white space collapsed. ``encode`` leaves <EOS> to the batch, which appends it once per row.
    """

    def __init__(self, unit: str, symbols: Iterable[str]):
        if unit not in ("characters", "words"):
            raise UserError(f"tokenizer.unit={unit!r}: choose characters or words")
        self.unit = unit
        self.symbols = sorted(set(symbols))
        self._ids = {symbol: FIRST_SYMBOL + i for i, symbol in enumerate(self.symbols)}

    @classmethod
    def fit(cls, unit: str, texts: Iterable[str]) -> SymbolTokenizer:
        """A tokenizer that knows every symbol in ``texts``."""
        tokenizer = cls(unit, ())
        return cls(unit, {symbol for text in texts for symbol in tokenizer.split(text)})

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        return FIRST_SYMBOL + len(self.symbols)

    def split(self, text: str) -> list[str]:
        words = text.lower().split()
        return words if self.unit == "words" else list(" ".join(words))

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without <EOS>. Raises UserError for a text that is empty or holds an unknown symbol."""
        symbols = self.split(text)
        if not symbols:
            raise UserError("the text is empty; give at least one word")
        unknown = sorted({symbol for symbol in symbols if symbol not in self._ids})
        if unknown:
            known = " ".join(self.symbols) if len(self.symbols) <= 40 else f"{len(self.symbols)} {self.unit}"
            raise UserError(f"the text holds what the model never learned: {' '.join(unknown)!r}; it knows: {known}")
        return [self._ids[symbol] for symbol in symbols]

    def decode(self, ids: Iterable[int]) -> str:
        symbols = [self.symbols[i - FIRST_SYMBOL] for i in ids if i >= FIRST_SYMBOL]
        return (" " if self.unit == "words" else "").join(symbols)

    def as_dict(self) -> dict:
        """Plain values from which ``SymbolTokenizer(**values)`` builds the same tokenizer."""
        return {"unit": self.unit, "symbols": self.symbols}
