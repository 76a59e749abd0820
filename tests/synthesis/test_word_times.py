"""When each word is spoken, and the files that say so."""

import json
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from melle.cli import main
from melle.errors import UserError
from melle.model import Melle
from melle.model.attention_map import guided_attention
from melle.model.whole_rows import WholeRows
from melle.synthesis import rendering, word_times
from melle.synthesis.options import DecodingOptions
from melle.synthesis.speech import Word
from melle.synthesis.subtitles import check_subtitles, cues, write_subtitles
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.word_times import monotonic_path, token_positions
from tests.conftest import TINY
from tests.test_readme import ROOT


def test_the_path_is_the_best_of_all():
    scores = np.random.default_rng(3).normal(size=(5, 4))
    paths = [path for path in product(range(4), repeat=5) if all(0 <= b - a <= 2 for a, b in pairwise(path))]
    best = max(paths, key=lambda path: sum(scores[step, token] for step, token in enumerate(path)))
    assert monotonic_path(scores, 2).tolist() == list(best)


def test_centres_are_where_attention_was_guided_to():
    due = np.sort(np.random.default_rng(5).uniform(1.5, 28.5, 40))
    weights = np.exp(-0.5 * (np.arange(30) + 0.5 - due[:, None]) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    weights[:, 17] += 0.05  # what lies elsewhere does not count
    assert np.abs(token_positions(weights, 8) - due).max() < 0.5


def test_words_end_and_start_where_a_pause_does():
    loud = torch.zeros(100, 80)  # frames of 10 ms: quiet to 10, from 40 to 52, a closure from 70 to 74, and from 90 on
    for first, last in ((0, 10), (40, 52), (70, 74), (90, 100)):
        loud[first:last] = -3.0
    edges = np.array([[0.04, 0.45], [0.45, 0.72], [0.72, 0.93]])
    snapped = word_times.snap_to_pauses(edges, loud, 100.0)
    np.testing.assert_allclose(snapped, [[0.10, 0.40], [0.52, 0.72], [0.72, 0.90]])
    np.testing.assert_array_equal(word_times.snap_to_pauses(edges, torch.zeros(100, 80), 100.0), edges)
    far = np.array([[0.1, 0.2], [0.2, 0.9]])
    np.testing.assert_allclose(word_times.snap_to_pauses(far, loud, 100.0), [[0.1, 0.2], [0.2, 0.9]])  # within a word


@pytest.mark.parametrize(("last", "blur", "early"), [(36, 0.0, False), (24, 0.0, True), (24, 1.0, False)])
def test_speech_that_leaves_the_end_of_its_text_unsaid_is_found(last, blur, early, tts, monkeypatch):
    due = np.linspace(0.5, last, 30)
    sharp = np.exp(-0.5 * (np.arange(40) + 0.5 - due[:, None]) ** 2)
    weights = (1 - blur) * sharp / sharp.sum(axis=1, keepdims=True) + blur / 40
    monkeypatch.setattr(word_times, "text_attention", lambda *_: weights)
    request = SimpleNamespace(prompt=None)
    assert word_times.ends_early(tts.network, request, torch.zeros(120, 80)) is early


def test_what_is_unfinished_is_said_and_tried_again(tts, monkeypatch):
    early = []  # seeds, of which the first leaves out the end

    def first(network, request, mel):
        early.append(request.seed)
        return request.seed == early[0]

    monkeypatch.setattr(rendering, "ends_early", first)
    text = "The kettle has been boiling for an hour."
    assert tts(text, seed=1).finish_reason == "unfinished"
    assert [chunk.finish_reason for chunk in tts.stream(text, seed=1)][-1] == "unfinished"
    assert tts(text, seed=1, retries=1).finish_reason == "stop" and len({*early}) == 2


def test_guided_attention_is_that_of_training():
    torch.manual_seed(2)
    drop = {"prenet_dropout": 0.0, "dropout": 0.0, "latent_dropout": 0.0, "postnet_dropout": 0.0}
    network = Melle(**TINY, **drop, vocab_size=12, position="paced", pace=3.0, guided_layers=[0, 1])
    inputs = {
        "text": torch.tensor([[4, 5, 6, 7, 8, 1]]),
        "text_lengths": torch.tensor([6]),
        "text_segments": torch.tensor([[0, 0, 1, 1, 1, 1]]),
        "mel": torch.randn(1, 40, 80),
        "segment_steps": torch.tensor([[4, 6]]),
    }
    guide = network.train()(**inputs, mel_lengths=torch.tensor([40])).guide
    torch.testing.assert_close(guided_attention(network.eval(), WholeRows(**inputs)), torch.stack(guide))


@pytest.fixture(scope="module")
def tts():
    return Synthesizer.from_pretrained(ROOT / "data/pretrained", device="cpu")


def check_times(words, seconds):
    times = [time for word in words for time in word[1:]]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= seconds


def test_words_are_as_written_in_order_and_around_the_pauses(tts):
    text = "Dr. Smith [pause 1s] paid $5."
    speech = tts(text, seed=1, words=True)
    assert [word.word for word in speech.words] == ["Dr.", "Smith", "paid", "$5."]
    check_times(speech.words, speech.seconds)
    gap = slice(int(speech.words[1].end * 16000) + 400, int(speech.words[2].start * 16000) - 400)
    assert speech.words[2].start - speech.words[1].end >= 1 and (speech.waveform[gap] == 0).float().mean() > 0.5
    streamed = [word for chunk in tts.stream(text, seed=1, words=True) for word in chunk.words]
    assert [word.word for word in streamed] == [word.word for word in speech.words]
    np.testing.assert_allclose([w[1:] for w in streamed], [w[1:] for w in speech.words], atol=0.05)
    assert tts(text, seed=1).words == ()


def test_times_follow_the_speed(tts):
    usual = tts("one two three", seed=1, words=True).words
    slow = tts("one two three", seed=1, words=True, options=DecodingOptions(speed=0.5)).words
    np.testing.assert_allclose([w[1:] for w in slow], [(2 * w.start, 2 * w.end) for w in usual], rtol=1e-6)


def test_models_without_guided_attention_say_so(tiny_checkpoint):
    with pytest.raises(UserError, match="was trained without it"):
        Synthesizer.from_checkpoint(tiny_checkpoint, device="cpu")("one", words=True)


WORDS = [Word("Hello,", 0.1, 0.5), Word("you.", 0.6, 1.0), Word("Then", 1.2, 1.5), Word("what?", 3.0, 3661.25)]


def test_files_are_what_players_read(tmp_path):
    for ending in (".srt", ".vtt", ".json"):
        write_subtitles(tmp_path / f"a{ending}", WORDS)
    assert json.loads((tmp_path / "a.json").read_text())[1] == {"word": "you.", "start": 0.6, "end": 1.0}
    blocks = (tmp_path / "a.srt").read_text().split("\n\n")
    assert blocks[0] == "1\n00:00:00,100 --> 00:00:01,000\nHello, you."
    assert blocks[2] == "3\n00:00:03,000 --> 01:01:01,250\nwhat?\n"
    vtt = (tmp_path / "a.vtt").read_text()
    assert vtt.startswith("WEBVTT\n\n00:00:00.100 --> 00:00:01.000\nHello, you.\n\n")
    many = [Word("word", n / 4, n / 4 + 0.2) for n in range(100)]
    assert all(len(" ".join(word.word for word in cue)) <= 42 for cue in cues(many))
    assert [word for cue in cues(many) for word in cue] == many
    with pytest.raises(UserError, match=r"ends in \.srt, \.vtt, \.json"):
        check_subtitles(Path("a.txt"))


def test_subtitles_break_at_sentences_and_not_at_abbreviations():
    text = "Dr. Smith came at 5 p.m. on Mon. It rained in St. Paul. He left."
    words = [Word(word, n / 4, n / 4 + 0.2) for n, word in enumerate(text.split())]
    shown = [" ".join(word.word for word in cue) for cue in cues(words)]
    assert shown == ["Dr. Smith came at 5 p.m. on Mon.", "It rained in St. Paul.", "He left."]


def test_the_command_writes_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    page = tmp_path / "page.txt"
    page.write_text("One two. Three.")
    for number, what in enumerate((["--text", "One two. Three."], ["--text-file", str(page)])):
        place = tmp_path / f"{number}.json"
        command = ["synthesize", *what, "-o", str(tmp_path / "a.wav"), "--device", "cpu", "--subtitles", str(place)]
        assert main(command) == 0
        assert [each["word"] for each in json.loads(place.read_text())] == ["One", "two.", "Three."]
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"text": "One two. Three.", "id": "a"}')
    command = ["synthesize", "--jobs", str(jobs), "-o", str(tmp_path / "jobs"), "--device", "cpu", "--subtitles"]
    assert main([*command, ".srt"]) == 0
    assert (tmp_path / "jobs/a.srt").read_text().startswith("1\n00:00:00,") and (tmp_path / "jobs/a.wav").is_file()
    assert main([*command, ".txt"]) == 2
    assert "give one of .srt, .vtt, .json" in capsys.readouterr().err
    command = ["synthesize", "--text", "One", "-o", str(tmp_path / "a.wav"), "--subtitles", "a.json"]
    assert main([*command[:-1], str(tmp_path / "a.txt")]) == 2
    assert "give a file that ends in" in capsys.readouterr().err
