"""Letters of scripts that a language is not written in, which its synthesizer would spell by their names."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import Any

from melle.errors import UserError
from melle.text.languages import language_code
from melle.text.verbalise import language_of

_LATIN = frozenset(
    re.findall(
        r"\w+",
        "af ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms nb nl no pl pt ro sk sl sq sv sw tr vi",
    )
)
_CYRILLIC, _ARABIC = frozenset({"CYRILLIC"}), frozenset({"ARABIC"})
_OTHERS: dict[str, frozenset[str]] = {  # by the first word of their letters' names in Unicode
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "kk", "ky", "tt"), _CYRILLIC),
    **dict.fromkeys(("ar", "fa", "ur", "sd", "ug"), _ARABIC),
    **dict.fromkeys(("hi", "mr", "ne", "kok"), frozenset({"DEVANAGARI"})),
    **{"el": frozenset({"GREEK"}), "he": frozenset({"HEBREW"}), "ko": frozenset({"HANGUL", "CJK"})},
    **{"cmn": frozenset({"CJK", "BOPOMOFO"}), "yue": frozenset({"CJK"})},
    **{"ja": frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}), "ka": frozenset({"GEORGIAN"})},
}
_SCRIPTS = set().union(*_OTHERS.values()) | {"THAI", "BENGALI", "TAMIL", "TELUGU", "ARMENIAN", "ETHIOPIC", "KHMER"}


def foreign_words(text: str, language: str | None) -> list[str]:
    """Runs of letters in a script that the language is not written in, as they come; none for a language whose script
    is not known here. A Greek letter alone is a sign, and Latin letters are read everywhere."""
    code = language_code(language) if language else ""
    own = frozenset() if code in _LATIN else _OTHERS.get(code)
    if own is None or text.isascii():
        return []
    runs = ["".join(run) for foreign, run in groupby(text, lambda character: _is_foreign(character, own)) if foreign]
    return [run for run in runs if len(run) > 1 or not unicodedata.name(run).startswith("GREEK")]


def check_script(text: str, tokenizer: Any) -> None:
    """Raises UserError for words in letters that the tokenizer's language, where it has one, is not written in."""
    normaliser = tokenizer.normaliser
    language = getattr(tokenizer, "language", None) or (normaliser and language_of(normaliser))
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
