"""``prepare``: corpora in miniature, in the layout and the archives in which they are published."""

import argparse
import json
import random
import re
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from melle.audio_formats import COMPRESSED
from melle.cli import make_parser, read_command
from melle.data.manifest import Utterance, read_manifest
from melle.data.sources import manifests as sources
from melle.data.sources.fsdd import fsdd_split
from melle.data.sources.librispeech import evaluation_lists
from melle.data.sources.manifests import share
from melle.data.sources.published import by_subset
from melle.errors import UserError
from tests.conftest import install_ffmpeg

pytest.importorskip("lhotse")


def run(*arguments: object) -> None:
    read_command(["prepare", *map(str, arguments)]).run()


def tone(path: Path, seconds: float = 0.1, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(round(seconds * rate)) / 5), rate)
    return path


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def pack(folder: Path, archive: Path) -> Path:
    """An archive of what is in the folder."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, f"w:{archive.suffix[1:]}") as file:
            for path in sorted(folder.iterdir()):
                file.add(path, path.name)
    return archive


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jsonl"))


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}


# LibriSpeech


def make_subset(root: Path, subset: str, speakers: dict[str, list[float]]) -> None:
    """A subset of LibriSpeech: the utterances of every speaker, of these lengths in seconds, in one chapter."""
    for speaker, lengths in speakers.items():
        chapter = root / "LibriSpeech" / subset / speaker / "77"
        lines = []
        for number, seconds in enumerate(lengths):
            tone(chapter / f"{speaker}-77-{number:04}.flac", seconds)
            lines.append(f"{speaker}-77-{number:04} IT'S TEXT {speaker} {number}\n")
        text(chapter / f"{speaker}-77.trans.txt", "".join(lines))
    text(root / "LibriSpeech" / "SPEAKERS.TXT", "1089 | M | test-clean\n")


TEST_CLEAN = {"1089": [4.5, 3.0, 10.5, 6.0, 9.9], "121": [5.0, 5.0], "61": [5.0, 2.0]}


def test_librispeech_from_archives(tmp_path, caplog):
    for subset, speakers in {
        "train-clean-100": {"103": [0.1, 0.2]},
        "train-clean-360": {"14": [0.3]},
        "train-other-500": {"20": [0.1]},
        "dev-other": {"116": [0.1]},
        "test-clean": TEST_CLEAN,
    }.items():
        make_subset(tmp_path / subset, subset, speakers)
        pack(tmp_path / subset, tmp_path / "root" / f"{subset}.tar.gz")
    out = tmp_path / "out"
    run("librispeech", "--root", tmp_path / "root", "-o", out)

    assert "not found: dev-clean, test-other; --download fetches them" in caplog.text
    assert names(out) == [
        "librispeech_dev_other.jsonl",
        "librispeech_test_clean.jsonl",
        "librispeech_testclean_continuation.jsonl",
        "librispeech_testclean_generate.jsonl",
        "librispeech_testclean_prompt.jsonl",
        "librispeech_train960.jsonl",
    ]
    train = read_manifest(out / "librispeech_train960.jsonl")
    assert [u.id for u in train] == ["103-77-0000", "103-77-0001", "14-77-0000", "20-77-0000"]
    audio = tmp_path / "root/LibriSpeech/train-clean-100/103/77/103-77-0001.flac"
    assert train[1] == Utterance("it's text 103 1", audio, "103-77-0001", "103", "en", 0.2)
    assert (tmp_path / "root/LibriSpeech/SPEAKERS.TXT").is_file()
    assert len(read_manifest(out / "librispeech_test_clean.jsonl")) == 9

    # Again: nothing changes, though the archives are gone.
    for archive in (tmp_path / "root").glob("*.tar.gz"):
        archive.unlink()
    before = times(out)
    run("librispeech", "--root", tmp_path / "root", "-o", out)
    assert times(out) == before

    # Other subsets and other settings make other manifests.
    make_subset(tmp_path / "root", "test-other", {"8": [0.1]})
    run("librispeech", "--root", tmp_path / "root/LibriSpeech", "-o", out, "--keep-case")
    assert read_manifest(out / "librispeech_test_other.jsonl")[0].transcription == "IT'S TEXT 8 0"


def test_librispeech_manifests_say_what_they_hold(tmp_path):
    make_subset(tmp_path, "train-clean-100", {"103": [0.1]})
    make_subset(tmp_path, "train-clean-360", {"14": [0.1]})
    run("librispeech", "--root", tmp_path, "-o", tmp_path / "out")
    assert names(tmp_path / "out") == ["librispeech_train460.jsonl"]
    run("librispeech", "--root", tmp_path, "-o", tmp_path / "part", "--subsets", "train-clean-100")
    assert names(tmp_path / "part") == ["librispeech_train100.jsonl"]


def test_librispeech_lists_pair_the_lines(tmp_path):
    make_subset(tmp_path, "test-clean", TEST_CLEAN)
    run("librispeech", "--root", tmp_path, "-o", tmp_path / "out")
    lists = {n: read_manifest(tmp_path / f"out/librispeech_testclean_{n}.jsonl") for n in ("prompt", "generate")}
    assert [u.id for u in lists["generate"]] == ["1089-77-0000", "1089-77-0003", "1089-77-0004", *ids_of("121", 2)]
    for prompt, target in zip(lists["prompt"], lists["generate"], strict=True):
        assert prompt.speaker == target.speaker and prompt.id != target.id
        assert 4 <= prompt.duration <= 10 and 4 <= target.duration <= 10
    continued = read_manifest(tmp_path / "out/librispeech_testclean_continuation.jsonl")
    assert {u.id for u in continued} == {u.id for u in lists["generate"]} | {"61-77-0000"}


def ids_of(speaker: str, count: int) -> list[str]:
    return [f"{speaker}-77-{number:04}" for number in range(count)]


def test_evaluation_lists_do_not_depend_on_the_order():
    draw = random.Random(1)
    utterances = [
        Utterance(f"text {n}", Path(f"{n}.flac"), f"{n % 9}-{n}", str(n % 9), "en", draw.uniform(2, 14))
        for n in range(200)
    ]
    lists = evaluation_lists(utterances)
    draw.shuffle(utterances)
    assert evaluation_lists(utterances) == lists
    prompts, targets, continued = lists.values()
    assert len(prompts) == len(targets) == len(continued) > 50
    assert all(a.speaker == b.speaker and a.id != b.id for a, b in zip(prompts, targets))
    assert all(4 <= u.duration <= 10 for u in [*prompts, *targets, *continued])
    assert len({u.id for u in prompts}) > 30  # not the same few for all


def test_without_two_fitting_utterances_there_are_no_prompts(tmp_path, caplog):
    make_subset(tmp_path, "test-clean", {"61": [5.0, 2.0]})
    run("librispeech", "--root", tmp_path, "-o", tmp_path / "out")
    assert names(tmp_path / "out") == ["librispeech_test_clean.jsonl", "librispeech_testclean_continuation.jsonl"]
    assert "so no prompts" in caplog.text


def test_librispeech_recordings_that_are_missing_or_broken(tmp_path):
    make_subset(tmp_path, "dev-clean", {"84": [0.1, 0.1, 0.1]})
    chapter = tmp_path / "LibriSpeech/dev-clean/84/77"
    (chapter / "84-77-0001.flac").unlink()
    run("librispeech", "--root", tmp_path, "-o", tmp_path / "out")
    assert [u.id for u in read_manifest(tmp_path / "out/librispeech_dev_clean.jsonl")] == ["84-77-0000", "84-77-0002"]
    (chapter / "84-77-0000.flac").write_bytes(b"fLaC, but no more")
    with pytest.raises(UserError, match="LibriSpeech: not as published") as error:
        run("librispeech", "--root", tmp_path, "-o", tmp_path / "out")
    assert "\n" not in str(error.value)


def test_librispeech_by_download(tmp_path):
    make_subset(tmp_path / "made", "dev-clean", {"84": [0.1]})
    archive = pack(tmp_path / "made", tmp_path / "served/12/dev-clean.tar.gz")
    where = ["--root", tmp_path / "root", "-o", tmp_path / "out", "--subsets", "dev-clean", "--download"]
    run("librispeech", *where, "--mirror", (tmp_path / "served").as_uri())
    assert len(read_manifest(tmp_path / "out/librispeech_dev_clean.jsonl")) == 1
    archive.unlink()
    run("librispeech", *where)  # asks no server


def test_more_recordings_in_a_chapter_are_seen(tmp_path):
    make_subset(tmp_path, "dev-clean", {"84": [0.1]})
    run("librispeech", "--root", tmp_path, "-o", tmp_path / "out")
    chapter = tmp_path / "LibriSpeech/dev-clean/84/77"
    tone(chapter / "84-77-0001.flac")
    (chapter / "84-77.trans.txt").write_text("84-77-0000 ONE\n84-77-0001 TWO\n")
    run("librispeech", "--root", tmp_path, "-o", tmp_path / "out")
    assert len(read_manifest(tmp_path / "out/librispeech_dev_clean.jsonl")) == 2


def test_the_configuration_names_the_manifests():
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        data = compose("train", ["experiment=melle_limited"]).data
    assert (data.batch_frames, data.max_join, data.corpus) == (80000, 1, None)
    assert data.train == "data/librispeech/librispeech_train960.jsonl"


# Other corpora


def test_ljspeech(tmp_path):
    corpus, lines = tmp_path / "made/LJSpeech-1.1", []
    for number in range(300):
        tone(corpus / f"wavs/LJ001-{number:04}.wav")
        lines.append(f'LJ001-{number:04}|"In {number}"|"In year {number},"\n')
    text(corpus / "metadata.csv", "".join(lines))
    pack(tmp_path / "made", tmp_path / "root/LJSpeech-1.1.tar.bz2")
    run("ljspeech", "--root", tmp_path / "root", "-o", tmp_path / "out")
    found = {
        split: read_manifest(tmp_path / f"out/ljspeech_{split}.jsonl") for split in ("train", "validation", "test")
    }
    assert sum(map(len, found.values())) == 300 and len(found["train"]) > 270
    assert found["train"][0].transcription.startswith('"In year ') and found["train"][0].speaker == "lj"
    assert all(share(u.id) < 0.02 for u in found["test"])

    # More recordings: none of the others changes sides.
    for number in range(300, 340):
        tone(tmp_path / f"root/LJSpeech-1.1/wavs/LJ001-{number:04}.wav")
        lines.append(f"LJ001-{number:04}|more|more\n")
    text(tmp_path / "root/LJSpeech-1.1/metadata.csv", "".join(lines))
    run("ljspeech", "--root", tmp_path / "root/LJSpeech-1.1", "-o", tmp_path / "out")
    for split, before in found.items():
        assert {u.id for u in before} <= {u.id for u in read_manifest(tmp_path / f"out/ljspeech_{split}.jsonl")}


def test_subsets_in_another_language():
    recordings = {"r": SimpleNamespace(sources=[SimpleNamespace(source="r.flac")])}
    said = [SimpleNamespace(id=i, text=t, recording_id="r", speaker="s", duration=1.0) for i, t in ("bä", "a ")]
    found = {name: {"recordings": recordings, "supervisions": said} for name in ("train-a", "train-b", "dev")}
    manifests = by_subset("corpus", found, "train", language="sv")
    expected = Utterance("ä", Path("r.flac"), "b", "s", "sv", 1.0)  # the other has no text
    assert manifests == {"corpus_train.jsonl": [expected] * 2, "corpus_dev.jsonl": [expected]}


def make_libritts(subset: Path, count: int) -> None:
    chapter, stems = subset / "84" / "121123", [f"84_121123_{number:06}_000000" for number in range(count)]
    for stem in stems:
        tone(chapter / f"{stem}.wav", rate=24000)
    lines = [f"{stem}\tMr. {number}.\tMister {number}.\n" for number, stem in enumerate(stems)]
    text(chapter / "84_121123.trans.tsv", "".join(lines))
    text(chapter / "84_121123.book.tsv", "".join(f"{stem}\tMr.\tMister\t0\t20.5\n" for stem in stems))


@pytest.mark.parametrize("corpus, top, separator", [("libritts", "LibriTTS", "-"), ("libritts-r", "LibriTTS_R", "_")])
def test_libritts(tmp_path, corpus, top, separator):
    for subset in ("train-clean-100", "train-other-500", "dev-clean"):
        make_libritts(tmp_path / subset / top / subset, 2)
        pack(tmp_path / subset, tmp_path / "root" / f"{subset.replace('-', separator)}.tar.gz")
    run(corpus, "--root", tmp_path / "root", "-o", tmp_path / "out")
    prefix = corpus.replace("-", "_")
    assert names(tmp_path / "out") == [f"{prefix}_dev_clean.jsonl", f"{prefix}_train.jsonl"]
    assert len(read_manifest(tmp_path / f"out/{prefix}_train.jsonl")) == 4
    audio = tmp_path / f"root/{top}/dev-clean/84/121123/84_121123_000001_000000.wav"
    expected = Utterance("Mister 1.", audio, audio.stem, "84", "en", 0.1)
    assert read_manifest(tmp_path / f"out/{prefix}_dev_clean.jsonl")[1] == expected


def test_more_recordings_in_a_chapter_of_libritts_are_seen(tmp_path):
    for count in (1, 2):
        make_libritts(tmp_path / "LibriTTS/dev-clean", count)
        run("libritts", "--root", tmp_path, "-o", tmp_path / "out")
        assert len(read_manifest(tmp_path / "out/libritts_dev_clean.jsonl")) == count


@pytest.mark.parametrize("bare", [True, False])
def test_vctk(tmp_path, bare):
    corpus = tmp_path / "made" if bare else tmp_path / "made/VCTK-Corpus-0.92"
    speakers = [f"p{number}" for number in range(225, 255)] + ["s5"]
    for speaker in speakers:
        for number in (1, 2):
            stem = f"{speaker}_{number:03}"
            for microphone in (1, 2):
                tone(corpus / f"wav48_silence_trimmed/{speaker}/{stem}_mic{microphone}.flac", rate=48000)
            if (speaker, number) != ("p225", 2):
                text(corpus / f"txt/{speaker}/{stem}.txt", "Please call Stella.\n")
    listed = "".join(f"{speaker} 23 F English Southern England\n" for speaker in speakers)
    text(corpus / "speaker-info.txt", f"ID AGE GENDER ACCENTS REGION COMMENTS\n{listed}")
    pack(tmp_path / "made", tmp_path / "root/VCTK-Corpus-0.92.zip")
    run("vctk", "--root", tmp_path / "root", "-o", tmp_path / "out")
    found = [read_manifest(tmp_path / f"out/vctk_{split}.jsonl") for split in ("train", "validation", "test")]
    voices = [{u.speaker for u in split} for split in found]
    assert sum(map(len, voices)) == len(set.union(*voices)) == 31 and sum(map(len, found)) == 61
    assert found[0][0].transcription == "Please call Stella." and found[0][0].audio_path.stem.endswith("_mic1")
    assert found[0][0].id == f"{found[0][0].speaker}_001"
    run("vctk", "--root", tmp_path / "root", "-o", tmp_path / "out", "--microphone", 2)
    assert read_manifest(tmp_path / "out/vctk_train.jsonl")[0].audio_path.stem.endswith("_mic2")


def test_mls(tmp_path):
    corpus = tmp_path / "made/mls_polish"
    for split, speaker in (("train", 7), ("dev", 8), ("test", 9)):
        lines = [(f"{speaker}_1_{number:06}", f"dobry wieczór {number}") for number in range(2)]
        for id, _ in lines:
            tone(corpus / split / "audio" / str(speaker) / "1" / f"{id}.flac", 0.2, 16000)
        text(corpus / split / "transcripts.txt", "".join(f"{id}\t{said}\n" for id, said in lines))
    text(corpus / "metainfo.txt", "SPEAKER | GENDER | PARTITION\n" + "".join(f"{n} | F | x\n" for n in (7, 8, 9)))
    pack(tmp_path / "made", tmp_path / "root/mls_polish.tar.gz")
    out = tmp_path / "out"
    run("mls", "--root", tmp_path / "root", "-o", out, "--languages", "polish")
    assert names(out) == [f"mls_polish_{split}.jsonl" for split in ("test", "train", "validation")]
    audio = tmp_path / "root/mls_polish/dev/audio/8/1/8_1_000001.flac"
    assert read_manifest(out / "mls_polish_validation.jsonl")[1] == Utterance(
        "dobry wieczór 1", audio, "8_1_000001", "8", "pl", 0.2
    )
    with pytest.raises(UserError, match=r"no mls_dutch, neither unpacked nor as .*; add --download"):
        run("mls", "--root", tmp_path / "root", "-o", out, "--languages", "polish", "dutch")


def test_fsdd(tmp_path):
    corpus = tmp_path / "made/free-spoken-digit-dataset-1.0.10"
    for speaker in ("jackson", "theo"):
        for index in range(12):
            tone(corpus / f"recordings/7_{speaker}_{index}.wav")
    text(corpus / "README.md", "digits")
    pack(tmp_path / "made", tmp_path / "root/free-spoken-digit-dataset-1.0.10.tar.gz")
    run("fsdd", "--root", tmp_path / "root", "-o", tmp_path / "root")
    found = {s: read_manifest(tmp_path / f"root/fsdd_{s}.jsonl") for s in ("train", "validation", "test")}
    assert {split: len(members) for split, members in found.items()} == {"train": 4, "validation": 10, "test": 10}
    assert {(u.transcription, u.language) for u in found["test"]} == {("seven", "en")}
    assert Counter(u.speaker for u in found["test"]) == {"jackson": 5, "theo": 5}
    line = json.loads((tmp_path / "root/fsdd_test.jsonl").read_text().splitlines()[0])
    assert line["audio_path"] == "free-spoken-digit-dataset-1.0.10/recordings/7_jackson_0.wav"  # can be moved
    run("fsdd", "--root", corpus, "-o", tmp_path / "clone")  # a clone of the repository, under any name
    assert len(read_manifest(tmp_path / "clone/fsdd_test.jsonl")) == 10


# One's own recordings


def make_own(root: Path, count: int = 30) -> None:
    for number in range(count):
        voice = "anna" if number % 2 else "ben"
        tone(root / voice / f"{number}.wav")
        text(root / voice / f"{number}{'.lab' if number % 3 else '.txt'}", f"Good  morning,\nZoë {number}.")


def test_a_folder(tmp_path, caplog):
    make_own(tmp_path / "mine")
    tone(tmp_path / "mine/anna/untold.wav")
    tone(tmp_path / "mine/ben/0.flac")
    text(tmp_path / "mine/ben/empty.txt", " \n")
    tone(tmp_path / "mine/ben/empty.wav")
    options = ["--speaker-from-folder", "--language", "en", "--validation-share", 0.2, "-o", tmp_path / "out"]
    run("folder", "--root", tmp_path / "mine", *options)
    train, validation = (read_manifest(tmp_path / f"out/{split}.jsonl") for split in ("train", "validation"))
    assert len(train) + len(validation) == 30 and 1 <= len(validation) <= 12
    assert {u.speaker for u in train} == {"anna", "ben"} and train[0].language == "en"
    assert {u.transcription for u in train + validation} == {f"Good morning, Zoë {number}." for number in range(30)}
    assert "3 skipped; the first:" in caplog.text

    before = times(tmp_path / "out")
    run("folder", "--root", tmp_path / "mine", *options)
    assert times(tmp_path / "out") == before
    make_own(tmp_path / "mine", 60)
    run("folder", "--root", tmp_path / "mine", *options)
    assert {u.id for u in train} <= {u.id for u in read_manifest(tmp_path / "out/train.jsonl")}
    assert {u.id for u in validation} <= {u.id for u in read_manifest(tmp_path / "out/validation.jsonl")}
    text(tmp_path / "mine/ben/0.txt", "Mended.")
    run("folder", "--root", tmp_path / "mine", *options)
    both = [*read_manifest(tmp_path / "out/train.jsonl"), *read_manifest(tmp_path / "out/validation.jsonl")]
    assert "Mended." in {u.transcription for u in both}
    run("folder", "--root", tmp_path / "mine", "-o", tmp_path / "out", "--validation-share", 0)
    assert len(read_manifest(tmp_path / "out/train.jsonl")) == 60  # now holds what was for validation
    assert "validation.jsonl: from an earlier run" in caplog.text


def test_linked_folders_are_searched_once(tmp_path):
    make_own(tmp_path / "elsewhere", 4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "mine")  # round and round
    run("folder", "--root", tmp_path / "mine", "--validation-share", 0, "-o", tmp_path / "out")
    found = read_manifest(tmp_path / "out/train.jsonl")
    assert sorted(u.id for u in found) == ["link/anna/1", "link/anna/3", "link/ben/0", "link/ben/2"]


def test_endings_in_capitals(tmp_path):
    for number, (sound, words) in enumerate(
        [("WAV", "txt"), ("FLAC", "TXT"), ("wav", "Lab"), ("Wav", "NORMALIZED.TXT")]
    ):
        soundfile.write(tmp_path / f"{number}.{sound}", np.zeros(800), 8000, format=sound.upper())
        text(tmp_path / f"{number}.{words}", f"text {number}")
    run("folder", "--root", tmp_path, "--validation-share", 0, "-o", tmp_path / "out")
    found = read_manifest(tmp_path / "out/train.jsonl")
    assert [(u.id, u.transcription) for u in found] == [(str(number), f"text {number}") for number in range(4)]
    text(tmp_path / "table.csv", "audio,text\n0.WAV,with\n1,without\n")
    run("folder", "--csv", tmp_path / "table.csv", "--validation-share", 0, "-o", tmp_path / "table")
    assert [(u.id, u.duration) for u in read_manifest(tmp_path / "table/train.jsonl")] == [("0", 0.1), ("1", 0.1)]


TABLES = {
    "header.csv": ('speaker,text,audio\nanna,"One, two",a.wav\nben,Three,b/c.wav\n', ["--speaker-column", "speaker"]),
    "tab.tsv": ("path\twords\na.wav\tOne, two\nb/c.wav\tThree\n", ["--audio-column", "path", "--text-column", "words"]),
    "bars.csv": ('a|"One, two|x\nb/c.wav|Three\n', ["--audio-column", 1, "--text-column", 2]),
    "given.csv": ("\ufeffaudio;text\na.wav;One, two\nb/c.wav;Three\n", ["--delimiter", ";"]),
}


COMMAS = "a.wav|Yes, no, well, maybe\nb/c.wav|Three, four\n"


@pytest.mark.parametrize("there", [True, False])
def test_the_delimiter_is_the_one_by_which_the_lines_name_recordings(tmp_path, there):
    for name in ("a", "b/c") if there else ("b/c",):
        tone(tmp_path / f"{name}.wav")
    text(tmp_path / "table.csv", COMMAS)
    options = ["--audio-column", 1, "--text-column", 2, "--validation-share", 0, "-o", tmp_path / "out"]
    run("folder", "--csv", tmp_path / "table.csv", *options)
    found = [u.transcription for u in read_manifest(tmp_path / "out/train.jsonl")]
    assert found == ["Yes, no, well, maybe", "Three, four"][not there :]


@pytest.mark.parametrize("header", [True, False])
def test_a_remark_before_the_lines_of_a_table_is_one_fault(tmp_path, caplog, header):
    for name in ("a", "b/c"):
        tone(tmp_path / f"{name}.wav")
    text(
        tmp_path / "table.csv", "# my corpus\n" + ("audio|text\n" if header else "") + "a.wav|Yes, no\nb/c.wav|Three\n"
    )
    columns = [] if header else ["--audio-column", 1, "--text-column", 2]
    run("folder", "--csv", tmp_path / "table.csv", "--validation-share", 0, "-o", tmp_path / "out", *columns)
    found = [u.transcription for u in read_manifest(tmp_path / "out/train.jsonl")]
    assert found == ["Yes, no", "Three"] and "item 1: the text is missing" in caplog.text


def test_paths_of_a_table_from_windows_are_found(tmp_path):
    tone(tmp_path / "b/c.wav")
    text(tmp_path / "table.csv", "audio|text\nb\\c.wav|Three\n")
    run("folder", "--csv", tmp_path / "table.csv", "--validation-share", 0, "-o", tmp_path / "out")
    assert [u.id for u in read_manifest(tmp_path / "out/train.jsonl")] == ["b/c"]


@pytest.mark.parametrize("name", TABLES)
def test_a_table(tmp_path, name):
    content, options = TABLES[name]
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b/c.wav")
    text(tmp_path / name, content)
    run("folder", "--csv", tmp_path / name, "--validation-share", 0, "-o", tmp_path / "out", *options)
    found = read_manifest(tmp_path / "out/train.jsonl")
    assert [u.id for u in found] == ["a", "b/c"] and [u.audio_path.name for u in found] == ["a.wav", "c.wav"]
    assert [u.transcription.lstrip('"') for u in found] == ["One, two", "Three"]
    assert [u.speaker for u in found] == (["anna", "ben"] if "--speaker-column" in options else [None, None])


@pytest.mark.parametrize("header", [True, False])
def test_tables_that_were_joined_lose_no_line(tmp_path, caplog, header):
    tables = []
    for name in "abc":
        tone(tmp_path / f"{name}.wav")
        tables.append("\ufeff" + ("audio|text\n" if header else "") + f"{name}.wav|Text of {name}\n")
    text(tmp_path / "table.csv", "".join(tables))
    columns = [] if header else ["--audio-column", 1, "--text-column", 2]
    run("folder", "--csv", tmp_path / "table.csv", "--validation-share", 0, "-o", tmp_path / "out", *columns)
    found = [(u.id, u.transcription) for u in read_manifest(tmp_path / "out/train.jsonl")]
    assert found == [(name, f"Text of {name}") for name in "abc"] and not caplog.records


def test_recordings_of_telephones_are_taken_where_ffmpeg_is(tmp_path, monkeypatch, caplog):
    """With a stand-in for FFmpeg, which hands out the same sound whatever it is given."""
    description = next(p for p in _parsers(make_parser(complete=True)) if p.prog.endswith("prepare folder")).description
    named = re.findall(r"(?<= )\.\w+", description)
    assert {".wav", ".aac", ".amr", ".3gp", ".mp4", ".webm", ".m4a"} <= set(named)
    root = tmp_path / "mine"
    kinds = {".oga": "OGG", ".opus": "OGG", ".aif": "AIFF"}
    for ending in named:
        path = root / f"in{ending.lstrip('.')}{ending}"
        text(path.with_suffix(".txt"), f"Text of {ending}")
        if ending in COMPRESSED:
            path.write_bytes(b"what libsndfile cannot read")
        else:
            kind = kinds.get(ending, ending.lstrip(".").upper())
            soundfile.write(
                path, 0.1 * np.ones(1600), 16000, subtype="OPUS" if ending == ".opus" else None, format=kind
            )
    command = ["folder", "--root", root, "--validation-share", 0, "-o"]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    run(*command, tmp_path / "without")
    assert len(read_manifest(tmp_path / "without/train.jsonl")) == len(named) - len(COMPRESSED)
    assert f"{len(COMPRESSED)} skipped" in caplog.text and "install FFmpeg" in caplog.text
    tone(tmp_path / "decoded.wav")
    install_ffmpeg(tmp_path, monkeypatch)
    run(*command, tmp_path / "with")
    found = read_manifest(tmp_path / "with/train.jsonl")
    assert {u.transcription for u in found} == {f"Text of {ending}" for ending in named}


def test_of_a_video_and_its_sound_the_sound_is_taken(tmp_path):
    tone(tmp_path / "mine/a.wav")
    (tmp_path / "mine/a.mp4").write_bytes(b"moving")
    text(tmp_path / "mine/a.txt", "One")
    run("folder", "--root", tmp_path / "mine", "--validation-share", 0, "-o", tmp_path / "out")
    (only,) = read_manifest(tmp_path / "out/train.jsonl")
    assert only.audio_path.name == "a.wav"


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    inner = [
        one
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for one in action.choices.values()
    ]
    return [parser, *(found for one in inner for found in _parsers(one))]


@pytest.mark.parametrize(
    "lines, number",
    [
        (["a.wav,One", 'b.wav,"Two', "c.wav,Three"], 3),  # it never ends
        (["a.wav,One", 'b.wav,"Two" he said', "c.wav,Three"], 3),
        (['a.wav,"One,', 'and more"', "", 'b.wav,"Two', 'c.wav,"Three"'], 5),
        (["a.wav,One", "b.wav," + "x" * 200_000], 3),  # more than csv takes
    ],
)
def test_a_quotation_mark_too_many_is_an_error_that_names_the_line(tmp_path, lines, number):
    text(tmp_path / "table.csv", "\n".join(["audio,text", *lines]) + "\n")
    with pytest.raises(UserError, match=rf"table\.csv, line {number}: ") as error:
        run("folder", "--csv", tmp_path / "table.csv", "-o", tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("columns", [[], ["--audio-column", 1, "--text-column", 2]])
def test_the_lines_of_a_table_end_where_csv_ends_them(tmp_path, columns):
    for name in "abcd":
        tone(tmp_path / f"{name}.wav")
    lines = ["a.wav|One\u2028more", 'b.wav|"Two', "c.wav|Three\x85more\x0cmore", 'd.wav|Four"']
    text(tmp_path / "table.csv", "\r".join(lines if columns else ["audio|text", *lines]))
    run("folder", "--csv", tmp_path / "table.csv", "--validation-share", 0, "-o", tmp_path / "out", *columns)
    found = [u.transcription for u in read_manifest(tmp_path / "out/train.jsonl")]
    assert found == ["One more", '"Two', "Three more more", 'Four"']


def test_lines_of_a_table_that_are_of_no_use_are_skipped(tmp_path, caplog):
    root = tmp_path / "audio"
    tone(root / "a.wav")
    table = tmp_path / "table.csv"
    text(table, "audio,text\na.wav,One\na.wav,again\nb.wav,missing\na.wav,\n,no file\n\n")
    options = ["--root", root, "--csv", table, "--validation-share", 0, "-o", tmp_path / "out"]
    run("folder", *options)
    assert [u.transcription for u in read_manifest(tmp_path / "out/train.jsonl")] == ["One"]
    assert "3 skipped; the first:" in caplog.text and "1 skipped; the first:" in caplog.text
    tone(root / "b.wav")  # found now, though the table is the same
    run("folder", *options)
    assert len(read_manifest(tmp_path / "out/train.jsonl")) == 2


# Errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["librispeech"], "no such folder; add --download"),
        (["librispeech", "--root", "."], "no subset of LibriSpeech"),
        (["libritts-r", "--root", "."], "no subset of LibriTTS_R"),
        (["ljspeech", "--root", "."], "no LJSpeech-1"),
        (["vctk", "--root", "."], "no VCTK-Corpus"),
        (["fsdd", "--root", "."], "no recordings/DIGIT"),
        (["libritts", "--root", "none", "--download", "--mirror", "none.invalid"], "not an address"),
        (["folder"], "--root, or a table"),
        (["folder", "--root", "none"], "no such folder"),
        (["folder", "--root", "."], "has a transcript"),
        (["folder", "--csv", "none.csv"], "no such table"),
        (["folder", "--root", ".", "--validation-share", "1"], "--validation-share 1"),
        (["folder", "--csv", "t.csv", "--delimiter", "||"], "one character"),
        (["folder", "--csv", "t.csv"], "no column 'audio'"),
        (["folder", "--csv", "t.csv", "--audio-column", "1", "--text-column", "5"], "--text-column one of their"),
        (["folder", "--csv", "u.csv", "--audio-column", "1", "--text-column", "2"], "leaves one manifest empty"),
        (["folder", "--csv", "empty.csv"], "the table is empty"),
    ],
)
def test_what_the_user_can_fix_is_an_error_of_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    text(tmp_path / "t.csv", "file,words\na.wav,One\n")
    text(tmp_path / "u.csv", "a.wav,One\n")
    text(tmp_path / "empty.csv", "")
    with pytest.raises(UserError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_incomplete_corpora_are_errors(tmp_path):
    (tmp_path / "LibriSpeech/dev-clean/84").mkdir(parents=True)
    with pytest.raises(UserError, match="not as published"):
        run("librispeech", "--root", tmp_path, "-o", tmp_path)
    text(tmp_path / "LJSpeech-1.1/metadata.csv", "LJ001-0999|\n")
    with pytest.raises(UserError, match="not as published"):
        run("ljspeech", "--root", tmp_path, "-o", tmp_path)
    (tmp_path / "VCTK-Corpus-0.92/wav48_silence_trimmed").mkdir(parents=True)
    with pytest.raises(UserError, match="not as published"):
        run("vctk", "--root", tmp_path, "-o", tmp_path)
    (tmp_path / "recordings").mkdir()
    with pytest.raises(UserError, match="holds no DIGIT_SPEAKER"):
        run("fsdd", "--root", tmp_path, "-o", tmp_path)


def test_an_output_that_cannot_be_written_is_an_error(tmp_path):
    make_own(tmp_path / "mine")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can be written"):
        run("folder", "--root", tmp_path / "mine", "--validation-share", 0.2, "-o", tmp_path / "file")


def test_an_interruption_while_writing_is_made_good(tmp_path, monkeypatch):
    make_own(tmp_path / "mine")
    options = ["folder", "--root", tmp_path / "mine", "--validation-share", 0.2, "-o", tmp_path / "out"]
    write, written = sources.write_manifest, []

    def fail(path, members):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(path, members)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sources, "write_manifest", fail)
        run(*options)
    run(*options)
    assert names(tmp_path / "out") == ["train.jsonl", "validation.jsonl"]


def test_shares_are_even():
    draws = [share(f"id-{number}") for number in range(2000)]
    assert all(0 <= draw < 1 for draw in draws) and abs(np.mean(draws) - 0.5) < 0.03
    assert fsdd_split(4) == "test" and fsdd_split(9) == "validation" and fsdd_split(10) == "train"
