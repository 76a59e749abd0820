"""Endings of English nouns and verbs, as they are spelt."""

from __future__ import annotations

_PLURALS = {
    **{"child": "children", "foot": "feet", "tooth": "teeth", "goose": "geese"},
    **{"mouse": "mice", "ox": "oxen", "wife": "wives", "knife": "knives", "wolf": "wolves", "calf": "calves"},
    **{"shelf": "shelves", "leaf": "leaves", "thief": "thieves", "loaf": "loaves", "crossroads": "crossroads"},
    **{"stomach": "stomachs", "crisis": "crises", "physics": "physics", "mathematics": "mathematics"},
    **{name: name for name in ("sheep", "deer", "moose", "salmon", "trout", "shrimp", "fish")},
}
_THIRD = {"be": "is", "have": "has", "do": "does", "go": "goes"}
_O_WITH_ES = ("hero", "potato", "tomato", "mosquito", "buffalo", "volcano", "mango")
_DOUBLING = ("begin", "forget", "prefer", "control", "admit", "travel", "quarrel", "unwrap", "wrap")
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


def third_person(verb: str) -> str:
    """wash → washes. Of several words the first one changes."""
    first, *after = verb.split(" ")
    return " ".join([_THIRD.get(first) or _with_s(first), *after])


def progressive(verb: str) -> str:
    """hope → hoping, hop → hopping."""
    first, *after = verb.split(" ")
    if first.endswith("ie"):
        first = first[:-2] + "ying"
    elif first.endswith("e") and not first.endswith(("ee", "oe", "ye")) and first != "be":
        first = first[:-1] + "ing"
    else:
        first = _doubled(first) + "ing"
    return " ".join([first, *after])


def past(verb: str) -> str:
    """The past of a regular verb, and its participle: stop → stopped, carry → carried."""
    first, *after = verb.split(" ")
    if first.endswith("e"):
        first += "d"
    elif first.endswith("y") and first[-2] not in _VOWELS:
        first = first[:-1] + "ied"
    else:
        first = _doubled(first) + "ed"
    return " ".join([first, *after])


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


def _doubled(verb: str) -> str:
    """The last consonant twice where English does that: stop, begin, travel; not open, fix, rain."""
    if verb in _DOUBLING:
        return verb + verb[-1]
    vowels = [letter in _VOWELS for letter in verb]
    short = len(verb) > 2 and vowels[-2] and not vowels[-1] and not vowels[-3] and sum(vowels) == 1
    return verb + verb[-1] if short and verb[-1] not in "wxy" else verb
