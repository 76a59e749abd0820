"""Times of words lead from the manifest to the token that each step is due at."""

import json

import numpy as np
import pytest
import torch

from melle.audio import MelSpec
from melle.data.batch import Row, collate, word_pace
from melle.data.dataset import UtteranceDataset
from melle.data.manifest import Utterance, parse_line, read_manifest, write_manifest
from melle.errors import DataError
from melle.text.phonemes import PhonemeTokenizer
from melle.text.symbols import SymbolTokenizer
from melle.text.words import word_tokens


def line(words: object) -> bytes:
    return json.dumps({"transcription": "one two", "audio_path": "a.wav", "words": words}).encode()


def test_a_manifest_keeps_the_times_of_words(tmp_path):
    words = ((0.1, 0.4), (0.5, 0.9))
    write_manifest(tmp_path / "a.jsonl", [Utterance("one two", tmp_path / "a.wav", "a", words=words)])
    assert read_manifest(tmp_path / "a.jsonl")[0].words == words
    assert parse_line(line(None), tmp_path / "a.jsonl", 1).words is None


@pytest.mark.parametrize(
    "words",
    ["one", [0.1, 0.4], [[0.1]], [[0.4, 0.1]], [[-1, 0.1]], [[0.5, 0.6], [0.1, 0.2]], [[True, 2]], [["a", "b"]]],
)
def test_times_that_are_none_are_refused(words, tmp_path):
    with pytest.raises(DataError, match=r'line 3: "words" must be a list of \[begin, end\]'):
        parse_line(line(words), tmp_path / "a.jsonl", 3)


def test_words_are_found_among_tokens():
    characters = SymbolTokenizer.fit(["one two"], "characters")
    assert characters.word_spans(characters.encode("two one")) == [(0, 3), (4, 7)]
    words = SymbolTokenizer.fit(["one two"], "words")
    assert words.word_spans(words.encode("two one two")) == [(0, 1), (1, 2), (2, 3)]
    phonemes = PhonemeTokenizer.fit(["Well, no!", "Yes? I am."], punctuation=True)
    ids = phonemes.encode("Yes, no. Well!")
    found = [phonemes.decode(ids[start:end]) for start, end in phonemes.word_spans(ids)]
    assert found == [phonemes.decode(phonemes.encode(word)).rstrip(" .") for word in ("Yes", "no", "Well")]


def test_each_step_is_due_where_the_words_say():
    """Two utterances in a row and one alone, against a naive walk along the words."""
    r = 2
    first = word_pace([(2.0, 6.0), (9.0, 12.0)], [(0, 3), (4, 7)], 8)  # frames
    rows = [
        Row([[5] * 8, [6] * 4], [torch.zeros(15, 80), torch.zeros(10, 80)], ["a", "b"], pace=[first, None]),
        Row([[5] * 8], [torch.zeros(16, 80)], ["c"], pace=[first]),
    ]
    due = collate(rows, r).due

    def naive(frame: float) -> float:
        for (begin, end), (start, stop) in (((0, 2), (0, 0)), ((2, 6), (0, 3)), ((6, 9), (3, 4)), ((9, 12), (4, 7))):
            if begin <= frame < end:
                return start + (frame - begin) / (end - begin) * (stop - start)
        return 8.0

    expected = [naive((k + 0.5) * r) for k in range(8)]
    np.testing.assert_allclose(due[1, :8], expected, rtol=1e-5)
    np.testing.assert_allclose(due[0, :7], expected[:7], rtol=1e-5)  # its last frame fills no step
    assert due[0, 7:].isnan().all() and due.shape == (2, 12)


def test_where_words_cannot_be_told_apart_one_line_leads_from_first_to_last():
    pace = word_pace([(1.0, 2.0), (5.0, 9.0)], [(0, 10)], 10)
    assert np.interp([0.0, 1.0, 5.0, 9.0, 20.0], *pace.numpy()).tolist() == [0.0, 0.0, 5.0, 10.0, 10.0]


def test_words_that_the_tokenizer_joins_share_its_tokens_by_their_letters():
    """Of "go in the end" espeak says three words: edges of written ones are due within two tokens of their places."""
    tokenizer = PhonemeTokenizer.fit(["go in the end"])
    tokens = tokenizer.encode("go in the end")
    spans = tokenizer.word_spans(tokens)
    assert len(spans) == 3
    times = [(0.0, 4.0), (5.0, 7.0), (7.0, 9.0), (31.0, 34.0)]  # a pause before the last
    pace = word_pace(times, spans, len(tokens), "go in the — end").numpy()
    due = np.interp([4.0, 5.0, 9.0, 31.0], *pace)
    assert np.abs(due - [spans[0][1], spans[1][0], spans[1][1], spans[2][0]]).max() < 2
    assert (np.diff(pace) >= 0).all() and pace[1, 0] == 0 and pace[1, -1] == len(tokens)
    subwords = word_pace(times, None, 12, "go in the end").numpy()  # "in" begins at 3 of 13 letters and blanks
    np.testing.assert_allclose(
        np.interp([5.0, 9.0, 31.0], *subwords), [3 * 12 / 13, 9 * 12 / 13, 10 * 12 / 13], rtol=1e-5
    )
    other = word_pace(times, None, 12, "gone").numpy()  # another number of words: one line
    np.testing.assert_allclose(np.interp([0.0, 17.0, 34.0], *other), [0.0, 6.0, 12.0])


def test_a_teachers_words_are_as_espeak_says_them(tmp_path):
    """Of "go in the end" a teacher gives three times, a forced aligner four: edges of words are due at their tokens."""
    tokenizer = PhonemeTokenizer.fit(["go in the end"])
    tokens = tokenizer.encode("go in the end")
    spans = tokenizer.word_spans(tokens)
    assert len(spans) == 3
    data = UtteranceDataset([], tokenizer, MelSpec())
    frames = 16000 / 256  # a second
    for times in (((0.1, 0.4), (0.5, 0.7), (2.0, 2.5)), ((0.1, 0.4), (0.5, 0.6), (0.6, 0.7), (2.0, 2.5))):
        pace = data._pace(Utterance("go in the end", tmp_path / "a.wav", "a", words=times), tokens).numpy()
        due = np.interp(np.array([0.1, 0.4, 0.5, 0.6999, 2.0, 2.4999]) * frames, *pace)
        np.testing.assert_allclose(due, [edge for span in spans for edge in span], atol=0.01)


@pytest.mark.parametrize(
    "said",
    [
        "go/ɡˌoʊ in/ɪn the/ðɪ end/ˈɛnd",
        "A/ɐ mistake/mɪstˈeɪk it/ɪt was/wʌz a/ɐ mistake/mɪstˈeɪk",
        "It/ɪt has/hˈæz been/biːn a/ɐ singer/sˈɪŋɚɹ of/ʌv the/ðə town/tˈaʊn",
    ],
)
@pytest.mark.parametrize("punctuation", [False, True])
def test_words_that_espeak_joins_are_found_by_what_each_is_alone(said, punctuation):
    words = [word.split("/") for word in said.split()]
    text = " ".join(word for word, _ in words) + "." * punctuation
    tokenizer = PhonemeTokenizer.fit([text], punctuation=punctuation)
    ids = tokenizer.encode(text)
    assert len(tokenizer.word_spans(ids)) < len(words)  # espeak joins some
    spans = word_tokens(tokenizer, text, ids)
    assert [tokenizer.decode(ids[a:b]) for a, b in spans] == [phonemes for _, phonemes in words]


def test_without_times_nothing_is_due():
    assert collate([Row([[5, 6]], [torch.zeros(4, 80)], ["a"])], 2).due is None
