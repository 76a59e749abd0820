"""Sentences of our own: spelling, numbers in words, templates that fill, what they sound like, and what is held out."""

import re
from itertools import pairwise

import numpy as np
import pytest

from melle.corpora.english import names
from melle.corpora.english.corpus import TeacherCorpus, read_sentences
from melle.corpora.english.lexicon import held_out, lines, plural, with_article, words
from melle.corpora.english.sentences import _slot, _templates, clock_time, sentence, sentences
from melle.errors import UserError
from melle.text.phonemes import PhonemeTokenizer

SECTIONS = (
    *("people", "animals", "things", "foods", "edibles", "places", "abstract", "materials", "adjectives", "days"),
    *("first_names", "surnames", "cities", "countries", "languages", "months"),
)


def test_plurals_and_articles():
    listed = [
        "box",
        "boxes",
        "city",
        "cities",
        "boy",
        "boys",
        "wolf",
        "wolves",
        "policeman",
        "policemen",
        "mouse",
        "mice",
        "potato",
        "potatoes",
        "watch",
        "watches",
        "sheep",
        "sheep",
        "leaf",
        "leaves",
        "roof",
        "roofs",
        "bus",
        "buses",
    ]
    assert {base: plural(base) for base in listed[::2]} == dict(zip(listed[::2], listed[1::2]))
    assert plural("walking stick") == "walking sticks"
    phrases = ("old dog", "hour", "university", "useful tool", "dog", "umbrella", "European", "uncle")
    assert [with_article(phrase).split()[0] for phrase in phrases] == ["an", "an", "a", "a", "a", "an", "a", "an"]


@pytest.mark.parametrize(
    "made, expected",
    [
        (clock_time(12, 0), "twelve o'clock"),
        (clock_time(12, 45), "a quarter to one"),
        (clock_time(6, 40), "twenty to seven"),
        (clock_time(6, 5), "five past six"),
    ],
)
def test_times_in_words(made, expected):
    assert made == expected


def test_the_lexicon():
    for section in SECTIONS:
        entries = words(section)
        assert len(entries) >= 7 and len(set(entries)) == len(entries)
        assert all(re.fullmatch(r"[A-Za-z][A-Za-z' ]*", entry) for entry in entries), section


def test_every_slot_of_every_template_can_be_filled():
    generator = np.random.default_rng(0)
    for name in {slot for line in lines("templates.txt") for slot in re.findall(r"\{([^{}]*)\}", line)}:
        assert re.fullmatch(r"[^{}()|]+", _slot(name, generator)), name
    with pytest.raises(ValueError, match="is no slot"):
        _slot("a b c d", generator)
    templates, shares = _templates()
    assert {*shares} < {*templates} and sum(shares.values()) > 90
    for line in lines("templates.txt"):
        assert line.count("(") == line.count(")") and line.count("{") == line.count("}"), line


def test_sentences_look_like_sentences():
    drawn = sentences(3000)
    assert drawn == sentences(4000)[:3000] and drawn != sentences(3000, seed=1) and len(set(drawn)) == 3000
    for text in drawn:
        assert re.fullmatch(r"[A-Z][A-Za-z',: -]*[.?!]", text), text
        assert "  " not in text and " ," not in text and ",," not in text and " ." not in text, text
        assert not re.search(r"\b[Aa] (apple|old|empty|angry|ugly|owl|island|engine|uncle)\b", text), text
        assert not re.search(r"\b[Aa]n (dog|box|uni|young|little|square)", text), text
    lengths = np.array([len(text.split()) for text in drawn])
    assert lengths.max() <= 40 and np.mean((lengths >= 10) & (lengths <= 25)) > 0.2 and np.mean(lengths == 1) > 0.02
    assert np.mean([text.endswith("?") for text in drawn]) > 0.1
    assert np.mean([text.endswith("!") for text in drawn]) > 0.05
    assert np.mean([" hundred" in text or " thousand" in text or "teen" in text for text in drawn]) > 0.04


@pytest.mark.parametrize("kind", ["questions", "exclamations", "long", "numbers", "names", "lists", "short"])
def test_every_kind_has_much_to_say(kind):
    generator = np.random.default_rng(1)
    assert len({sentence(generator, kind) for _ in range(400)}) > 200


def test_invented_names_can_be_read():
    generator = np.random.default_rng(3)
    drawn = {names.surname(generator) for _ in range(500)} | {names.place_name(generator) for _ in range(500)}
    assert len(drawn) > 400 and all(re.fullmatch(r"[A-Z][a-z]+( [A-Z][a-z]+)?", name) for name in drawn)


def test_training_sounds_like_what_is_held_out():
    """Every phoneme of the sentences held out, and nearly every pair of neighbours, occurs in training."""
    training = sentences(4000)
    tokenizer = PhonemeTokenizer.fit(training)
    known = {pair for text in training for pair in pairwise(tokenizer.encode(text))}
    pairs = [pair for text in (*held_out("validation"), *held_out("test")) for pair in pairwise(tokenizer.encode(text))]
    assert sum(pair in known for pair in pairs) / len(pairs) > 0.99


def test_what_is_held_out_is_not_trained():
    validation, test = held_out("validation"), held_out("test")
    assert len(validation) == 60 and len(test) > 200
    assert len({*validation, *test}) == len(validation) + len(test)
    assert {*validation, *test}.isdisjoint(sentences(3000))


def test_texts_of_ones_own(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffIt’s  late.\r\n\r\nWait…\n".encode())
    assert read_sentences(path) == ["It's late.", "Wait..."]
    path.write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="not UTF-8"):
        read_sentences(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="has no sentence"):
        read_sentences(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_sentences(tmp_path)


def test_other_languages_need_texts_of_their_own(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("Bonjour.\nMerci.\n")
    with pytest.raises(UserError, match="for fr-fr give --texts and --held-out-texts"):
        TeacherCorpus(tmp_path / "french", tmp_path, language="fr-fr").speak()
    with pytest.raises(UserError, match="has 2 sentences; give four"):
        TeacherCorpus(tmp_path / "french", tmp_path, [path], language="fr-fr", held_out_texts=path).speak()
    with pytest.raises(UserError, match="--teacher-model"):
        TeacherCorpus(tmp_path / "english").speak()
