"""From text to token ids and into a checkpoint: the one path that training, evaluation and synthesis share."""

from melle.text.base import (
    EOS,
    FIRST,
    PAD,
    Marks,
    Tokenizer,
    marks_of,
    normalising,
    tokenizer_from_dict,
    with_normaliser,
)

__all__ = [
    "EOS",
    "FIRST",
    "PAD",
    "Marks",
    "Tokenizer",
    "marks_of",
    "normalising",
    "tokenizer_from_dict",
    "with_normaliser",
]
