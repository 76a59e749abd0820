"""A corpus by a teacher: who says what, times of words, held-out voices and texts, interruptions, more hours."""

import json
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import soundfile

from melle.corpora import generate
from melle.corpora.english.corpus import TeacherCorpus
from melle.corpora.generate import speak_corpus
from melle.corpora.teacher import PublishedVoice, Settings, TeacherPlan
from melle.data.manifest import read_manifest
from melle.errors import UserError
from tests.corpora.fake_teacher import VOICES, FakeTeacher

TEXTS = [f"sentence {'very ' * (number % 3)}number {word}" for number, word in enumerate("abcdefghij")]
HELD_OUT_TEXTS = {
    "validation": ["Held out one.", "Held out two."],
    "test": ["This is three.", "Four.", "Five.", "Six."],
}
SETTINGS = Settings(voices=12, held_out=("am_c", "bf_d"), held_out_utterances=2)
SPLITS = ("train", "validation", "test", "test_seen")


def speak(folder, hours=0.01, settings=SETTINGS, texts=TEXTS, make=FakeTeacher, workers=1):
    plan = TeacherPlan(make(), texts, HELD_OUT_TEXTS, settings)
    return speak_corpus(folder, make, plan.splits(), plan.describe(), hours, settings.seed, settings.format, workers)


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return speak(tmp_path_factory.mktemp("taught") / "english")


def test_manifests_describe_the_recordings(corpus):
    manifests = {split: read_manifest(corpus / f"{split}.jsonl") for split in SPLITS}
    for utterances in manifests.values():
        for utterance in utterances:
            info = soundfile.info(utterance.audio_path)
            assert (info.samplerate, info.channels, info.format) == (16000, 1, "FLAC")
            assert utterance.duration == info.frames / 16000 and utterance.language == "en"
            assert len(utterance.words) == len(utterance.transcription.split())
    seconds = [u.duration for u in manifests["train"]]
    assert sum(seconds[:-1]) < 36 <= sum(seconds)  # stops at the first utterance that fills the hours
    assert [len(manifests[split]) for split in SPLITS[1:]] == [2, 2, 2]


def test_times_of_words_are_where_the_sound_is(corpus):
    """Of the recordings as written, whose silence before the first word was cut: energy within words, none between."""
    for utterance in read_manifest(corpus / "train.jsonl")[:8]:
        samples, rate = soundfile.read(utterance.audio_path)
        assert utterance.words[0][0] == pytest.approx(0.1, abs=0.011)
        inside = np.zeros(len(samples), dtype=bool)
        for begin, end in utterance.words:
            assert end - begin == pytest.approx(0.2, abs=0.002)
            inside[int(begin * rate) : int(end * rate)] = True
        assert np.sum(samples[inside] ** 2) > 0.99 * np.sum(samples**2)


def test_held_out_voices_and_texts_are_in_no_training(corpus):
    plan = TeacherPlan(FakeTeacher(), [*TEXTS, "held out, ONE!"], HELD_OUT_TEXTS, SETTINGS)
    train = plan.speakers["train"]
    assert len(train) == 12 and len({speaker.name for speaker in train}) == 12
    assert {name for speaker in train for name, _ in speaker.weights} == {*VOICES} - {"am_c", "bf_d"}
    for speaker in train:
        assert sum(weight for _, weight in speaker.weights) == pytest.approx(1)
    assert [len(speaker.weights) for speaker in train[:4]] == [1] * 4
    # Blends of two or three, drawn apart from the mean: what is no part has the same small negative weight in all.
    counts = set()
    for speaker in train[4:]:
        weights = sorted(weight for _, weight in speaker.weights)
        assert len(weights) == 4 and -0.2 - 1e-9 <= weights[0] < 0
        counts.add(sum(weight > weights[0] + 1e-9 for weight in weights))
    assert counts == {2, 3}
    said = {split: {u.transcription for u in read_manifest(corpus / f"{split}.jsonl")} for split in SPLITS}
    speakers = {split: {u.speaker for u in read_manifest(corpus / f"{split}.jsonl")} for split in SPLITS}
    assert said["train"] <= {*TEXTS} and said["test"].isdisjoint(said["test_seen"])
    assert speakers["test"] == {"am_c", "bf_d"} and speakers["test_seen"] <= {*VOICES} - {"am_c", "bf_d"}
    first = list(islice(plan.splits()["train"], 20))
    assert "held out, ONE!" not in {item.text for item in first}
    for ten in (first[:10], first[10:]):  # each text once before any comes again
        assert {item.text for item in ten} == {*TEXTS}
    assert [item.text for item in first[:10]] != [item.text for item in first[10:]]


