"""A text is parted where it may be, into what the model can speak at once."""

import string
from dataclasses import replace

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.synthesis.chunking import Part, make_parts, split_pauses, split_text
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from melle.text.subwords import SubwordTokenizer

LONG = " ".join(["one two three four five six seven eight"] * 2)


@pytest.fixture
def tts(tiny_checkpoint) -> Synthesizer:
    return Synthesizer.from_checkpoint(tiny_checkpoint)


@pytest.mark.parametrize(
    ("text", "pieces", "after"),
    [
        ("one two", [("one two", 0.0)], 0.0),
        ("one [pause 0.5s] two", [("one", 0.0), ("two", 0.5)], 0.0),
        ("[Pause 300ms]one[pause 1]. two [pause 2 seconds]", [("one.", 0.3), ("two", 1.0)], 2.0),
        ("one [pause .5s] [pause: 1s] two", [("one", 0.0), ("two", 1.5)], 0.0),
        ("[pause 1s]", [], 1.0),
    ],
)
def test_pauses_are_found(text, pieces, after):
    assert split_pauses(text) == ([Part(*piece) for piece in pieces], after)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "of", "word", "sentence", "internationalisation", ",", ".", "!", "—", "Dr.", "三月。"]),
        min_size=1,
    ),
    st.integers(1, 40),
)
def test_parts_are_the_text_and_fit(words, most):
    text = " ".join(words)

    def fits(part: str) -> bool:
        return sum(character.isalnum() for character in part) <= most

    parts = split_text(text, fits)
    assert "".join("".join(parts).split()) == "".join(text.split())  # nothing is lost, nothing twice
    assert all(fits(part) and part == part.strip() for part in parts)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["word", "at", "*", "...", "—", "!", "* * *", "\n\n", "-" * 30, "三月。"]), min_size=1),
    st.integers(1, 25),
)
def test_parts_can_be_spoken_whatever_is_between_the_words(words, most):
    text = " ".join(words)
    parts = split_text(text, lambda part: len(part) <= most)

    def spoken(text: str) -> str:
        return "".join(character for character in text if character.isalnum())

    assert spoken("".join(parts)) == spoken(text)
    if len(text.strip()) > most:
        assert all(len(part) <= most and spoken(part) for part in parts)


def test_a_page_of_asterisks_costs_no_more_than_one_of_words():
    asked = []

    def fits(part: str) -> bool:
        asked.append(len(part))
        return len(part) <= 50

    assert split_text("* " * 20000 + "one", fits) == ["one"]
    assert sum(asked) < 20000 * 300


def test_parts_end_where_a_reader_would_breathe():
    text = "Dr. Smith went home. He slept, ate, and wrote a letter to Mr. Jones! Was it long? It was not."
    assert split_text(text, lambda part: len(part) <= 30) == [
        "Dr. Smith went home.",
        "He slept, ate,",
        "and wrote a letter to Mr.",
        "Jones!",
        "Was it long?",
        "It was not.",
    ]
    assert split_text(text, lambda part: len(part) <= 200) == [text]
    numbers = "it costs 3,000 and 12:30 then twenty 1,000,000 more words"
    assert split_text(numbers, lambda part: len(part) <= 30) == [
        "it costs 3,000 and 12:30 then",
        "twenty 1,000,000 more words",
    ]
    wide = "一二三，四五六，七八九，十"
    assert split_text(wide, lambda part: len(part) <= 9, "zh") == ["一二三，四五六，", "七八九，十"]


def test_what_is_not_known_is_left_out_of_a_book_with_one_warning(tts, caplog):
    tts.description = replace(tts.description, most_tokens=5)
    words = LONG.split()
    text = " ".join([*words[:7], "“🙂”", "—", "hello…", *words[7:]])
    parts = [[*words[start : start + 5]] for start in range(0, 16, 5)]
    made, _ = make_parts(text, None, "en", DecodingOptions(), tts.description, tts.network)
    assert [token for part in made for token in part.tokens] == tts.tokenizer.encode(LONG)
    assert len(made) <= len(parts) + 1 and all(0 < len(part.tokens) <= 5 for part in made)
    (record,) = caplog.records
    assert "hello" in record.getMessage()


def test_parts_after_the_first_or_a_prompt_begin_with_a_byte_level_space(tts):
    bpe = tokenizers.models.BPE({letter: n for n, letter in enumerate(string.ascii_lowercase + "Ġ")}, [])
    library = tokenizers.Tokenizer(bpe)
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = SubwordTokenizer(library.to_str(), spaced=True)
    model = replace(tts.description, tokenizer=tokenizer, most_tokens=9)
    texts, space = ["one two", "three", "four"], tokenizer.encode("a b")[1]
    for prompt in (None, Prompt(None, "six", tokenizer.encode("six"), torch.zeros(8, 80))):
        parts, _ = make_parts("one two three [pause 1s] four", prompt, "en", DecodingOptions(), model, tts.network)
        assert [part.text for part in parts] == texts
        for number, part in enumerate(parts):
            begins = [space] if number or prompt is not None else []
            assert part.tokens == begins + tokenizer.encode(part.text)
