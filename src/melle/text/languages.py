"""Languages: their codes, which one a tokenizer reads, and the scripts that they are written in."""

from __future__ import annotations

import logging
import re
import unicodedata
from functools import cache
from itertools import groupby
from typing import Any

from melle.errors import UserError

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
_OTHERWISE = {"cmn": "zh", "nb": "no"}  # codes of espeak, as Whisper and others have them
_LATIN = frozenset(
    re.findall(
        r"\w+",
        "af ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms nb nl no pl pt ro sk sl sq sv sw tr vi",
    )
)
_CYRILLIC, _ARABIC = frozenset({"CYRILLIC"}), frozenset({"ARABIC"})
_SCRIPT: dict[str, frozenset[str]] = {  # by the first word of their letters' names in Unicode
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "kk", "ky", "tt"), _CYRILLIC),
    **dict.fromkeys(("ar", "fa", "ur", "sd", "ug"), _ARABIC),
    **dict.fromkeys(("hi", "mr", "ne", "kok"), frozenset({"DEVANAGARI"})),
    **{"el": frozenset({"GREEK"}), "he": frozenset({"HEBREW"}), "ko": frozenset({"HANGUL", "CJK"})},
    **{"cmn": frozenset({"CJK", "BOPOMOFO"}), "yue": frozenset({"CJK"})},
    **{"ja": frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}), "ka": frozenset({"GEORGIAN"})},
}
_SCRIPTS = set().union(*_SCRIPT.values()) | {"THAI", "BENGALI", "TAMIL", "TELUGU", "ARMENIAN", "ETHIOPIC", "KHMER"}

logger = logging.getLogger(__name__)


def language_code(language: str) -> str:
    """What distinguishes languages, whatever their country and the length of the code: en-us, en_GB and eng are "en".

    So is a name: "English", "American English", "English (US)".
    """
    words = re.findall(r"[^\W_]+", language.lower()) or [""]
    return next((_NAMED[word] for word in words if word in _NAMED), _SHORT.get(words[0], words[0]))


def language_of(tokenizer: Any) -> str | None:
    """The language that a tokenizer reads: its own, else that of its readings of figures; None: any."""
    own = getattr(tokenizer, "language", None)
    return own or (tokenizer.normaliser and tokenizer.normaliser.split("-")[0])


def find_language(language: str | None, tokenizer: Any) -> str:
    """The code of a text's language; None: the tokenizer's, else English. Warns once of one that it reads wrongly."""
    own = language_of(tokenizer) or "en"
    if language is None:
        code = language_code(own)
        return _OTHERWISE.get(code, code)
    if not tokenizer.speaks(language):
        _warn_language(language, own)
    return language


def foreign_words(text: str, language: str | None) -> list[str]:
    """Runs of letters in a script that the language is not written in, as they come; none for a language whose script
    is not known here. A Greek letter alone is a sign, and Latin letters are read everywhere."""
    code = language_code(language) if language else ""
    own = frozenset() if code in _LATIN else _SCRIPT.get(code)
    if own is None or text.isascii():
        return []
    runs = ["".join(run) for foreign, run in groupby(text, lambda character: _is_foreign(character, own)) if foreign]
    return [run for run in runs if len(run) > 1 or not unicodedata.name(run).startswith("GREEK")]


def check_script(text: str, tokenizer: Any) -> None:
    """Raises UserError for words in letters that the tokenizer's language, where it has one, is not written in."""
    language = language_of(tokenizer)
    foreign = foreign_words(text, language)
    if foreign:
        raise UserError(script_complaint(foreign, language))


def without(text: str, words: list[str]) -> str:
    """The text without these runs."""
    return " ".join(re.sub("|".join(map(re.escape, sorted(words, key=len, reverse=True))), " ", text).split())


def script_complaint(words: list[str], language: str) -> str:
    """A sentence on words of another script."""
    script = unicodedata.name(words[0][0]).split()[0].capitalize().replace("Cjk", "Chinese")
    shown = " ".join(words)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}…"
    return (
        f"{shown!r} is written in {script} letters, which a model of {language} does not read; write it in the letters "
        "of that language, or take a model of another"
    )


def _is_foreign(character: str, own: frozenset[str]) -> bool:
    if character.isascii() or unicodedata.category(character)[0] not in "LM":
        return False
    script = unicodedata.name(character, "").split(" ")[0]
    return script in _SCRIPTS and script not in own


@cache
def _warn_language(language: str, own: str) -> None:
    logger.warning("language %s: the model reads every text as %s; take a model of that language", language, own)
