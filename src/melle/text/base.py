"""What every tokenizer offers, and how one comes back out of a checkpoint."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable
from importlib import import_module
from typing import Any, Protocol

from melle.errors import UserError

PAD, EOS = 0, 1  # ids that every tokenizer leaves free: padding, and the end of the text (the paper's <EOS>)
FIRST = 2  # the first id of a tokenizer's own


class Tokenizer(Protocol):
    """From text to ids. ``encode`` leaves <EOS> to the batch, which appends it once per row."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without <EOS>. Raises UserError for a text that it cannot express."""
        ...

    def word_spans(self, ids: list[int]) -> list[tuple[int, int]] | None:
        """First token and one past the last of every word in ``ids``; None where words cannot be told apart."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of ids, as far as the tokenizer keeps it; padding and <EOS> are left out."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Plain values with the ``kind``, from which ``tokenizer_from_dict`` builds the same tokenizer."""
        ...


_KINDS = {  # by name, so that no kind's packages are imported before it is used
    "symbols": "melle.text.symbols.SymbolTokenizer",
    "phonemes": "melle.text.phonemes.PhonemeTokenizer",
    "subwords": "melle.text.subwords.SubwordTokenizer",
}


def tokenizer_from_dict(values: dict[str, Any]) -> Tokenizer:
    """The tokenizer that ``as_dict`` described. Raises UserError where it needs a package that is not installed."""
    values = dict(values)
    module, name = _KINDS[values.pop("kind", "symbols")].rsplit(".", 1)
    return getattr(import_module(module), name)(**values)


def spans(ids: Iterable[int], between: Container[int]) -> list[tuple[int, int]]:
    """Runs of ids that are not ``between``: the first of each and one past its last."""
    found, start, end = [], None, 0
    for end, id in enumerate(ids, start=1):
        if id in between:
            if start is not None:
                found.append((start, end - 1))
            start = None
        elif start is None:
            start = end - 1
    return found if start is None else [*found, (start, end)]


def check_not_empty(text: str) -> None:
    if not text.strip():
        raise UserError("the text is empty; give at least one word")


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return any(unicodedata.category(character)[0] in "LN" for character in text)
