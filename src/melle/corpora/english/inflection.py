"""Plurals and articles of English nouns, as they are spelt."""

from __future__ import annotations

_PLURALS = {
    **{"child": "children", "foot": "feet", "tooth": "teeth", "goose": "geese"},
    **{"mouse": "mice", "ox": "oxen", "wife": "wives", "knife": "knives", "wolf": "wolves", "calf": "calves"},
    **{"shelf": "shelves", "leaf": "leaves", "thief": "thieves", "loaf": "loaves", "crossroads": "crossroads"},
    **{"stomach": "stomachs", "crisis": "crises", "physics": "physics", "mathematics": "mathematics"},
    **{name: name for name in ("sheep", "deer", "moose", "salmon", "trout", "shrimp", "fish")},
}
_O_WITH_ES = ("hero", "potato", "tomato", "mosquito", "buffalo", "volcano", "mango")
_VOWELS = "aeiou"
_AN = ("hour", "honest", "heir")  # a silent h
_A = ("uni", "use", "usu", "eu", "one", "ute", "utopia")  # u as in "you", o as in "one"


def plural(noun: str) -> str:
    """box → boxes. Of several words the last one changes."""
    *before, last = noun.split(" ")
    if last.endswith("man") and last not in ("human", "German"):
        last = last[:-3] + "men"
    elif last in _PLURALS:
        last = _PLURALS[last]
    elif last in _O_WITH_ES:
        last += "es"
    else:
        last = _with_s(last)
    return " ".join([*before, last])


def with_article(phrase: str) -> str:
    """old dog → an old dog."""
    word = phrase.lower()
    vowel = (word[0] in _VOWELS and not word.startswith(_A)) or word.startswith(_AN)
    return f"{'an' if vowel else 'a'} {phrase}"


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + "s"
