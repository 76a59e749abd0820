"""What every tokenizer offers, and how one comes back out of a checkpoint."""

from __future__ import annotations

from collections.abc import Container, Iterable
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from melle.errors import UserError
from melle.text.languages import language_code, language_of
from melle.text.normalise import is_speakable, warn_left_out
from melle.text.verbalise import check_normaliser, require_normaliser, verbalise

PAD, EOS = 0, 1  # ids that every tokenizer leaves free: padding, and the end of the text (the paper's <EOS>)
FIRST = 2  # the first id of a tokenizer's own


class Marks(NamedTuple):
    """Ids around the text of a row, once, however many utterances share the row; None for no mark."""

    bos: int | None = None
    eos: int | None = EOS

    @property
    def count(self) -> int:
        """How many tokens they add to a row."""
        return sum(mark is not None for mark in self)


def marks_of(tokenizer: Tokenizer) -> Marks:
    """The tokenizer's ``marks`` where it has its own; else <EOS> at the end and nothing in front (the paper's)."""
    return getattr(tokenizer, "marks", Marks())


class Tokenizer(Protocol):
    """From text to ids. ``encode`` leaves the ``marks`` to the batch, which puts them around each row."""

    normaliser: str | None  # name of the readings by which figures and abbreviations become words

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        ...

    def encode(self, text: str, strict: bool = False, follows: bool = False) -> list[int]:
        """Ids of a text, without <EOS>. What is not known is left out, and logged once for each text.

        Raises UserError where nothing would be left. ``strict``: also where letters or digits would be left out, for
        a model must not learn from words that are in the sound alone; then marks are left out without a warning.
        ``follows``: another text stands before it in its row.
        """
        ...

    def encode_known(self, text: str, strict: bool = False, follows: bool = False) -> tuple[list[int], list[str]]:
        """As ``encode``, with what is left out instead of a warning."""
        ...

    def speaks(self, language: str | None) -> bool:
        """Whether texts of a language (a code such as "en" or "pt-br", None where unknown) are read rightly."""
        ...

    def spoken(self, text: str) -> str:
        """The text as it is read: normal in its marks, and where there is a ``normaliser`` figures in words."""
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


class LenientTokenizer:
    """``encode`` for tokenizers that say what they know of a text.

    Args:
        normaliser: name of the readings by which figures and abbreviations become words (``text.verbalise``); None:
            they stay as they are written, as for models from before there were such.
    """

    def __init__(self, normaliser: str | None = None):
        check_normaliser(normaliser)
        self.normaliser = normaliser

    def spoken(self, text: str) -> str:
        """The text as it is read, from which the tokens are made."""
        return verbalise(text, self.normaliser)

    def known(self, text: str) -> tuple[list[int], list[str]]:
        """Ids of what is known of a text, and the rest."""
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        raise NotImplementedError

    def complaint(self, unknown: list[str]) -> str:
        """A sentence on what is not known."""
        return f"the text holds what the tokenizer cannot express: {' '.join(unknown)!r}; leave it out"

    def speaks(self, language: str | None) -> bool:
        if language is None or self.normaliser is None:
            return True
        return language_code(language) == language_of(self)

    def encode(self, text: str, strict: bool = False, follows: bool = False) -> list[int]:
        ids, unknown = self.encode_known(text, strict, follows)
        if unknown and not strict:
            warn_left_out(text, tuple(unknown))
        return ids

    def encode_known(self, text: str, strict: bool = False, follows: bool = False) -> tuple[list[int], list[str]]:
        """As ``encode``, with what is left out instead of a warning."""
        plain = self.spoken(text)
        if not plain:
            raise UserError("the text is empty; give at least one word")
        ids, unknown = self.known(plain)
        if unknown:  # a tokenizer from before texts were normalised may know the text as it was written
            ids, unknown = min((ids, unknown), self.known(" ".join(text.split())), key=lambda found: len(found[1]))
        if unknown and (not is_speakable(self.decode(ids)) or (strict and any(map(is_speakable, unknown)))):
            raise UserError(self.complaint(unknown))
        return ids, unknown

    def _own(self) -> dict[str, str]:
        """What ``as_dict`` says of the normaliser: nothing where there is none, as before there were such."""
        return {} if self.normaliser is None else {"normaliser": self.normaliser}


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


def with_normaliser(tokenizer: Tokenizer, normaliser: str | None) -> Tokenizer:
    """The same tokenizer with other readings of figures and abbreviations, or none."""
    if tokenizer.normaliser == normaliser:
        return tokenizer
    return tokenizer_from_dict({**tokenizer.as_dict(), "normaliser": normaliser})


def normalising(tokenizer: Tokenizer, normalise: bool | None) -> Tokenizer:
    """The tokenizer with text normalisation, without, or (None) as it is; in its language, else in English.

    Raises UserError where there is none for its language.
    """
    if normalise is None or (normalise and tokenizer.normaliser is not None):
        return tokenizer
    language = getattr(tokenizer, "language", None) or "en"
    return with_normaliser(tokenizer, require_normaliser(language) if normalise else None)


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
