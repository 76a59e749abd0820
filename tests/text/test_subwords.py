import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from melle.cli import make_parser
from melle.errors import UserError
from melle.text import EOS, tokenizer_from_dict
from melle.text.subwords import SubwordTokenizer, open_pretrained
from tests.test_cli import options_of

CONF = Path(__file__).parents[2] / "conf"

TEXTS = ["the lower the newer", "a newer lower tower", "it’s the widest"] * 3


@pytest.fixture(scope="module")
def bpe() -> SubwordTokenizer:
    return SubwordTokenizer.fit(TEXTS, vocab_size=40)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["the", "lower", "newest", "WIDE", "a", "tower", "it’s"]), min_size=1).map(" ".join))
def test_decode_inverts_encode_and_the_checkpoint_keeps_it(text):
    tokenizer = SubwordTokenizer.fit(TEXTS, vocab_size=40)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text.lower().replace("’", "'")
    assert all(EOS < id < tokenizer.vocab_size for id in ids)
    for again in (tokenizer_from_dict(tokenizer.as_dict()), pickle.loads(pickle.dumps(tokenizer))):
        assert again.encode(text) == ids and again.vocab_size == tokenizer.vocab_size


def test_frequent_pairs_become_one_piece(bpe):
    assert bpe.vocab_size <= 42
    assert len(bpe.encode("the")) == 1 and len(bpe.encode("eth")) > 1
    letters = SubwordTokenizer.fit(TEXTS, vocab_size=2)
    assert len(letters.encode("the")) == 4  # and the blank before it


def test_what_cannot_be_expressed_is_named(bpe):
    with pytest.raises(UserError, match="cannot express: 'p x y z'"):
        bpe.encode("the xylophone zoo", strict=True)
    assert bpe.decode(bpe.encode("the × lower 😀")).split() == ["the", "lower"]
    with pytest.raises(UserError, match="empty"):
        bpe.encode(" ")
    with pytest.raises(UserError, match="vocab_size=1"):
        SubwordTokenizer.fit(TEXTS, vocab_size=1)


def test_a_tokenizer_from_before_texts_were_normalised_knows_them_as_written():
    library = Tokenizer(models.WordLevel({"<unk>": 0, "it’s": 1, "nine": 2}, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    old = SubwordTokenizer(library.to_str())
    assert old.encode("it’s nine", strict=True) == [3, 4]


def test_a_hugging_face_tokenizer_comes_from_a_folder(tmp_path):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]", "[CLS]"]))
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]")
    theirs.save_pretrained(tmp_path / "tokenizer")
    ours = SubwordTokenizer.from_pretrained([], str(tmp_path / "tokenizer"))
    expected = theirs.encode("the newer tower", add_special_tokens=False)
    assert [id - 2 for id in ours.encode("the newer tower")] == expected
    assert ours.vocab_size == len(theirs) + 2
    with pytest.raises(UserError, match="cannot express: 'ö'"):
        ours.encode("the ö", strict=True)
    assert ours.encode("the ö") == ours.encode("the")
    with pytest.raises(UserError, match=r"tokenizer\.name=.*nowhere: no such file or folder$"):
        SubwordTokenizer.from_pretrained([], str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"tokenizer .*empty cannot be loaded.*local folder"):
        SubwordTokenizer.from_pretrained([], str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"tokenizer\.name: give"):
        SubwordTokenizer.from_pretrained([], None)


def test_the_hub_is_asked_only_for_names_that_say_so(tmp_path, monkeypatch):
    asked = []

    def from_pretrained(name, **options):
        asked.append((name, options.get("revision"), options.get("local_files_only", False)))
        raise OSError("no network here")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("hf://me/tokenizer", "hf://me/tokenizer@abc123", "mine"):
        with pytest.raises(UserError, match=f"{name} cannot be loaded"):
            open_pretrained(name)
    assert asked == [("me/tokenizer", "main", False), ("me/tokenizer", "abc123", False), ("mine", "main", True)]
    with pytest.raises(UserError, match=r"tokenizer\.name=runs/mien: no such file or folder; .* hf://runs/mien$"):
        open_pretrained("runs/mien")
    assert len(asked) == 3


def test_our_configuration_names_revisions():
    """What is asked for without being named by the user is what it was when it was tried."""
    # NVIDIA's NeMo has no way to name a revision.
    files = [path for path in sorted(CONF.glob("**/*.yaml")) if path.name != "conformer_transducer.yaml"]
    named = [line for path in files for line in path.read_text().splitlines()]
    values = [line for line in named if re.match(r"\s*\w+: hf://", line)]
    assert len(values) >= 3 and all(re.search(r"hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}\b", line) for line in values)
    defaults = [str(action.default) for action in options_of(make_parser(complete=True))]
    named = [default for default in defaults if default.startswith("hf://")]
    assert named and all(re.fullmatch(r"hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}", default) for default in named)
