"""Kokoro as a teacher: symbols, files in every published form, times of words, faults. The model is a stand-in."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from melle.corpora import kokoro
from melle.corpora.kokoro import Kokoro, symbols, word_times
from melle.corpora.teacher import Speaker, alone
from melle.errors import UserError

VOCABULARY = {symbol: number for number, symbol in enumerate(" .,?!abdefhijklmnopstuvwzæðŋɑɔəɛɡɪɹɾʃʊʌˈˌAIOWYQʤʧᵊː—", 1)}


class Session:
    """What onnxruntime's session is to us: durations of 2, 3, … units, and as many samples; inputs are kept."""

    def __init__(self, tokens="tokens", durations=True):
        self.tokens, self.durations, self.inputs = tokens, durations, None

    def get_inputs(self):
        kinds = {self.tokens: "tensor(int64)", "style": "tensor(float)", "speed": "tensor(float)"}
        return [SimpleNamespace(name=name, type=kind) for name, kind in kinds.items()]

    def run(self, _, inputs):
        self.inputs = inputs
        durations = np.arange(2, inputs[self.tokens].size + 2, dtype=np.float32)
        audio = np.ones(int(durations.sum()) * 600, dtype=np.float32)
        return [audio[None], durations[None]] if self.durations else [audio]


@pytest.fixture
def session(monkeypatch):
    session = Session()
    monkeypatch.setattr(kokoro, "_session", lambda _: session)
    return session


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"stand-in")
    (tmp_path / "vocab.json").write_text(json.dumps({"vocab": VOCABULARY}))
    (tmp_path / "voices").mkdir()
    for number, name in enumerate(("af_heart", "bm_george", "ff_siwis", "zf_xiaoyi")):
        np.full((510, 1, 256), number, dtype="<f4").tofile(tmp_path / "voices" / f"{name}.bin")
    return tmp_path


@pytest.mark.parametrize(
    "text, american, british",
    [  # by EN_PHONES.md of misaki: one symbol for a diphthong or affricate, ɾ in America, ː in Britain
        ("hello", "həlˈO", "həlˈQ"),
        ("we say how boy", "wi sˈA hˌW bˈY", "wiː sˈA hˌW bˈY"),
        ("a large church", "ə lˈɑɹʤ ʧˈɜɹʧ", "ə lˈɑːʤ ʧˈɜːʧ"),
        ("bottle, button", "bˈɑɾᵊl, bˈʌtᵊn", "bˈɒtᵊl, bˈʌtən"),
        ("Mr. Smith?", "mˈɪstəɹ smˈɪθ?", "mˈɪstə smˈɪθ?"),
        ("in the end", "ɪnðɪ ˈɛnd", "ɪnðɪ ˈɛnd"),
    ],
)
def test_symbols_are_those_that_kokoro_was_trained_on(text, american, british):
    assert (symbols(text, "en-us"), symbols(text, "en-gb-x-rp")) == (american, british)


def test_times_of_words_follow_the_durations():
    """Of "ab, c": padding 2 units of 25 ms, a 3, b 4, comma 5, blank 6, c 7, padding 8."""
    times = np.array(word_times("ab, c", np.arange(2, 9)))  # 30 ms before their turns, as their sound is
    assert times == pytest.approx(np.array([(0.05, 0.225), (0.5, 0.675)]) - 0.03)
    assert np.array(word_times("a", np.array([0.0, 0.4, 3.0]))) == pytest.approx(np.array([(0.0, 0.02)]))


def test_speech_with_times(folder, session):
    teacher = Kokoro(folder)
    assert [(voice.name, voice.language) for voice in teacher.published] == [
        ("af_heart", "en-us"),
        ("bm_george", "en-gb-x-rp"),
        ("zf_xiaoyi", "en-us"),  # of another language, speaks English, too
    ]
    blended = Speaker("blend", "en-us", (("af_heart", 0.25), ("bm_george", 0.75)), speed=0.55)
    spoken = teacher.speak("We sat, he said.", blended)
    read = [symbol for symbol in symbols("We sat, he said.", "en-us")]
    assert session.inputs["tokens"].tolist() == [[0, *(VOCABULARY[symbol] for symbol in read), 0]]
    assert session.inputs["style"].shape == (1, 256) and np.allclose(session.inputs["style"], 0.75)
    assert session.inputs["speed"] == pytest.approx([0.55])
    assert spoken.sample_rate == 24000 and spoken.samples.shape == (600 * sum(range(2, len(read) + 4)),)
    assert len(spoken.words) == 4
    ends = np.cumsum(np.arange(2, len(read) + 4)) * 0.025 - 0.03
    last = len(read) - 1 - read[::-1].index(" ")  # the last blank
    assert spoken.words[-1] == pytest.approx((ends[last + 1], ends[len(read) - 1]))  # without the point


