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


def test_the_language_matters():
    french = PhonemeTokenizer.fit(["chat"], "fr-fr")
    assert french.decode(french.encode("chat")) == "ʃˈa"


def test_checkpoints_and_loader_processes_get_the_same(tokenizer):
    for again in (tokenizer_from_dict(tokenizer.as_dict()), pickle.loads(pickle.dumps(tokenizer))):
        assert again.encode("two nine") == tokenizer.encode("two nine")


def test_errors_say_what_to_do(tokenizer, monkeypatch):
    with pytest.raises(UserError, match="never learned"):
        tokenizer.encode("she")
    with pytest.raises(UserError, match="empty"):
        tokenizer.encode("")
    with pytest.raises(UserError, match="no sound"):
        tokenizer.encode("…")
    with pytest.raises(UserError, match="no such language"):
        PhonemeTokenizer("xx", [])
    monkeypatch.setitem(sys.modules, "phonemizer.backend", None)
    with pytest.raises(UserError, match=r'"\.\[phonemes\]"'):
        PhonemeTokenizer("en-us", [])
