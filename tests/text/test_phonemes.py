import pickle
import sys

import pytest

from melle.data.index import tokens_of
from melle.errors import UserError
from melle.text import FIRST, tokenizer_from_dict
from melle.text.languages import check_script, find_language, foreign_words, language_code
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
    assert (say("I. Nine"), say("B. Nine")) == (f"{words('I')}. {nine}", words("B. Nine"))
    for again in (tokenizer_from_dict(marked.as_dict()), pickle.loads(pickle.dumps(marked))):
        assert again.encode("Nine, four.") == marked.encode("Nine, four.")
    unmarked = PhonemeTokenizer("en-us", plain.as_dict()["symbols"], punctuation=True)
    assert unmarked.encode("Nine, four.") == plain.encode("nine four")
    old = {name: value for name, value in plain.as_dict().items() if name != "punctuation"}  # of earlier checkpoints
    assert tokenizer_from_dict(old).encode("Nine, four.") == plain.encode("nine four")
    for text in ("…", "?!", "“”"):
        with pytest.raises(UserError, match="no sound"):
            marked.encode(text)


def test_the_language_matters():
    french = PhonemeTokenizer.fit(["chat"], "fr-fr")
    assert french.decode(french.encode("chat")) == "ʃˈa"


def test_languages_are_told_apart_by_their_codes(tokenizer):
    assert all(tokenizer.speaks(language) for language in (None, "en", "en-GB", "eng", "en_us"))
    assert not any(tokenizer.speaks(language) for language in ("fr", "fra", "de-DE", "cmn"))


@pytest.mark.parametrize("name", ["English", "english", "American English", "English (US)", " English"])
def test_a_language_may_be_named_in_words(tokenizer, name):
    """As the lists of LibriSpeech, LibriTTS and LJSpeech have it."""
    assert tokens_of("nine", name, tokenizer)[0] == tokenizer.encode("nine")


def test_names_of_languages_are_their_codes():
    codes = {"French": "fr", "German": "de", "Deutsch": "de", "Español": "es", "Italian": "it", "Portuguese": "pt"}
    codes |= {"Chinese": "zh", "Mandarin": "cmn", "Polish": "pl", "Norwegian": "nob", "Klingon": "klingon"}
    assert all(language_code(name) == language_code(code) for name, code in codes.items())
    assert len({language_code(code) for code in codes.values()}) == 9


def test_lines_in_a_language_of_another_name_are_left_out(tokenizer):
    with pytest.raises(UserError, match=r"its language is French, and tokenizer\.language=en-us"):
        tokens_of("nine", "French", tokenizer)


def test_a_text_in_a_language_that_the_tokenizer_reads_wrongly_is_a_warning_once(tokenizer, caplog):
    french = PhonemeTokenizer.fit(["chat"], "fr-fr")
    assert (find_language(None, tokenizer), find_language(None, french)) == ("en", "fr")
    assert (find_language("en-gb", tokenizer), find_language("fr", french)) == ("en-gb", "fr") and not caplog.records
    assert find_language("fr", tokenizer) == find_language("fr", tokenizer) == "fr"
    assert caplog.messages == ["language fr: the model reads every text as en-us; take a model of that language"]


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


@pytest.mark.parametrize("text", ["Привет, мир", "你好世界", "مرحبا", "Ελλάδα"])
def test_another_script_is_refused_rather_than_spelled(text, tokenizer):
    with pytest.raises(UserError, match="letters, which a model of en-us does not read"):
        tokenizer.encode(text)
    with pytest.raises(UserError, match="does not read"):
        tokenizer.encode(f"four {text}", strict=True)


def test_words_of_another_script_are_left_out_and_said(tokenizer, caplog):
    assert tokenizer.encode("four мир two 世界") == tokenizer.encode("four two")
    assert "'мир' '世界'" in caplog.text
    assert not foreign_words("four é ü π µ", "en-us")
    with pytest.raises(UserError, match="'мир' is written in Cyrillic"):
        check_script("two мир", tokenizer)
    check_script("two é", tokenizer)
    assert foreign_words("мир", "ru") == [] == foreign_words("мир", None)
    assert foreign_words("東京 Привет", "ja") == ["Привет"]
