import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.errors import UserError
from melle.evaluation.judges.normalisers import NAMES, make_normaliser, spell_digits

PLAIN = st.lists(st.sampled_from(["the", "cat", "sat", "quite", "quickly", "zebra", "stone"]), max_size=8)
PUNCTUATION = st.sampled_from(["", ",", ".", "!", "?", ";", " -", "...", '"', "”"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("427", "four two seven"),
        ("4, 2-7.", "four two seven"),
        ("Nine one, ZERO!", "nine one zero"),
        ("for two ate", "for two ate"),  # homophones are errors and stay so
        ("don't stop_now", "dont stop now"),
        ("  “été”\n10 ", "été one zero"),
        ("...", ""),
    ],
)
def test_digits(text, expected):
    assert spell_digits(text) == expected
    assert spell_digits(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith can't pay, won’t he?", "mister smith can not pay will not he"),
        ("Twenty-one men and two thousand five women", "21 men and 2005 women"),
        ("Um, it's 1,000 [noise] (sic) now.", "it is 1000 now"),
        ("NAÏVE café", "naive cafe"),
        ("It costs $3.50, or 10% more", "it costs $3.50 or 10% more"),
        ("the colour", "the colour"),  # without the table of spellings
        ("wait ...", "wait"),
        ("", ""),
    ],
)
def test_english(text, expected):
    assert make_normaliser("english")(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ça va, l’été ?  10 %", "ça va l été 10"),
        ("¡Twenty-one, Señor!", "twenty one señor"),
        ("Straße [Lärm] (sic)", "straße"),
        ("...", ""),
    ],
)
def test_basic(text, expected):
    assert make_normaliser("basic")(text) == expected


@pytest.mark.parametrize("name", NAMES)
def test_plain_words_stay_and_capitals_and_punctuation_go(name):
    normalise = make_normaliser(name)

    @settings(deadline=None)
    @given(PLAIN, st.data())
    def check(words, data):
        plain = " ".join(words)
        assert normalise(plain) == plain
        marked = " ".join(word.title() + data.draw(PUNCTUATION) for word in words)
        assert normalise(f" {marked}\n") == plain

    check()


def test_a_normaliser_is_made_once():
    assert make_normaliser("english") is make_normaliser("english")


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(UserError, match=r"^normaliser=german: choose one of english, basic, digits$"):
        make_normaliser("german")


@pytest.mark.parametrize("name", ["english", "basic"])
def test_missing_transformers_names_the_command(monkeypatch, name):
    make_normaliser.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers.models.whisper.english_normalizer", None)
    with pytest.raises(UserError, match=r"python -m pip install -e \"\.\[eval\]\""):
        make_normaliser(name)
    assert make_normaliser("digits")("42") == "four two"
