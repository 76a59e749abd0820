"""Codes of languages."""

from __future__ import annotations

import re

# Codes of three letters, and others, by the ones of two that espeak has.
_SHORT = dict(
    re.findall(
        r"(\w+):(\w+)",
        "ara:ar ces:cs cze:cs dan:da deu:de ger:de ell:el gre:el eng:en spa:es fin:fi fra:fr fre:fr hin:hi hun:hu "
        "ita:it jpn:ja kor:ko no:nb nor:nb nob:nb nld:nl dut:nl pol:pl por:pt ron:ro rum:ro rus:ru slk:sk swe:sv "
        "tur:tr ukr:uk vie:vi zh:cmn zho:cmn chi:cmn",
    )
)


# Languages by their names in English and their own, as lists of recordings have them ("English" in LibriSpeech's).
_NAMED = dict(
    re.findall(
        r"(\w+):(\w+)",
        "english:en french:fr français:fr german:de deutsch:de spanish:es español:es castilian:es italian:it "
        "italiano:it portuguese:pt português:pt arabic:ar czech:cs danish:da dutch:nl nederlands:nl finnish:fi "
        "greek:el hindi:hi hungarian:hu japanese:ja korean:ko mandarin:cmn chinese:cmn norwegian:nb polish:pl "
        "polski:pl romanian:ro russian:ru slovak:sk swedish:sv svenska:sv turkish:tr ukrainian:uk vietnamese:vi",
    )
)


def language_code(language: str) -> str:
    """What distinguishes languages, whatever their country and the length of the code: en-us, en_GB and eng are "en".

    So is a name: "English", "American English", "English (US)".
    """
    words = re.findall(r"[^\W_]+", language.lower()) or [""]
    return next((_NAMED[word] for word in words if word in _NAMED), _SHORT.get(words[0], words[0]))
