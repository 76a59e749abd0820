"""Languages by codes and names, and words that are in the letters of another."""

import pytest

from melle.data.index import tokens_of
from melle.errors import UserError
from melle.text.languages import check_script, find_language, foreign_words, language_code
from melle.text.phonemes import PhonemeTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PhonemeTokenizer:
    return PhonemeTokenizer.fit(["Four, two!", "seven nine"], language="en-us")


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
