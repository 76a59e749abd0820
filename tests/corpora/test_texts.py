"""Synthetic English: spelling of endings, the grammar's sentences, their sounds, and what is held out."""

import re
from itertools import pairwise

import numpy as np
import pytest

from melle.corpora.english import names
from melle.corpora.english.corpus import sentences as own_sentences
from melle.corpora.english.grammar import Grammar
from melle.corpora.english.inflection import past, plural, progressive, third_person, with_article
from melle.corpora.english.lexicon import Verb, held_out, verbs, words

SECTIONS = (
    *("people", "animals", "things", "foods", "places", "abstract", "body", "materials", "adjectives", "adverbs"),
    *("first_names", "surnames", "cities", "countries", "languages", "days", "months", "units", "small_phrases"),
    *("joins", "openings", "positions"),
)


def sentences(count, seed=0):
    grammar = Grammar(np.random.default_rng(seed))
    return [grammar.sentence() for _ in range(count)]


@pytest.mark.parametrize(
    "ending, forms",
    [
        (plural, "box boxes city cities boy boys wolf wolves policeman policemen mouse mice potato potatoes "
                 "watch watches sheep sheep leaf leaves roof roofs bus buses"),
        (third_person, "wash washes carry carries play plays go goes mix mixes catch catches take takes have has"),
        (progressive, "hope hoping hop hopping run running lie lying see seeing open opening begin beginning "
                      "rain raining travel travelling dig digging eat eating swim swimming agree agreeing"),
        (past, "stop stopped carry carried play played hope hoped open opened fix fixed travel travelled peel peeled"),
    ],
)  # fmt: skip
def test_endings(ending, forms):
    listed = forms.split()
    assert {base: ending(base) for base in listed[::2]} == dict(zip(listed[::2], listed[1::2]))


def test_the_word_that_carries_the_ending():
    assert plural("walking stick") == "walking sticks"
    assert third_person("wake up") == "wakes up" and progressive("lie down") == "lying down"
    assert past("hurry up") == "hurried up"
    phrases = ("old dog", "hour", "university", "useful tool", "dog", "umbrella", "European", "uncle")
    assert [with_article(phrase).split()[0] for phrase in phrases] == ["an", "an", "a", "a", "a", "an", "a", "an"]


def test_the_lexicon():
    for section in SECTIONS:
        entries = words(section)
        assert len(entries) >= 7 and len(set(entries)) == len(entries)
        assert all(re.fullmatch(r"[A-Za-z][A-Za-z' ]*", entry) for entry in entries), section
    for section in ("verbs_with_object", "verbs_with_food", "verbs_alone", "verbs_of_saying"):
        for verb in verbs(section):
            assert all(re.fullmatch(r"[a-z]+( [a-z]+)?", form) for form in verb), verb
    assert Verb("stop", "stopped", "stopped") in verbs("verbs_alone")
    assert Verb("take", "took", "taken") in verbs("verbs_with_object")


def test_sentences_look_like_sentences():
    drawn = sentences(3000)
    assert drawn == sentences(3000) and drawn != sentences(3000, seed=1)
    assert len(set(drawn)) > 2900
    for sentence in drawn:
        assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9',: -]*[.?!]", sentence), sentence
        assert "  " not in sentence and " ," not in sentence and ",," not in sentence, sentence
        assert not re.search(r"\b[Aa] (apple|old|empty|angry|ugly|owl|island|engine|uncle)\b", sentence), sentence
        assert not re.search(r"\b[Aa]n (dog|box|uni|young|little|square)", sentence), sentence
        assert len(sentence.split()) <= 40
    assert sum(any(letter.isdigit() for letter in sentence) for sentence in drawn) > 150
    assert sum(sentence.endswith("?") for sentence in drawn) > 200
    assert sum(len(sentence.split()) <= 2 for sentence in drawn) > 50


def test_invented_names_can_be_read():
    generator = np.random.default_rng(3)
    drawn = {names.surname(generator) for _ in range(500)} | {names.place_name(generator) for _ in range(500)}
    assert len(drawn) > 400 and all(re.fullmatch(r"[A-Z][a-z]+( [A-Z][a-z]+)?", name) for name in drawn)


def test_training_sounds_like_what_is_held_out():
    """Every phoneme of the sentences held out, and nearly every pair of neighbours, occurs in training."""
    from melle.text.phonemes import PhonemeTokenizer

    training = own_sentences(4000)
    tokenizer = PhonemeTokenizer.fit(training)
    known = {pair for text in training for pair in pairwise(tokenizer.encode(text))}
    pairs = [pair for text in (*held_out("validation"), *held_out("test")) for pair in pairwise(tokenizer.encode(text))]
    assert sum(pair in known for pair in pairs) / len(pairs) > 0.995


def test_what_is_held_out_is_not_trained():
    validation, test = held_out("validation"), held_out("test")
    assert len(validation) == 60 and len(test) > 200
    assert len({*validation, *test}) == len(validation) + len(test)
    training = own_sentences(5000)
    assert len(set(training)) == len(training) == 5000
    assert {*validation, *test}.isdisjoint(training)
