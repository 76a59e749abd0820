"""Forced alignment: the most probable path, where words are, what fits badly; manifests, stopped and gone on with."""

import json
from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.alignment import align_manifest as module
from melle.alignment.align_manifest import align_manifest
from melle.alignment.ctc import STAR, Alignment, CtcAligner, align_words, letters_of, spell
from melle.cli import main
from melle.data.check import check_manifest
from melle.data.filters import CheckLimits
from melle.data.manifest import read_manifest
from melle.errors import DataError, UserError
from tests.evaluation.small_recognisers import save_ctc

LETTERS = {letter: number for number, letter in enumerate("abcdefghijkl", 5)}


def emission(labels, size=17, sure=0.9):
    """Log-probabilities (T, V) in which every frame is sure of its label."""
    probabilities = torch.full((len(labels), size), (1 - sure) / (size - 1))
    probabilities[torch.arange(len(labels)), torch.tensor(labels)] = sure
    return probabilities.log()


def collapsed(path):
    """The labels of a path, without repeats and blanks (0)."""
    return [label for place, label in enumerate(path) if label and (not place or path[place - 1] != label)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_known_times_are_found(data):
    """Words of drawn letters, each for a drawn number of frames, with blanks before, between and after."""
    letters = st.lists(st.integers(5, 16), min_size=1, max_size=4)
    words = data.draw(st.lists(letters, min_size=1, max_size=4))
    labels, truth = [0] * data.draw(st.integers(0, 3)), []
    for word in words:
        begin = len(labels)
        for place, letter in enumerate(word):
            labels += [0] * (1 if place and word[place - 1] == letter else 0)
            labels += [letter] * data.draw(st.integers(1, 3))
        truth.append((begin, len(labels)))
        labels += [0] * data.draw(st.integers(1, 4))
    found = align_words(emission(labels), words, 0, len(labels) * 0.02)
    assert np.array(found.words) == pytest.approx(np.array(truth) * 0.02)
    assert np.array(found.scores) == pytest.approx(0.9) and found.score == pytest.approx(0.9)


@pytest.mark.parametrize("target", [[[1, 2]], [[1], [1]], [[2, 1], [1]]])
def test_the_path_is_the_most_probable_of_all(target):
    torch.manual_seed(len(target))
    log_probs = torch.randn(6, 3).log_softmax(-1)
    wanted = [label for word in target for label in word]
    paths = [path for path in product(range(3), repeat=6) if collapsed(path) == wanted]
    best = max(paths, key=lambda path: sum(log_probs[frame, label].item() for frame, label in enumerate(path)))
    starts = [n for n, label in enumerate(best) if label and (not n or best[n - 1] != label)]
    ends = [next((m for m in range(n, 6) if best[m] != best[n]), 6) for n in starts]
    lengths = np.cumsum([0, *map(len, target)])
    truth = [(starts[a], ends[b - 1]) for a, b in pairwise(lengths)]
    assert np.array(align_words(log_probs, target, 0, 6.0).words) == pytest.approx(np.array(truth))


def test_another_transcript_scores_low():
    labels = [0, 5, 5, 6, 0, 7, 8, 8, 0]
    right = align_words(emission(labels), [[5, 6], [7, 8]], 0, 0.18)
    wrong = align_words(emission(labels), [[9, 6], [10, 11]], 0, 0.18)
    assert right.score == pytest.approx(0.9) and wrong.score < 0.3 and wrong.scores[1] < 0.01


def test_what_has_no_letters_takes_the_time_that_is_left():
    """ "ab 21 cd": the recogniser hears other letters for the number, between the two that are known."""
    labels = [0, 5, 6, 0, 12, 12, 13, 14, 0, 7, 8, 0]
    found = align_words(emission(labels), [[5, 6], [STAR], [7, 8]], 0, 12.0)
    assert found.words[0] == (1, 3) and found.words[2] == (9, 11)
    assert 4 <= found.words[1][0] < found.words[1][1] <= 8 and found.scores[1] == pytest.approx(0.9)


def test_more_letters_than_frames():
    with pytest.raises(DataError, match=r"4 letters in 0\.06 s"):  # with the blank between two alike
        align_words(emission([5, 5, 6]), [[5, 5, 6]], 0, 0.06)


def test_spelling():
    assert letters_of({"<pad>": 0, "|": 4, "A": 5, "'": 27, "b": 6, "é": 7}) == {"a": 5, "'": 27, "b": 6, "é": 7}
    assert spell("A bad, fad — café!", LETTERS) == [[5], [6, 5, 8], [10, 5, 8], [7, 5, 10, 9]]
    assert spell("21 b2 … 您", LETTERS) == [[STAR], [6], [STAR]]
    assert spell("— … !", LETTERS) == []


# Whole manifests


class Fake:
    """An aligner by the length of words: each letter lasts a twentieth of a second. "kkk" fits badly."""

    rate = 16000

    def align(self, waveform, text):
        words = text.split()
        if text == "silent":
            raise DataError("no word", "nothing in the transcript can be aligned")
        ends = np.cumsum([len(word) for word in words]) / 20
        times = tuple((float(end - len(word) / 20), float(end)) for end, word in zip(ends, words))
        return Alignment(times, tuple(0.1 if word == "kkk" else 0.95 for word in words))


class Interrupted(Fake):
    left = 7

    def align(self, waveform, text):
        Interrupted.left -= 1
        if Interrupted.left < 0:
            raise KeyboardInterrupt
        return super().align(waveform, text)


TEXTS = ["ab cd", "kkk", "a", "bcd", "silent", "ab kkk", "abc", "cab", "dab a", "bad", "a a a"] + ["abc d"] * 9


@pytest.fixture
def manifest(tmp_path):
    lines = []
    for number, text in enumerate(TEXTS):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * np.sin(np.arange(16000 + 160 * number)), 16000)
        lines.append({"transcription": text, "audio_path": path.name, "id": f"u{number}", "speaker": "ann"})
    lines[9]["audio_path"] = "nowhere.wav"
    content = "\n".join([*map(json.dumps, lines), "not JSON"]) + "\n"
    (tmp_path / "my.jsonl").write_text(content)
    return tmp_path / "my.jsonl"


