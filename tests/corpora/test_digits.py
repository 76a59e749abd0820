"""Synthetic corpora: the same to the byte wherever they are made, held-out voices held out, whole or not at all."""

import ctypes
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

import melle.configs  # noqa: F401, whose resolver the configuration needs
from melle.corpora import digits, generate
from melle.corpora import voices as voices_module
from melle.corpora.digits import DigitCorpus
from melle.corpora.espeak import Espeak, Voice
from melle.corpora.generate import Item, speak_corpus
from melle.corpora.postprocess import postprocess
from melle.corpora.voices import draw_timbre
from melle.data.manifest import read_manifest
from melle.errors import UserError

ANN = Voice("ann", "en-gb", "f2", pitch=60, rate=110)
BOB = Voice("bob", "en-us", "klatt4", pitch=40)
FILES = ("train.jsonl", "validation.jsonl", "test.jsonl")


def tiny(folder: Path, **settings) -> DigitCorpus:
    few = dict(hours=1e-4, train_voices=3, validation_voices=2, test_voices=2, held_out_utterances=2, workers=1)
    return DigitCorpus(folder, **{**few, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return tiny(tmp_path_factory.mktemp("corpora") / "demo").prepare()


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


# What is made


def test_the_manifests_describe_the_audio(corpus):
    for name in FILES:
        utterances = read_manifest(corpus / name)
        assert len(utterances) >= 2
        for utterance in utterances:
            audio = soundfile.info(utterance.audio_path)
            assert (audio.samplerate, audio.channels, audio.subtype) == (16000, 1, "PCM_16")
            assert utterance.duration == audio.frames / 16000
            assert 1 <= len(utterance.transcription.split()) == len(utterance.words) <= 5
            assert set(utterance.transcription.split()) <= set(digits.DIGITS)
            assert utterance.speaker and utterance.id and utterance.language.startswith("en-")


def test_the_same_seed_makes_the_same_bytes_with_any_number_of_workers(corpus, tmp_path):
    assert contents(tiny(tmp_path / "demo", workers=2).prepare()) == contents(corpus)


def test_another_seed_makes_another_corpus(corpus, tmp_path):
    other = tiny(str(tmp_path / "demo"), seed=1).prepare()
    for name in FILES:
        texts = [[u.transcription for u in read_manifest(folder / name)] for folder in (corpus, other)]
        assert texts[0] != texts[1]


def test_any_texts_can_be_spoken(tmp_path):
    items = [
        Item("train", 0, "one", "Good morning, Zoë.", ANN, "en"),
        Item("train", 1, "two", "It is 7 o'clock!", BOB, "en"),
    ]
    folder = speak_corpus(tmp_path / "mine", Espeak, {"train": items}, {}, workers=1)
    utterances = read_manifest(folder / "train.jsonl")
    assert [(u.id, u.transcription, u.speaker) for u in utterances] == [
        ("one", "Good morning, Zoë.", "ann"),
        ("two", "It is 7 o'clock!", "bob"),
    ]
    assert all(0.5 < u.duration < 3 for u in utterances)
    assert utterances[0].audio_path == folder / "audio" / "ann" / "one.flac"


def test_audio_has_a_fixed_margin_and_level():
    time = np.arange(22050) / 22050
    tone = (0.01 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    for before, after in ((0, 0), (9000, 30000)):
        speech, earlier = postprocess(np.pad(tone, (before, after)), 22050, -20.0, 0.05, -55.0)
        assert earlier == pytest.approx(before / 22050 - 0.05, abs=0.012)
        assert len(speech) / 16000 == pytest.approx(1.1, abs=0.03)  # the second of speech and twice 50 ms
        assert 20 * np.log10(np.sqrt(np.mean(speech**2))) == pytest.approx(-20, abs=0.1)
    assert np.abs(postprocess(tone, 22050, 0.0, 0.05, -55.0)[0]).max() <= 0.98  # not clipped


# Times of words


@pytest.mark.parametrize("voice", [ANN, BOB, replace(BOB, tract=43 / 49, word_gap=25)])
def test_words_are_where_the_sound_is(espeak, voice):
    """espeak's pauses are digital silence: every edge of a word is one of a stretch of sound, with silence between."""
    spoken = espeak.speak("eight two seven nine", replace(voice, rate=100))
    assert spoken.sample_rate == round(22050 * voice.tract) and len(spoken.words) == 4
    loud = np.flatnonzero(np.abs(spoken.samples) > 0.003) / spoken.sample_rate
    gaps = np.flatnonzero(np.diff(loud) > 0.03)
    begins, ends = loud[[0, *(gaps + 1)]], loud[[*gaps, -1]]
    assert all(np.abs(begins - begin).min() < 1e-4 for begin, _ in spoken.words)
    assert all(np.abs(ends - end).min() < 1e-4 for _, end in spoken.words)
    assert all(begin - end > 0.08 for (_, end), (begin, _) in pairwise(spoken.words))


def test_times_of_words_in_the_corpus_are_those_of_its_recordings(corpus):
    for utterance in read_manifest(corpus / "train.jsonl"):
        samples, rate = soundfile.read(utterance.audio_path)
        assert utterance.words[0][0] == pytest.approx(0.05, abs=0.015)  # the margin
        assert utterance.words[-1][1] == pytest.approx(utterance.duration - 0.05, abs=0.03)
        inside = np.zeros(len(samples), dtype=bool)
        for begin, end in utterance.words:
            inside[int(begin * rate) : int(end * rate) + 1] = True
        assert np.sum(samples[inside] ** 2) > 0.999 * np.sum(samples**2)
        assert inside.mean() < 0.95


# Voices


def test_speech_depends_on_text_and_voice_alone(espeak):
    voices = [
        replace(ANN, variant=variant) for variant in ("f2", "grandma", "klatt4", "Reed", "")
    ]  # breath, flutter, echo
    first = [espeak.speak("four two", voice).samples for voice in voices]
    ctypes.CDLL(espeakng_loader.get_library_path())  # as phonemizer holds it; held, it would keep its state
    for voice, speech in reversed(list(zip(voices, first))):
        espeak.speak("seven nine nine", replace(ANN, variant="f4", pitch=90, rate=200, pitch_range=9, word_gap=1))
        assert np.array_equal(espeak.speak("four two", voice).samples, speech)
    assert espeak.sample_rate == 22050 and first[0].dtype == np.float32 and np.abs(first[0]).max() <= 1


@pytest.mark.parametrize(
    "change",
    [dict(language="en-us"), dict(variant="m3"), dict(pitch=20), dict(rate=180), dict(pitch_range=0), dict(word_gap=0)],
)
def test_every_trait_of_a_voice_is_heard(espeak, change):
    usual, changed = (espeak.speak("four two", voice).samples for voice in (ANN, replace(ANN, **change)))
    assert not np.array_equal(usual, changed)


def test_a_timbre_of_ones_own_is_heard_and_repeats(espeak):
    own = Espeak()
    deep, high = (replace(ANN, variant="", timbre=f"pitch {low} {2 * low}") for low in (60, 200))
    first = own.speak("four two", deep).samples
    assert not np.array_equal(own.speak("four two", high).samples, first)
    assert np.array_equal(own.speak("four two", deep).samples, first)
    assert np.array_equal(own.speak("four two", ANN).samples, espeak.speak("four two", ANN).samples)


def test_drawn_timbres_differ_and_all_speak():
    own = Espeak()
    timbres = [draw_timbre(np.random.default_rng([7, number])) for number in range(30)]
    assert timbres[4] == draw_timbre(np.random.default_rng([7, 4])) and len(set(timbres)) == 30
    speech = [own.speak("four two", replace(ANN, variant="", timbre=timbre)).samples for timbre in timbres]
    assert len({waveform.tobytes() for waveform in speech}) == 30
    assert all(len(waveform) > own.sample_rate for waveform in speech)


def test_held_out_voices_are_of_variants_never_heard_in_training():
    voices = DigitCorpus().voices()
    assert len(voices["train"]) >= 200 and len(voices["validation"]) == 10 and len(voices["test"]) == 12
    names = [voice.name for split in voices.values() for voice in split]
    assert len(set(names)) == len(names)
    variants = {split: {voice.variant for voice in members} for split, members in voices.items()}
    assert len(variants["train"]) == len({*voices_module.TRAIN_FEMALE, *voices_module.TRAIN_MALE})
    assert variants["train"].isdisjoint(variants["validation"] | variants["test"])
    assert variants["validation"].isdisjoint(variants["test"])
    sounds = [replace(voice, name="") for voice in voices["train"]]
    assert len(set(sounds)) == len(sounds)


def test_espeak_has_every_voice(espeak):
    for split in DigitCorpus().voices().values():
        for voice in split:
            assert voice.timbre or espeak._voice_name(voice)


def test_voices_that_do_not_exist_are_errors(espeak):
    with pytest.raises(UserError, match="no voice variant"):
        espeak.speak("one", replace(ANN, variant="nobody"))
    with pytest.raises(UserError, match="no voice of language"):
        espeak.speak("one", replace(ANN, language="xx"))
    with pytest.raises(UserError, match="says nothing"):
        espeak.speak("", ANN)


# Whole or not at all


def test_the_same_settings_leave_the_corpus_alone(tmp_path):
    folder = tiny(tmp_path / "demo").prepare()
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert tiny(tmp_path / "demo", workers=2).prepare() == folder == tiny(tmp_path / "demo").path
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times


def test_other_settings_make_another_corpus_beside_and_remove_nothing(tmp_path, monkeypatch):
    """A run may be training on the first, and its features lie in its folder."""
    folder = tiny(tmp_path / "demo").prepare()
    (folder / "features").mkdir()
    (folder / "features" / "index").write_text("of a running training")
    before = contents(folder)
    other = tiny(tmp_path / "demo", held_out_utterances=1).prepare()
    monkeypatch.setattr(digits, "VERSION", digits.VERSION + 1)
    newer = tiny(tmp_path / "demo").prepare()
    monkeypatch.setattr(voices_module, "TEST_VARIANTS", ("m8", "f3"))
    voices = tiny(tmp_path / "demo").prepare()
    assert {*(tmp_path / "demo").iterdir()} == {folder, other, newer, voices}
    assert contents(folder) == before
    assert len(read_manifest(other / "test.jsonl")) == 2
    assert {u.speaker for u in read_manifest(voices / "test.jsonl")} == {"test-000-m8", "test-001-f3"}


def test_the_configuration_names_the_folder_of_its_corpus(tmp_path):
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        default = compose("train", ["experiment=quickstart"])
        other = compose("train", [f"data.corpus.folder={tmp_path}", "data.corpus.hours=1"])
        none = compose("train", ["data.corpus=null", "data.train=mine.jsonl"])
    assert default.data.train == str(DigitCorpus().path / "train.jsonl")
    assert other.data.val == str(DigitCorpus(tmp_path, hours=1).path / "validation.jsonl")
    assert Path(default.data.test).parent.name != Path(other.data.test).parent.name
    assert none.data.train == "mine.jsonl" and none.data.val == "(data.corpus is null)/validation.jsonl"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_no_manifest_and_the_next_run_goes_on(corpus, tmp_path, monkeypatch, error):
    write, written = generate.soundfile.write, []

    def fail(path, *args, **kwargs):
        written.append(path)
        write(path, *args, **kwargs)
        if len(written) == 4:
            raise error

    with monkeypatch.context() as patched:
        patched.setattr(generate.soundfile, "write", fail)
        with pytest.raises(UserError if isinstance(error, OSError) else type(error)):
            tiny(tmp_path / "demo").prepare()
        assert not list(tmp_path.rglob("*.jsonl")) and not list(tmp_path.rglob("*.partial"))
        tiny(tmp_path / "demo").prepare()
    assert contents(tiny(tmp_path / "demo").path) == contents(corpus)
    assert len(written) == 1 + len(list(corpus.rglob("*.flac")))  # the one that failed alone is spoken twice


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds something else than this corpus"):
        speak_corpus(tmp_path, Espeak, {"train": [Item("train", 0, "a", "one", ANN, "en")]}, {}, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_missing_espeak_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    for workers in (1, 2):
        with pytest.raises(UserError, match=r'pip install -e "\.\[demo\]"'):
            tiny(tmp_path / "demo", workers=workers).prepare()
    assert not (tmp_path / "demo").exists()


def test_settings_without_sense_are_errors():
    with pytest.raises(UserError, match="hours"):
        DigitCorpus(hours=0)
