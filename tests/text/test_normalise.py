"""One way of writing a text before it is tokenised, and no refusal of the rest for what is not known."""

import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melle.errors import UserError
from melle.synthesis.chunking import list_texts
from melle.text.normalise import normalise
from melle.text.symbols import SymbolTokenizer


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("“It’s” ‘so’ «here» ‹there›", "\"It's\" 'so' \"here\" 'there'"),
        ("well—known – a‐b, 10–20, −5…", "well—known — a-b, 10-20, -5..."),
        ("cafe\u0301 A\u030a", "café Å"),
        ("\ufeffzero\u200bwidth so\u00adft \u202aleft\u202c", "zerowidth soft left"),
        (" a\u00a0b\u2028c\td  e ", "a b c d e"),
        ("👩\u200d🚀\ufe0f", "👩🚀"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # here it tells two parts of a word apart
    ],
)
def test_what_looks_the_same_is_written_the_same(written, plain):
    assert normalise(written) == plain


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "the text is None"),
        (5, "the text is 5"),
        (b"one", "the text is b'one'"),
        (["one", None], "the text is None"),
        ("hi \ud800", "half of a character"),
        (["one", "\udcff\udcfe hi"], "half of a character"),
    ],
)
def test_what_is_no_text_is_said_in_one_sentence(text, said):
    with pytest.raises(UserError, match=said):
        list_texts(text)
    with pytest.raises(UserError, match=said):
        normalise(text[-1] if isinstance(text, list) else text)


@given(st.text())
def test_normal_texts_stay(text):
    once = normalise(text)
    assert normalise(once) == once == unicodedata.normalize("NFC", once)
    assert once == " ".join(once.split()) and not set(once) & set("‘’“”„‒–\u200b\ufeff…")


@given(st.text(alphabet="abcdefghij ,.'-", min_size=1).filter(str.strip))
def test_plain_text_stays(text):
    assert normalise(text) == " ".join(text.split())


@pytest.fixture
def letters() -> SymbolTokenizer:
    return SymbolTokenizer.fit(["the quick brown fox jumps over the lazy dog, isn't it - well."], "characters")


def test_what_is_not_known_is_left_out_and_logged_once_for_each_text(letters, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        assert letters.decode(letters.encode("two×three 😀 four")) == "two three four"
    assert caplog.text.count("does not know") == 1 and "'×' '😀'" in caplog.text
    assert letters.decode(letters.encode("five × six")) == "five six"
    assert caplog.text.count("does not know") == 2
    letters.encode("it isn’t — is it?".replace("?", "."))
    assert caplog.text.count("does not know") == 2  # other spellings of what is known


def test_letters_with_marks_are_read_without_them_where_they_are_not_known(letters):
    assert letters.decode(letters.encode("Café—naïve", strict=True)) == "cafe - naive"


def test_training_refuses_what_would_leave_out_words_and_keeps_the_rest(letters):
    assert letters.encode("five × six", strict=True) == letters.encode("five six")
    with pytest.raises(UserError, match="never learned: '7'"):
        letters.encode("five 7 six", strict=True)
    words = SymbolTokenizer.fit(["one two"], "words")
    assert words.encode("“One,” two!") == words.encode("one two") == words.encode("one three two")
    with pytest.raises(UserError, match="never learned: 'three'"):
        words.encode("one three two", strict=True)


def test_models_from_before_know_their_texts_as_they_were_written():
    old = SymbolTokenizer("characters", "abcdefghijklmnopqrstuvwxyz’\u0301 ")
    assert old.decode(old.encode("It’s café", strict=True)) == "it’s cafe\u0301"
    assert old.encode("It's café", strict=True) == old.encode("It’s cafe\u0301", strict=True)