def test_a_manifest_gets_its_words_and_a_list_of_what_fits_badly(manifest):
    report = align_manifest(manifest, Fake, "fake", workers=1)
    output = manifest.with_name("my.aligned.jsonl")
    aligned = read_manifest(output)
    assert [u.transcription for u in aligned] == TEXTS and all(u.speaker == "ann" for u in aligned)
    assert [u.alignment_score for u in aligned[:6]] == [0.95, 0.1, 0.95, 0.95, None, 0.525]
    assert aligned[0].words == ((0.0, 0.1), (0.1, 0.2)) and aligned[4].words is None and aligned[9].words is None
    notes = [json.loads(line) for line in manifest.with_name("my.alignment.jsonl").read_text().splitlines()][1:]
    assert [note["line"] for note in notes] == list(range(1, 22))
    assert [note["kind"] for note in notes if "reason" in note] == ["no word", "missing", "not JSON"]
    assert report.lines == 21 and [note["line"] for note in report.poor] == [2]  # "ab kkk" as a whole is above 0.4
    assert report.poor[0]["score"] == 0.1 and report.poor[0]["worst_word"] == "kkk"
    checked = check_manifest(output, limits=CheckLimits(min_alignment=0.6), workers=1)
    assert checked.warnings["poor alignment"] == 2
    assert notes[5]["score"] == 0.525 and notes[5]["worst_word"] == "kkk"
    assert "18 of 21 lines aligned" in report.text and "1 fit badly" in report.text and "3 could not" in report.text
    assert f"melle check {output} --strict --min-alignment 0.4" in report.text
    assert "2 fit badly" in align_manifest(manifest, Fake, "fake", poor=0.6, workers=1).text


def test_processes_do_not_change_what_is_found(manifest, tmp_path):
    align_manifest(manifest, Fake, "fake", workers=1)
    align_manifest(manifest, Fake, "fake", tmp_path / "two.jsonl", workers=2)
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "my.aligned.jsonl").read_bytes()
    assert (tmp_path / "two.alignment.jsonl").read_bytes() == (tmp_path / "my.alignment.jsonl").read_bytes()


