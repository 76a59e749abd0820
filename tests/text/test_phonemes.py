import pickle
import sys

import pytest

from melle.errors import UserError
from melle.text import FIRST, tokenizer_from_dict
from melle.text.phonemes import PhonemeTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PhonemeTokenizer:
    return PhonemeTokenizer.fit(["Four, two!", "seven nine"], language="en-us")


def test_text_becomes_ipa(tokenizer):
    assert tokenizer.decode(tokenizer.encode("two  Nine")) == "tˈuː nˈaɪn"
    assert tokenizer.encode("2") == tokenizer.encode("two") == tokenizer.encode("too")
    assert max(tokenizer.encode("four two seven nine")) < tokenizer.vocab_size <= FIRST + 20


def test_marks_are_kept_where_speech_pauses():
    marked = PhonemeTokenizer.fit(
        ["Four, two! Is it seven?", "Nine. 4,249. St Ives", "Is it I, or B?"], punctuation=True
    )
    plain = PhonemeTokenizer.fit(["Four, two! Is it seven?", "Nine. 4,249. St Ives", "Is it I, or B?"])

    def say(text):
        return marked.decode(marked.encode(text))

    def words(text):
        return plain.decode(plain.encode(text))

    four, two, seven, nine = (words(word) for word in ("four", "two", "seven", "nine"))
    assert say("Four, two! Seven?") == f"{four}, {two}! {seven}?"
    assert say("(Four); two — seven… “Nine.”") == f"{four}, {two}, {seven}. {nine}."
    assert say("4,249.") == words("4,249") + "." and "," not in words("4,249")  # no pause within a number
    assert say("St. Ives") == say("St Ives")
    for letter in "I", "B":  # only after the point of an initial nobody pauses
        assert say(f"Is it {letter}?") == words(f"Is it {letter}") + "?"
        assert say(f"{letter}, four!") == f"{words(letter)}, {four}!"
    assert (say("I. Nine."), say("B. Nine.")) == (f"{words('I')}. {nine}.", words("B. Nine") + ".")
    for again in (tokenizer_from_dict(marked.as_dict()), pickle.loads(pickle.dumps(marked))):
        assert again.encode("Nine, four.") == marked.encode("Nine, four.")
    unmarked = PhonemeTokenizer("en-us", plain.as_dict()["symbols"], punctuation=True)
    assert unmarked.encode("Nine, four.") == plain.encode("nine four")
    old = {name: value for name, value in plain.as_dict().items() if name != "punctuation"}  # of earlier checkpoints
    assert tokenizer_from_dict(old).encode("Nine, four.") == plain.encode("nine four")
    for text in ("…", "?!", "“”"):
        with pytest.raises(UserError, match="no sound"):
            marked.encode(text)


def test_a_text_without_a_last_mark_ends_as_a_sentence():
    """Where "." was learned, so that what follows in a row is known to be another utterance."""
    marked = PhonemeTokenizer.fit(["Four, two! Seven?", "Nine."], punctuation=True)

    def say(tokenizer, text):
        return tokenizer.decode(tokenizer.encode(text))

    for text in ("four seven", "four, seven", "nine “two”"):
        assert say(marked, text) == say(marked, f"{text}.") == say(marked, f"{text}!")[:-1] + "."
    for text, mark in (("Four two!", "!"), ("Seven?", "?"), ("Nine,", ","), ("Nine…", ".")):
        assert say(marked, text)[-1] == mark and say(marked, text)[-2] not in ",.?!"
    for fitted in (["Four, two! Seven?", "Nine"], ["four two seven nine"]):  # "." was never seen
        assert say(PhonemeTokenizer.fit(fitted, punctuation=True), "nine two")[-1] not in ",.?!"
    assert "." not in say(PhonemeTokenizer.fit(["Four.", "two"]), "four")


def test_the_language_matters():
    french = PhonemeTokenizer.fit(["chat"], "fr-fr")
    assert french.decode(french.encode("chat")) == "ʃˈa"


def test_what_is_written_otherwise_is_said_the_same(tokenizer):
    marked = PhonemeTokenizer.fit(["“It’s nine,” said the café."], punctuation=True)
    plain = marked.encode('"It\'s nine," said the café.')
    assert marked.encode("“It\u200b’s nine,” said the cafe\u0301.") == plain


def test_checkpoints_and_loader_processes_get_the_same(tokenizer):
    for again in (tokenizer_from_dict(tokenizer.as_dict()), pickle.loads(pickle.dumps(tokenizer))):
        assert again.encode("two nine") == tokenizer.encode("two nine")


def test_errors_say_what_to_do(tokenizer, monkeypatch):
    with pytest.raises(UserError, match="never learned"):
        tokenizer.encode("she", strict=True)
    with pytest.raises(UserError, match="empty"):
        tokenizer.encode("")
    with pytest.raises(UserError, match="no sound"):
        tokenizer.encode("…")
    with pytest.raises(UserError, match="no such language"):
        PhonemeTokenizer("xx", [])
    monkeypatch.setitem(sys.modules, "phonemizer.backend", None)
    with pytest.raises(UserError, match=r'"\.\[phonemes\]"'):
        PhonemeTokenizer("en-us", [])


def test_words_that_espeak_runs_together_are_no_warning(caplog):
    tokenizer = PhonemeTokenizer.fit(["in the end of the day"])
    assert len(tokenizer.decode(tokenizer.encode("in the end of the day")).split()) < 6
    assert not caplog.records