def test_the_style_is_that_of_the_texts_length(folder, session):
    np.repeat(np.arange(510, dtype="<f4"), 256).tofile(folder / "voices" / "af_heart.bin")
    teacher = Kokoro(folder)
    teacher.speak("We sat.", alone(teacher.published[0]))
    assert session.inputs["style"][0, 0] == session.inputs["tokens"].size - 2 - 1


def test_files_as_others_publish_them(folder, monkeypatch):
    """One archive of voices, tokenizer.json, onnx/model.onnx with input_ids and without durations."""
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx" / "model.onnx")
    (folder / "vocab.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": VOCABULARY}}))
    for path in (folder / "voices").iterdir():
        path.unlink()
    with (folder / "voices-v1.0.bin").open("wb") as archive:
        np.savez(archive, af_heart=np.ones((510, 1, 256), np.float32))
    monkeypatch.setattr(kokoro, "_session", lambda _: Session("input_ids", durations=False))
    teacher = Kokoro(folder)
    assert teacher.speak("We sat.", alone(teacher.published[0])).words is None


def test_other_languages_have_their_own_voices(folder, session):
    assert [voice.name for voice in Kokoro(folder, ("fr-fr",)).published] == ["ff_siwis"]
    assert [voice.name for voice in Kokoro(folder, ("en-gb-x-rp",)).published] == ["bm_george"]
    with pytest.raises(UserError, match="has no voice of it; it speaks en-gb-x-rp, en-us, fr-fr"):
        Kokoro(folder, ("it",))
    (folder / "voices" / "ff_siwis.bin").rename(folder / "voices" / "ef_dora.bin")
    both = [(voice.name, voice.language) for voice in Kokoro(folder, ("en-us", "es")).published]
    assert both == [("af_heart", "en-us"), ("ef_dora", "es"), ("zf_xiaoyi", "en-us")]  # each once
    for voice in ("af_heart", "bm_george"):
        (folder / "voices" / f"{voice}.bin").unlink()
    with pytest.raises(UserError, match="has no voice of en; it speaks es"):
        Kokoro(folder)


@pytest.mark.parametrize("text", ["", "…", '"?!"', "—"])
def test_texts_with_nothing_to_say(folder, session, text):
    teacher = Kokoro(folder)
    with pytest.raises(UserError, match="nothing to say"):
        teacher.speak(text, alone(teacher.published[0]))


def test_a_text_that_is_too_long(folder, session):
    teacher = Kokoro(folder)
    with pytest.raises(UserError, match="symbols of 510; divide it"):
        teacher.speak("we sat " * 100, alone(teacher.published[0]))


def test_missing_and_broken_files_are_one_sentence_each(folder):
    pytest.importorskip("onnxruntime")

    def fails(message):
        with pytest.raises(UserError, match=message) as error:
            Kokoro(folder)
        assert "\n" not in str(error.value)

    fails("model.onnx: cannot be read as a model")
    (folder / "vocab.json").write_text("{")
    fails("vocab.json: cannot be read")
    (folder / "voices" / "af_heart.bin").write_bytes(b"123456789")
    fails("voices cannot be read")
    for path in (folder / "voices").iterdir():
        path.unlink()
    fails("has no voices")
    (folder / "other.onnx").touch()
    (folder / "model.onnx").rename(folder / "fp16.onnx")
    fails(r"several models \(fp16.onnx, other.onnx\)")
    (folder / "other.onnx").unlink()
    (folder / "fp16.onnx").unlink()
    fails("has no model")
    with pytest.raises(UserError, match="no such folder"):
        Kokoro(folder / "nowhere")


def test_another_model_is_no_teacher(folder, monkeypatch):
    monkeypatch.setattr(kokoro, "_session", lambda _: Session("frames"))
    with pytest.raises(UserError, match="no export of Kokoro"):
        Kokoro(folder)


@pytest.mark.skipif("MELLE_TEACHER" not in os.environ, reason="MELLE_TEACHER names no folder of Kokoro")
def test_the_real_one():
    """Every word is loud, and begins where sound does: after a comma, and after the silence before all."""
    teacher = Kokoro(os.environ["MELLE_TEACHER"])
    heart = next(voice for voice in teacher.published if voice.name == "af_heart")
    spoken = teacher.speak("Could you pass me the salt, please?", alone(heart))
    assert 1.2 < len(spoken.samples) / spoken.sample_rate < 5 and np.abs(spoken.samples).max() > 0.1
    assert len(spoken.words) == len(symbols("Could you pass me the salt, please?", "en-us").split())
    level = 20 * np.log10(np.abs(spoken.samples).max())
    powers = [10 * np.log10(np.mean(_between(spoken, begin, end) ** 2)) - level for begin, end in spoken.words]
    assert min(powers) > -40
    first = np.flatnonzero(np.abs(spoken.samples) > 0.02 * np.abs(spoken.samples).max())[0] / spoken.sample_rate
    assert spoken.words[0][0] == pytest.approx(first, abs=0.06)


def _between(spoken, begin, end):
    return spoken.samples[int(begin * spoken.sample_rate) : int(end * spoken.sample_rate)]
