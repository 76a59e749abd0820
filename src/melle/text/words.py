"""Which tokens say which written word, though a tokenizer may read several words in one, or one in several."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate, pairwise

import numpy as np

from melle.errors import UserError
from melle.text.base import Tokenizer
from melle.text.normalise import written_words

Span = tuple[float, float]  # first token and one past the last; between tokens where words are only estimated


def word_tokens(tokenizer: Tokenizer, text: str, ids: list[int]) -> list[Span]:
    """For every word of ``text`` as it is written, its tokens among ``ids``, the text's.

    "$5" has those of "five dollars". Where the tokenizer joins words (espeak says "in the" as one), they are found by
    what each is by itself; where it marks no words, tokens are shared out by letters.
    """
    spoken = written_words(tokenizer.spoken(text))
    spans: Sequence[Span] | None = tokenizer.word_spans(ids)
    if not spans:
        spans = spans_by_letters(spoken, len(ids))
    elif len(spans) != len(spoken):
        spans = _spans_by_tokens(tokenizer, spoken, ids, spans)
    found: list[Span] = []
    for first, last in group_words(written_words(text), spoken):
        if first < last:
            found.append((spans[first][0], spans[last - 1][1]))
        else:  # a word that is not read
            place = spans[first - 1][1] if first else 0
            found.append((place, place))
    return found


def group_words(written: Sequence[str], spoken: Sequence[str]) -> list[tuple[int, int]]:
    """For every written word the first of the spoken words that read it, and one past the last.

    What is read as it is written is found first; what lies between belongs together.
    """
    groups: list[tuple[int, int]] = []
    plain = ([word.lower() for word in words] for words in (written, spoken))
    for tag, a, b, c, d in SequenceMatcher(None, *plain, autojunk=False).get_opcodes():
        if tag == "equal":
            groups += [(c + n, c + n + 1) for n in range(b - a)]
        elif a == b:  # spoken words more, which go with the word before
            if groups:
                groups[-1] = (groups[-1][0], d)
        else:
            edges = _share(written[a:b], spoken[c:d])
            groups += [(c + first, c + last) for first, last in pairwise(edges)]
    if groups and spoken:
        groups[0] = (0, groups[0][1])
    return groups


def _spans_by_tokens(tokenizer: Tokenizer, words: Sequence[str], ids: list[int], spans: Sequence[Span]) -> list[Span]:
    """Where words are in ``ids``, by the tokens of each alone; ``spans`` are of what the tokenizer takes for words.

    A token that none of them has alone belongs to the word between its neighbours that is else not there ("a" is said
    otherwise alone), or to the word before it in its span, or to the next.
    """
    alone = [_encode_alone(tokenizer, word) for word in words]
    owners = [number for number, tokens in enumerate(alone) for _ in tokens]
    owner: dict[int, int] = {}  # of a token in ``ids``
    joined = [token for tokens in alone for token in tokens]
    for a, b, size in SequenceMatcher(None, joined, ids, autojunk=False).get_matching_blocks():
        owner |= {b + n: owners[a + n] for n in range(size)}
    inside = [[place for place in range(int(first), int(last))] for first, last in spans]
    owner = {place: owner[place] for span in inside for place in span if place in owner}
    there = {*owner.values()}
    known = [owner.get(place) for place in range(len(ids))]
    last = list(accumulate((-1 if one is None else one for one in known), max, initial=-1))  # before each place
    up = (len(words) if one is None else one for one in reversed(known))
    following = list(accumulate(up, min, initial=len(words)))[::-1][1:]  # behind each
    found: dict[int, list[int]] = {}
    for span in inside:
        for place in span:
            before, after = last[place], following[place]
            lost = [number for number in range(before + 1, after) if number not in there]
            own = owner.get(place, lost[0] if lost else before if place > span[0] and before >= 0 else after)
            found.setdefault(min(own, len(words) - 1), []).append(place)
    edges, end = [], 0
    for number in range(len(words)):
        places = found.get(number)
        begin = max(end, places[0]) if places else end
        end = max(begin, places[-1] + 1) if places else end
        edges.append((begin, end))
    return edges


def _encode_alone(tokenizer: Tokenizer, word: str) -> list[int]:
    try:
        ids = tokenizer.encode_known(word)[0]
    except UserError:  # it has no sound
        return []
    spans = tokenizer.word_spans(ids)
    end = spans[-1][1] if spans else len(ids)
    return ids[:end] + (ids[-1:] if end < len(ids) else [])  # with its blank, without the mark of a sentence's end


def spans_by_letters(words: Sequence[str], tokens: int) -> list[Span]:
    """Where each word's tokens begin and end, if tokens were spread evenly over the letters and the blanks between."""
    ends = np.cumsum([len(word) + 1 for word in words])
    share = tokens / (ends[-1] - 1) if len(words) else 0.0
    return [((end - len(word) - 1) * share, (end - 1) * share) for word, end in zip(words, ends.tolist())]


def _share(written: Sequence[str], spoken: Sequence[str]) -> list[int]:
    """Edges between the spoken words of each written one: evenly."""
    return [round(n * len(spoken) / len(written)) for n in range(len(written) + 1)]
