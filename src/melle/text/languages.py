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


def language_code(language: str) -> str:
    """What tells languages apart, whatever their country and the length of the code: en-us, en_GB and eng are "en"."""
    code = re.split("[-_]", language.lower())[0]
    return _SHORT.get(code, code)