def test_better_voices_speak_more_and_all_do():
    plan = TeacherPlan(FakeTeacher(), TEXTS, HELD_OUT_TEXTS, Settings(voices=8))
    names = [item.voice.name for item in islice(plan.splits()["train"], 600)]
    published, blends = (sum(name.startswith(kind) for name in names) for kind in (("af", "am", "bf", "bm"), "blend"))
    assert published / 6 > 2 * blends / 2 > 0 and len({*names}) == 8


def test_an_interrupted_corpus_goes_on_where_it_stopped(corpus, tmp_path, monkeypatch):
    folder, spoken = tmp_path / "english", []

    class Interrupted(FakeTeacher):
        def speak(self, text, speaker):
            spoken.append(text)
            if len(spoken) == 12:
                raise KeyboardInterrupt
            return super().speak(text, speaker)

    with pytest.raises(KeyboardInterrupt):
        speak(folder, make=Interrupted)
    assert not list(folder.glob("*.jsonl")) and not list(folder.rglob("*.partial"))
    with (folder / "train.spoken").open("a") as notes:
        notes.write('{"number": 5, "id"')  # half a line, of a machine that stopped
    lost = sorted(folder.rglob("train-*.flac"))[1]
    lost.write_bytes(b"")
    before = len(list(folder.rglob("*.flac"))) - 1
    speak(folder, make=Interrupted)
    assert everything(folder).keys() == everything(corpus).keys()
    for split in SPLITS:
        assert (folder / f"{split}.jsonl").read_bytes() == (corpus / f"{split}.jsonl").read_bytes()
    assert lost.stat().st_size > 0
    assert len(spoken) - 12 == len(list(corpus.rglob("*.flac"))) - before  # nothing was spoken twice


def test_more_hours_add_to_what_is_there(corpus, tmp_path):
    folder = speak(tmp_path / "english", hours=0.004)
    few = read_manifest(folder / "train.jsonl")
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")}
    speak(folder)
    assert len(few) < len(read_manifest(folder / "train.jsonl"))
    assert (folder / "train.jsonl").read_bytes() == (corpus / "train.jsonl").read_bytes()
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"settings": Settings(voices=11, held_out=("am_c", "bf_d"), held_out_utterances=2)}, "voices 12, not 11"),
        ({"texts": TEXTS[1:]}, "texts '"),
        ({"make": partial(FakeTeacher, voices=VOICES[:-1])}, "published_voices 6, not 5"),  # blends would differ
        ({"make": partial(FakeTeacher, folder="elsewhere")}, None),
    ],
)
def test_another_corpus_is_left_as_it_is(corpus, change, message):
    before = everything(corpus)
    if message is None:  # the same teacher, elsewhere
        speak(corpus, **change)
    else:
        with pytest.raises(UserError, match=message):
            speak(corpus, **change)
    assert everything(corpus) == before


def test_a_corpus_of_another_version_is_not_added_to(tmp_path):
    folder = speak(tmp_path / "english", hours=0.003)
    path = folder / "corpus.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    before = everything(folder)
    with pytest.raises(
        UserError, match=r"by another version of this project, .* train on it as it is, or give another"
    ):
        speak(folder)
    assert everything(folder) == before and TeacherCorpus(folder).prepare() == folder


def test_voices_of_other_languages_speak_in_training_alone_after_the_others():
    teacher = FakeTeacher()
    teacher.published += [
        PublishedVoice("ef_g", "en-us", 6.0, foreign=True),
        PublishedVoice("zf_h", "en-us", 6.0, foreign=True),
    ]
    plan = TeacherPlan(teacher, TEXTS, HELD_OUT_TEXTS, replace(SETTINGS, voices=5))
    names = [speaker.name for speaker in plan.speakers["train"]]
    assert {*names[:4]} == {*VOICES} - {"am_c", "bf_d"} and names[4:] == ["ef_g"]
    assert {speaker.name for speaker in plan.speakers["validation"]} == {*names[:4]}
    plan = TeacherPlan(teacher, TEXTS, HELD_OUT_TEXTS, SETTINGS)
    assert {"ef_g", "zf_h"} <= {name for name, _ in plan.speakers["train"][-1].weights}
    for split in ("validation", "test", "test_seen"):
        assert not {"ef_g", "zf_h"} & {speaker.name for speaker in plan.speakers[split]}


