"""Text as the symbols that Kokoro reads: espeak-ng's IPA, written as misaki does, Kokoro's own front end.

Diphthongs and affricates are one symbol each (EN_PHONES.md of misaki lists them). espeak is asked to tie what belongs
together ("a^ɪ"), so that "a" and "ɪ" of two syllables are not taken for one.
"""

from __future__ import annotations

import os
import re
from functools import cache

from melle.errors import UserError

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
    ipa = "".join(_backend(language)([TITLES.sub(r"\1", " ".join(text.split()))]))  # of an empty text, none
    tables = [_TIED]
    if language.startswith("en"):
        tables += [_ENGLISH, _BRITISH if language.startswith("en-gb") else _AMERICAN]
        ipa = _SYLLABIC.sub(r"ᵊ\1", ipa)
    for table in tables:
        for given, wanted in table.items():
            ipa = ipa.replace(given, wanted)
    return " ".join(ipa.split())


@cache
def _backend(language: str):
    """A function from texts to their IPA, with stress, ties and marks."""
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.logger import get_logger
        from phonemizer.separator import Separator
    except ImportError:
        raise UserError('the teacher needs: python -m pip install -e ".[teacher]"') from None
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    os.environ["ESPEAK_DATA_PATH"] = espeakng_loader.get_data_path()  # where the library looks unless it is told
    backend = EspeakBackend(
        language,
        preserve_punctuation=True,
        with_stress=True,
        tie="^",
        language_switch="remove-flags",
        logger=get_logger("quiet"),
    )
    separator = Separator(phone="", word=" ", syllable="")
    return lambda texts: backend.phonemize(texts, separator=separator, strip=True)
