import pytest
from hypothesis import given
from hypothesis import strategies as st

from melle.errors import UserError
from melle.text import EOS, PAD, tokenizer_from_dict
from melle.text.symbols import SymbolTokenizer


@given(st.text(alphabet="abc deé", min_size=1).filter(str.strip), st.sampled_from(["words", "characters"]))
def test_decode_inverts_encode(text, unit):
    tokenizer = SymbolTokenizer.fit([text], unit)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == " ".join(text.lower().split())
    assert all(PAD < EOS < i < tokenizer.vocab_size for i in ids)
    again = tokenizer_from_dict(tokenizer.as_dict())
    assert again.encode(text) == ids


def test_unknown_symbols_are_named():
    tokenizer = SymbolTokenizer.fit(["one two"], "words")
    with pytest.raises(UserError, match=r"hello.*it knows: one two"):
        tokenizer.encode("one hello", strict=True)
    with pytest.raises(UserError, match="hello"):
        tokenizer.encode("hello")
    with pytest.raises(UserError, match="empty"):
        tokenizer.encode("  ")
    with pytest.raises(UserError, match="characters or words"):
        SymbolTokenizer("bytes", [])