def test_the_usual_voices_are_held_out_of_those_that_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "melle.corpora.english.corpus.Kokoro", partial(FakeTeacher, voices=("af_a", "af_river", "am_liam"))
    )
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    made = dict(folder=tmp_path / "own", texts=[tmp_path / "texts.txt"], language="en-us", hours=0.002, voices=1)
    folder = TeacherCorpus(**made, held_out_utterances=4, teacher_model=tmp_path, workers=1).speak()
    assert {u.speaker for u in read_manifest(folder / "test.jsonl")} == {"af_river", "am_liam"}
    assert {u.speaker for u in read_manifest(folder / "train.jsonl")} == {"af_a"}


def test_a_corpus_of_other_settings_is_not_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr("melle.corpora.english.corpus.Kokoro", FakeTeacher)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    (tmp_path / "other.txt").write_text("\n".join(TEXTS[1:]))
    made = dict(folder=tmp_path / "own", texts=[tmp_path / "texts.txt"], held_out=["am_c"], hours=0.003, voices=8)
    made |= dict(held_out_utterances=2, seed=3)
    folder = TeacherCorpus(**made, teacher_model=tmp_path, workers=1).prepare()
    assert TeacherCorpus(**made).prepare() == TeacherCorpus(folder).prepare() == folder  # none asked for: as it is
    for change, says in (
        ({"voices": 50}, "voices 8, not 50"),
        ({"seed": 4}, "seed 3, not 4"),
        ({"hours": 0.5}, r"0\.00 hours, not 0\.5"),
        ({"language": "fr-fr"}, "language en, not fr-fr"),
        ({"held_out": ["bf_d"]}, r"held_out \['am_c'\], not \['bf_d'\]"),
        ({"texts": [tmp_path / "other.txt"]}, "other texts"),
    ):
        with pytest.raises(UserError, match=rf"other settings \({says}\); name another folder by data\.corpus\.folder"):
            TeacherCorpus(**{**made, **change}).prepare()


def test_what_cannot_be_spoken_is_listed_and_skipped(tmp_path):
    folder = speak(tmp_path / "english", texts=["...", "One.", "?!", "Two."])
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert {note["text"] for note in rejected} == {"...", "?!"}
    assert all("nothing to say" in note["reason"] and note["split"] == "train" for note in rejected)
    assert {u.transcription for u in read_manifest(folder / "train.jsonl")} == {"One.", "Two."}
    with pytest.raises(UserError, match=r"none of 20 texts .*nothing to say"):
        speak(tmp_path / "silent", texts=[f"{'.' * number}" for number in range(1, 30)])


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(corpus, tmp_path, monkeypatch):
    write, written = generate.soundfile.write, []

    def full(path, speech, *arguments, **options):
        written.append(path)
        write(path, speech[: 100 if len(written) == 9 else None], *arguments, **options)
        if len(written) == 9:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(generate.soundfile, "write", full)
        with pytest.raises(UserError, match=r"No space left on device\); make room .* goes on where it stopped"):
            speak(tmp_path / "english")
    assert not written[-1].exists() and not list((tmp_path / "english").rglob("*.partial"))
    assert everything(speak(tmp_path / "english")) == everything(corpus)


def test_opus(tmp_path):
    settings = Settings(voices=2, held_out_utterances=1, format="opus")
    folder = speak(tmp_path / "english", hours=0.001, settings=settings)
    for utterance in read_manifest(folder / "train.jsonl"):
        info = soundfile.info(utterance.audio_path)
        assert (info.format, info.subtype, info.samplerate) == ("OGG", "OPUS", 16000)
        assert info.duration == pytest.approx(utterance.duration, abs=0.01)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"hours": 0}, "above 0"),
        ({"hours": float("nan")}, "above 0"),
        ({"texts": []}, "no text to speak"),
        ({"texts": ["Held out one"]}, "no text to speak"),
        ({"settings": Settings(held_out=("nobody",))}, "the teacher's voices are af_a"),
        ({"settings": Settings(held_out=("BM_EE",))}, r"BM_EE \(did you mean bm_e\?\): the teacher's voices are af_a"),
        ({"settings": Settings(held_out=VOICES)}, "every voice of the teacher is held out"),
    ],
)
def test_what_cannot_be_a_corpus_is_an_error_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        speak(tmp_path / "english", **arguments)
    assert not (tmp_path / "english").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds something else"):
        speak(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
