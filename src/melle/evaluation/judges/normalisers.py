"""Text normalisers: what makes a transcript comparable with the text that was to be said."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

from melle.errors import UserError
from melle.evaluation.judges.loading import packages_of

NAMES = ("english", "basic", "digits")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@functools.cache
def make_normaliser(name: str) -> Callable[[str], str]:
    """The normaliser of this name; what it returns is in lower case, without punctuation, one space between words.

    "english" is Whisper's for English, the field's standard: contractions and titles are written out, numbers written
    as figures ("twenty-one": "21"), hesitations left out, and the marks of numbers kept ("$3.50", "10%"). Its table of
    British and American spellings is not used: it belongs to a model and not to the package. "basic" is Whisper's for
    other languages: accents stay, and an apostrophe parts words. "digits" is ``spell_digits``.

    Raises UserError for another name, and for Whisper's two where transformers is not installed.
    """
    if name not in NAMES:
        raise UserError(f"normaliser={name}: choose one of {', '.join(NAMES)}")
    if name == "digits":
        return spell_digits
    with packages_of("eval", f"normaliser={name}"):
        from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer
    standard = EnglishTextNormalizer({}) if name == "english" else BasicTextNormalizer()

    def normalise(text: str) -> str:
        words = standard(text.replace("’", "'")).split()  # it knows contractions by the typewriter's apostrophe alone
        return " ".join(word for word in words if any(map(str.isalnum, word)))  # of "..." it leaves a "."

    return normalise


def spell_digits(text: str) -> str:
    """Lower case, no punctuation, one space between words, every digit spelled by itself ("427": "four two seven").

    Nothing else is corrected: "for" stays wrong where "four" was said.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"\d", lambda digit: f" {DIGITS[int(digit.group())]} ", text)
    text = re.sub(r"['’]", "", text)  # "don't" is one word
    return " ".join(re.sub(r"[\W_]", " ", text).split())
