"""Marks around texts: once a row, whatever shares it, and the same for training, validation and synthesis."""

import string

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from melle.data.batch import Row, collate, join_text
from melle.data.datamodule import MelleDataModule
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.text import EOS, Marks, marks_of, tokenizer_from_dict
from melle.text.subwords import SubwordTokenizer, is_spaced
from melle.text.symbols import SymbolTokenizer
from melle.training.module import swap_words

BOS = 9


def test_a_row_has_its_marks_once():
    ids, owners = join_text([[5, 6], [7]], Marks(bos=BOS))
    assert ids.tolist() == [BOS, 5, 6, 7, EOS] and owners.tolist() == [0, 0, 0, 1, 1]
    ids, owners = join_text([[5, 6], [7]], Marks(eos=None))
    assert ids.tolist() == [5, 6, 7] and owners.tolist() == [0, 0, 1]
    assert marks_of(SymbolTokenizer("characters", "ab")) == Marks(None, EOS)


def test_what_is_due_counts_the_begin_mark():
    pace = [torch.tensor([[0.0, 4.0], [0.0, 2.0]])]
    rows = [Row([[5, 6]], [torch.zeros(4, 3)], ["a"], pace=pace)]
    plain, marked = (collate(rows, 1, 3, marks=marks).due for marks in (Marks(), Marks(bos=BOS)))
    assert torch.equal(marked, plain + 1)


def test_swapped_words_keep_the_marks():
    rows = [Row([tokens], [torch.zeros(4, 3)], ["a"]) for tokens in ([2, 3, 4], [5, 6], [7])]
    for marks, ends in ((Marks(BOS, EOS), (1, 1)), (Marks(), (0, 1)), (Marks(None, None), (0, 0))):
        batch = collate(rows, 1, 3, marks)
        swapped = swap_words(batch, marks)
        for row, words in enumerate(([5, 6, 5], [7, 7], [2])):
            first, last = ends
            length = len(words) + first + last
            assert swapped.text[row, first : first + len(words)].tolist() == words
            for kept in (swapped.text[row, :first], swapped.text[row, first + len(words) : length]):
                assert all(mark in (BOS, EOS) for mark in kept.tolist())
    alone = collate(rows[:1], 1, 3, Marks(BOS, EOS))
    assert swap_words(alone, Marks(BOS, EOS)).text.tolist() == [[BOS, 4, 3, 2, EOS]]


def test_a_tokenizer_keeps_its_marks_and_case():
    plain = SubwordTokenizer.fit(["the newer tower"] * 3, vocab_size=30)
    assert set(plain.as_dict()) == {"kind", "description"}  # as before there were marks
    description = plain.as_dict()["description"]
    marked = SubwordTokenizer(description, bos="<unk>", eos=False, upper=False)
    again = tokenizer_from_dict(marked.as_dict())
    assert again.marks == marked.marks == Marks(2, None) and again.encode("tower") == plain.encode("tower")
    assert tokenizer_from_dict(SubwordTokenizer(description, upper=True).as_dict()).upper
    with pytest.raises(UserError, match=r"no token '<s>'"):
        SubwordTokenizer(description, bos="<s>")


def fit(texts):
    """A tokenizer with a begin mark, learned from the texts."""
    return SubwordTokenizer(SubwordTokenizer.fit(texts, vocab_size=60).as_dict()["description"], bos="<unk>")


def test_training_and_validation_read_the_marks_and_keep_within_positions(tone_manifests, tmp_path):
    paths = tone_manifests / "train.jsonl", tone_manifests / "val.jsonl"
    data = MelleDataModule(*paths, 1, fit, index=tmp_path, batch_frames=600, max_join=2, max_skipped=1.0)
    data.setup()
    tokens = data.datasets["train"].index.column("tokens")
    data.keep_within(int(tokens.max()) + 2, 10**6)  # the longest text fits with both marks
    assert len(data.datasets["train"].index) and not data.skipped["train"].counts
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        for text, length in zip(batch.text.tolist(), batch.text_lengths.tolist()):
            assert text[0] == 2 and text[length - 1] == EOS and text[:length].count(2) == 1
    data.keep_within(int(tokens.max()) + 1, 10**6)
    assert data.skipped["train"].counts


def test_in_a_row_a_byte_level_text_begins_with_the_space_before_it(tone_manifests, tmp_path):
    library = Tokenizer(models.BPE({letter: n for n, letter in enumerate(string.ascii_lowercase + "Ġ")}, []))
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    assert is_spaced(library.to_str()) and not is_spaced(fit(["one a a"]).as_dict()["description"])
    tokenizer = SubwordTokenizer(library.to_str(), spaced=True)
    assert tokenizer_from_dict(tokenizer.as_dict()).encode("one", follows=True) == [2 + 26, *tokenizer.encode("one")]
    paths = tone_manifests / "train.jsonl", tone_manifests / "val.jsonl"
    said = {utterance.id: utterance.transcription for path in paths for utterance in read_manifest(path)}
    data = MelleDataModule(*paths, 1, lambda texts: tokenizer, index=tmp_path, batch_frames=600, max_join=3)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert max(map(len, batch.ids)) > 1
    for row, ids in zip(batch.text.tolist(), batch.ids):
        assert tokenizer.decode(row) == " ".join(said[id] for id in ids)
