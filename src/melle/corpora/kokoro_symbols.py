"""Text as the symbols that Kokoro reads: espeak-ng's IPA, written as misaki does, Kokoro's own front end.

Diphthongs and affricates are one symbol each (EN_PHONES.md of misaki lists them). espeak is asked to tie what belongs
together ("a^ɪ"), so that "a" and "ɪ" of two syllables are not taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from melle.text.phonemes import espeak_phonemizer

MARKS = ';:,.!?—…"()“”'  # symbols that are read but not spoken
TITLES = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof)\.")  # whose point would be spoken as a pause

_TIED = {"a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "ɔ^ɪ": "Y", "o^ʊ": "O", "ə^ʊ": "Q", "e^ə": "ɛː", "ə^l": "ᵊl"}
_TIED |= {"d^ʒ": "ʤ", "t^ʃ": "ʧ", "t^s": "ʦ", "d^z": "ʣ", "^": ""}
_SYLLABIC = re.compile("(.)\N{COMBINING VERTICAL LINE BELOW}")  # a consonant that is a syllable
# What English voices were not trained on, by the nearest that they were.
_ENGLISH = {"ʔ": "t", "ɚ": "əɹ", "ɐ": "ə", "r": "ɹ", "x": "k", "ç": "k", "ɬ": "l", "ʲ": "", "\N{COMBINING TILDE}": ""}
_AMERICAN = {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ː": ""}
_BRITISH = {"eə": "ɛː", "iə": "ɪə"}


def symbols(text: str, language: str) -> str:
    """The symbols of a text in espeak's ``language``; words, as espeak joins them, are divided by blanks."""
    ipa = "".join(_phonemizer(language)([TITLES.sub(r"\1", text)]))  # of an empty text, none
    tables = [_TIED]
    if language.startswith("en"):
        tables += [_ENGLISH, _BRITISH if language.startswith("en-gb") else _AMERICAN]
        ipa = _SYLLABIC.sub(r"ᵊ\1", ipa)
    for table in tables:
        for given, wanted in table.items():
            ipa = ipa.replace(given, wanted)
    return " ".join(ipa.split())


@cache
def _phonemizer(language: str) -> Callable[[list[str]], list[str]]:
    needs = 'the teacher needs: python -m pip install -e ".[teacher]"'
    return espeak_phonemizer(language, needs, preserve_punctuation=True, tie="^")