def test_an_interrupted_alignment_goes_on_where_it_stopped(manifest, tmp_path, monkeypatch):
    align_manifest(manifest, Fake, "fake", tmp_path / "whole.jsonl", workers=1)
    monkeypatch.setattr(Interrupted, "left", 7)
    with pytest.raises(KeyboardInterrupt):
        align_manifest(manifest, Interrupted, "fake", workers=1)
    assert not (tmp_path / "my.aligned.jsonl").exists()
    with (tmp_path / "my.alignment.jsonl").open("a") as file:
        file.write('{"line": 8, "sco')  # a machine that stopped
    monkeypatch.setattr(Interrupted, "left", 12)  # all that are left, but for those that cannot be read
    align_manifest(manifest, Interrupted, "fake", workers=1)
    assert (tmp_path / "my.aligned.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (tmp_path / "my.alignment.jsonl").read_bytes() == (tmp_path / "whole.alignment.jsonl").read_bytes()
    align_manifest(manifest, Interrupted, "fake", workers=1)  # nothing is left to align
    with pytest.raises(KeyboardInterrupt):  # another model's findings are not taken
        align_manifest(manifest, Interrupted, "other", workers=1)
    manifest.write_text(manifest.read_text().replace("ab cd", "ab ce"))
    with pytest.raises(KeyboardInterrupt):  # nor those of what was another manifest
        align_manifest(manifest, Interrupted, "fake", workers=1)


def test_a_full_disk_and_bad_names_are_one_sentence_each(manifest, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such manifest"):
        align_manifest(tmp_path / "none.jsonl", Fake, "fake")
    with pytest.raises(UserError, match="would replace"):
        align_manifest(manifest, Fake, "fake", manifest)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="has no line"):
        align_manifest(tmp_path / "empty.jsonl", Fake, "fake")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_manifest", full)
    with pytest.raises(UserError, match=r"No space left on device\); make room, and the same command goes on"):
        align_manifest(manifest, Fake, "fake", workers=1)


# The recogniser


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    torch.manual_seed(0)
    return save_ctc(tmp_path_factory.mktemp("ctc"), "Wav2Vec2", "layer")


def test_a_recogniser_of_transformers_aligns_its_own_transcript_best(recogniser):
    """What greedy decoding hears scores higher than other letters, and its words lie in order within the recording."""
    aligner = CtcAligner(str(recogniser))
    assert aligner.letters == LETTERS and aligner.blank == 0 and aligner.rate == 16000
    torch.manual_seed(1)
    waveform = torch.randn(16000)
    log_probs = aligner._log_probs(waveform)
    path = log_probs.argmax(1).tolist()
    letters = {number: letter for letter, number in LETTERS.items()}
    text = "".join(letters.get(label, "") for label in collapsed(path))
    assert len(text) > 3
    own = aligner.align(waveform, f"{text[:2]} {text[2:]}")
    other = aligner.align(waveform, f"{text[1::-1]} {text[:1:-1]}")
    assert own.score > other.score
    times = [time for word in own.words for time in word]
    assert times == sorted(times) and 0 <= times[0] < times[-1] <= 1
    with pytest.raises(DataError, match=r"letters in 1\.00 s"):
        aligner.align(waveform, "abcdef" * 40)
    with pytest.raises(DataError, match="nothing in the transcript"):
        aligner.align(waveform, "…")
    with pytest.raises(DataError, match="130 s, more than 120"):
        aligner.align(torch.zeros(130 * 16000), "abc")


def test_the_command(manifest, recogniser, capsys):
    assert main(["align", str(manifest), "--model", str(recogniser), "--device", "cpu", "--workers", "1"]) == 0
    assert "of 21 lines aligned, median score" in capsys.readouterr().out
    aligned = read_manifest(manifest.with_name("my.aligned.jsonl"))
    assert sum(u.words is not None for u in aligned) >= 15
    assert all(len(u.words) == len(u.transcription.split()) for u in aligned if u.words)
    assert main(["align", str(manifest), "--model", str(manifest.parent), "--device", "cpu", "--workers", "1"]) == 2
    assert "no CTC recogniser can be loaded from there" in capsys.readouterr().err


def test_the_hub_is_asked_only_for_names_that_say_so(tmp_path, monkeypatch):
    asked = []

    def from_pretrained(name, output_loading_info, **options):
        asked.append((name, options))
        raise OSError("no network here")

    monkeypatch.setattr("transformers.AutoModelForCTC.from_pretrained", from_pretrained)
    for name in ("hf://me/ctc", "hf://me/ctc@abc123", str(tmp_path)):
        with pytest.raises(UserError, match=f"--model {name}: no CTC recogniser can be loaded"):
            CtcAligner(name)
    expected = [("me/ctc", "main", False), ("me/ctc", "abc123", False), (str(tmp_path), "main", True)]
    assert [(name, o["revision"], o["local_files_only"]) for name, o in asked] == expected
    with pytest.raises(UserError, match=r"--model=runs/ctc: no such file or folder; .* hf://runs/ctc$"):
        CtcAligner("runs/ctc")
    assert len(asked) == 3


def test_an_aligner_can_be_sent_to_other_processes(recogniser):
    import pickle

    assert pickle.loads(pickle.dumps(partial(CtcAligner, str(recogniser))))().rate == 16000
