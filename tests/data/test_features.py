import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from melle.audio import LogMel, MelSpec, load_audio, save_audio
from melle.cli import read_command
from melle.data import build_features as building
from melle.data.build_features import build_features
from melle.data.datamodule import MelleDataModule
from melle.data.features import FeatureStore
from melle.data.manifest import Utterance, read_manifest, write_manifest
from melle.errors import DataError, UserError
from melle.text.symbols import SymbolTokenizer

try:
    import resource
except ImportError:  # Windows
    resource = None

TOLERANCE = 0.004  # half the distance of neighbouring 16-bit floats near -10
SPEC = MelSpec()


class Half:
    """Stands for whatever shortens silences."""

    description = "the first half"

    def __call__(self, waveform, sample_rate):
        if len(waveform) < 5000:
            raise DataError("no speech", "no speech was found")
        return waveform[: len(waveform) // 2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with sounds of many lengths and m.jsonl."""
    return make_corpus(tmp_path_factory.mktemp("noise"), 40)


@pytest.fixture
def own(tmp_path):
    """A small one to be spoilt."""
    return make_corpus(tmp_path / "own", 8)


def make_corpus(folder, count):
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(count):
        sound = torch.from_numpy(rng.normal(size=int(rng.integers(100, 20000))).astype(np.float32))
        path = folder / "audio" / f"{number}.wav"
        save_audio(path, sound * 10 ** rng.uniform(-4, -0.6), 16000)
        utterances.append(Utterance("hi", path, f"u{number}"))
    write_manifest(folder / "m.jsonl", utterances)
    return folder


def sounds(folder):
    return [utterance.audio_path for utterance in read_manifest(folder / "m.jsonl")]


def computed(path, spec=SPEC):
    return LogMel(spec)(load_audio(path, spec.sample_rate))


def assert_holds(store, paths):
    for path in paths:
        mel = store.get(path)
        assert mel.dtype == torch.float32
        torch.testing.assert_close(mel, computed(path), atol=TOLERANCE, rtol=0)


def files(store):
    return sorted(store.folder.glob("*/*.npy"))


def change(path):
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def test_round_trip(corpus, tmp_path):
    report = build_features([corpus / "m.jsonl"], tmp_path, workers=1)
    store = FeatureStore(tmp_path, MelSpec())
    assert (report.made, report.kept, report.skipped.total()) == (40, 0, 0)
    assert report.seconds == pytest.approx(sum(len(computed(path)) for path in sounds(corpus)) * 256 / 16000)
    assert_holds(store, sounds(corpus))
    assert len(files(store)) == 40
    again = build_features([corpus / "m.jsonl"], tmp_path, workers=1)
    assert (again.made, again.kept) == (0, 40)
    words = json.loads((store.folder / "spec.json").read_text())
    assert MelSpec(**words["mel"]) == SPEC and words["silence"] == "as recorded"


def test_any_path_to_the_file_finds_it(corpus, tmp_path, monkeypatch):
    build_features([corpus / "m.jsonl"], tmp_path / "f", workers=1)
    store = FeatureStore(tmp_path / "f", SPEC)
    link = tmp_path / "link.wav"
    link.symlink_to(sounds(corpus)[0])
    monkeypatch.chdir(corpus / "audio")
    for path in (link, str(link), "0.wav", Path("../audio/0.wav")):
        assert store.get(path) is not None
    for path in ("none.wav", "0.wav/x", "", "\0", corpus / "m.jsonl"):
        assert store.get(path) is None
    assert FeatureStore(tmp_path / "nothing", SPEC).get("0.wav") is None
    assert not (tmp_path / "nothing").exists()


def test_a_changed_file_is_never_served(own, tmp_path):
    build_features([own / "m.jsonl"], tmp_path, workers=1)
    store = FeatureStore(tmp_path, SPEC)
    touched, rewritten, removed, *others = sounds(own)
    change(touched)
    times = os.stat(rewritten).st_mtime_ns
    save_audio(rewritten, torch.rand(7000) - 0.5, 16000)
    os.utime(rewritten, ns=(times, times))
    removed.rename(removed.with_suffix(".moved"))
    for path in (touched, rewritten, removed):
        assert store.get(path) is None
    assert_holds(store, others)
    report = build_features([own / "m.jsonl"], tmp_path, workers=1)
    assert (report.made, report.kept, report.skipped) == (2, 5, {"missing": 1})
    assert_holds(store, [touched, rewritten, *others])
    assert store.get(removed) is None


def test_another_spec_or_trim_is_another_store(own, tmp_path):
    build_features([own / "m.jsonl"], tmp_path, workers=1)
    path = sounds(own)[0]
    same = MelSpec(f_min=80, sample_rate=16000.0)
    assert FeatureStore(tmp_path, same).get(path) is not None
    for field in fields(MelSpec):
        other = MelSpec(**{field.name: getattr(SPEC, field.name) * 2})
        assert FeatureStore(tmp_path, other).get(path) is None
    assert FeatureStore(tmp_path, SPEC, "trimmed").get(path) is None
    report = build_features([own / "m.jsonl"], tmp_path, silence=Half(), workers=1)
    assert report.made + report.skipped["no speech"] == 8
    long = next(path for path in sounds(own) if len(load_audio(path, 16000)) > 6000)
    halved = FeatureStore(tmp_path, SPEC, Half.description).get(long)
    assert len(halved) == 1 + len(load_audio(long, 16000)) // 2 // 256
    assert len(FeatureStore(tmp_path, SPEC).get(long)) == len(computed(long))


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_damaged_files_are_made_again(own, tmp_path, damage):
    build_features([own / "m.jsonl"], tmp_path, workers=1)
    store = FeatureStore(tmp_path, SPEC)
    lost = store.place(sounds(own)[2])
    lost.write_bytes(lost.read_bytes()[:-10] if damage is None else damage)
    assert [store.get(path) is None for path in sounds(own)] == [number == 2 for number in range(8)]
    assert build_features([own / "m.jsonl"], tmp_path, workers=1).made == 1
    assert_holds(store, sounds(own))


def test_what_cannot_be_used_is_counted_and_listed(own, tmp_path):
    good = sounds(own)
    (own / "text.wav").write_text("not sound")
    (own / "folder.wav").mkdir()
    getattr(os, "mkfifo", os.mkdir)(own / "pipe.wav")  # Windows has no such pipes
    (own / "empty.wav").write_bytes(good[0].read_bytes()[:44])
    bad = ["text.wav", "folder.wav", "pipe.wav", "empty.wav", "none.wav", "none.wav"]
    lines = [json.dumps({"transcription": "x", "audio_path": name, "id": name}) for name in bad]
    (own / "bad.jsonl").write_text("\n".join([*lines, "{", "[]"]) + "\n")
    report = build_features([own / "m.jsonl", own / "bad.jsonl", own / "m.jsonl"], tmp_path, workers=1)
    assert report.made == len(good)
    kinds = {"unreadable": 1, "not a file": 2, "no sound": 1, "missing": 2, "not JSON": 1, "not an object": 1}
    assert report.skipped == kinds
    listed = [json.loads(line) for line in (report.folder / "skipped.jsonl").read_text().splitlines()]
    assert {item["utterance"] for item in listed} == {*bad, "bad-7", "bad-8"}
    assert all(item["manifest"].endswith("bad.jsonl") and item["message"] for item in listed)
    assert "8 skipped (2 not a file" in report.text and "skipped.jsonl" in report.text
    assert build_features([own / "m.jsonl"], tmp_path, workers=1).skipped.total() == 0


def test_errors_of_any_library_are_faults_of_the_recording(own, tmp_path, monkeypatch):
    def broken(path, rate):
        raise (MemoryError("too much"), RuntimeError("odd rate"))[path.name == "0.wav"]

    monkeypatch.setattr(building, "load_audio", broken)
    assert build_features([own / "m.jsonl"], tmp_path, workers=1).skipped == {"unreadable": 8}


def test_a_file_that_changes_while_it_is_read(own, tmp_path, monkeypatch):
    def slow(path, rate):
        waveform = load_audio(path, rate)
        if path.name == "3.wav":
            change(path)
        return waveform

    monkeypatch.setattr(building, "load_audio", slow)
    report = build_features([own / "m.jsonl"], tmp_path, workers=1)
    assert report.skipped == {"changed": 1} and FeatureStore(tmp_path, SPEC).get(sounds(own)[3]) is None


KILLED = """
import sys, time
from melle.data import build_features as building

class Slow:
    description = "slow"

    def __call__(self, waveform, sample_rate):
        time.sleep(0.03)
        return waveform

if __name__ == "__main__":
    building.CHUNK = 2
    building.build_features([sys.argv[1]], sys.argv[2], silence=Slow(), workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize(("workers", "times"), [(1, 2), (2, 1)])
def test_killed_and_resumed(corpus, tmp_path, workers, times):
    script = tmp_path / "make.py"
    script.write_text(KILLED)
    quiet = type("Quiet", (), {"description": "slow", "__call__": lambda self, waveform, rate: waveform})()
    survivors = FeatureStore(tmp_path / "f", SPEC, "slow")
    counts = [0]
    for _ in range(times):
        arguments = [sys.executable, script, corpus / "m.jsonl", tmp_path / "f", str(workers)]
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE)
        wait_for(lambda: len(files(survivors)) >= counts[-1] + 5)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers_left = [int(number) for number in children.read_text().split()] if children.exists() else []
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
        wait_for(lambda left=workers_left: not any(Path(f"/proc/{number}").exists() for number in left))
        counts.append(len(files(survivors)))
    assert 5 * times <= counts[-1] < 40
    assert sum(survivors.get(path) is not None for path in sounds(corpus)) == counts[-1]  # all of them whole
    report = build_features([corpus / "m.jsonl"], tmp_path / "f", silence=quiet, workers=1)
    assert (report.kept, report.made) == (counts[-1], 40 - counts[-1])
    build_features([corpus / "m.jsonl"], tmp_path / "whole", silence=quiet, workers=1)
    resumed, whole = (FeatureStore(tmp_path / name, SPEC, "slow") for name in ("f", "whole"))
    for path in sounds(corpus):
        assert torch.equal(resumed.get(path), whole.get(path))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def test_interrupted_in_between(corpus, tmp_path, monkeypatch):
    def impatient(path, rate):
        if path.name == "20.wav":
            raise KeyboardInterrupt
        return load_audio(path, rate)

    monkeypatch.setattr(building, "load_audio", impatient)
    with pytest.raises(KeyboardInterrupt):
        build_features([corpus / "m.jsonl"], tmp_path, workers=1)
    store = FeatureStore(tmp_path, SPEC)
    assert len(files(store)) == 20
    assert_holds(store, sounds(corpus)[:20])


@pytest.mark.skipif(resource is None, reason="Windows has no limits of this kind")
def test_a_full_disk(corpus, tmp_path):
    """The system refuses files of the size of the largest for a while, and cuts what is written there."""
    largest = max(len(computed(path)) for path in sounds(corpus)) * 80 * 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        with pytest.raises(UserError, match="make room and run again"):
            build_features([corpus / "m.jsonl"], tmp_path, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    store = FeatureStore(tmp_path, SPEC)
    kept = [path for path in sounds(corpus) if store.get(path) is not None]
    assert 0 < len(kept) < 40
    assert_holds(store, kept)
    assert [path.suffix for path in store.folder.rglob("*") if path.is_file() and path.parent != store.folder] == [
        ".npy"
    ] * len(kept)
    assert build_features([corpus / "m.jsonl"], tmp_path, workers=1).made == 40 - len(kept)
    assert_holds(store, sounds(corpus))


def test_two_writers_at_once_leave_whole_files(own, tmp_path):
    store, path = FeatureStore(tmp_path, SPEC), sounds(own)[0]
    mel = computed(path).numpy()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.put(store.place(path), mel), range(100)))
    assert_holds(store, [path])


def test_pickling(own, tmp_path):
    build_features([own / "m.jsonl"], tmp_path, workers=1)
    store = FeatureStore(tmp_path, SPEC)
    assert store.get(sounds(own)[0]) is not None
    content = pickle.dumps(store)
    assert len(content) < 1000
    assert_holds(pickle.loads(content), sounds(own))
    loader = torch.utils.data.DataLoader(
        sounds(own), batch_size=None, num_workers=2, collate_fn=store.get, multiprocessing_context="fork"
    )
    for mel, path in zip(loader, sounds(own)):
        torch.testing.assert_close(mel, computed(path), atol=TOLERANCE, rtol=0)


def test_a_recording_is_known_by_place_size_and_time(own, tmp_path):
    store = FeatureStore(tmp_path, SPEC)
    first, second = sounds(own)[:2]
    before = store.place(first)
    assert before == store.place(str(first)) and before != store.place(second)
    change(first)
    assert store.place(first) != before
    assert store.place(own / "none") is None


def run(*arguments):
    read_command(["prepare", "features", *map(str, arguments)]).run()


def test_the_command(own, tmp_path, capsys):
    run("--manifest", own / "m.jsonl", "-o", tmp_path, "--workers", 1, "--floor", "1e-5", "--n-mels", 40)
    assert "made features of 8 recordings" in capsys.readouterr().out
    spec = MelSpec(floor=1e-5, n_mels=40)
    path = sounds(own)[0]
    torch.testing.assert_close(FeatureStore(tmp_path, spec).get(path), computed(path, spec), atol=TOLERANCE, rtol=0)
    assert FeatureStore(tmp_path, SPEC).get(path) is None


def test_the_command_trims(real_speech, tmp_path):
    silence = pytest.importorskip("silero_vad") and pytest.importorskip("melle.data.silence")
    sound = torch.cat([torch.zeros(16000), real_speech[0][1], torch.zeros(16000)])
    save_audio(tmp_path / "a.wav", sound, 16000)
    write_manifest(tmp_path / "m.jsonl", [Utterance("x", tmp_path / "a.wav", "a")])
    run("--manifest", tmp_path / "m.jsonl", "-o", tmp_path, "--vad", "silero", "--vad-keep-seconds", 0.2)
    store = FeatureStore(tmp_path, SPEC, silence.SileroTrim(keep_seconds=0.2).description)
    assert len(store.get(tmp_path / "a.wav")) < len(computed(tmp_path / "a.wav")) - 80


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--manifest", "none.jsonl"], "no such manifest"),
        (["--manifest", "m.jsonl", "--workers", 0], "give 1 or more"),
        (["--manifest", "m.jsonl", "--hop-length", 0], "no mel can be computed"),
        (["--manifest", "m.jsonl", "--vad-threshold", 0.4], "add --vad silero"),
        (["--manifest", "m.jsonl", "-o", "m.jsonl"], "give a folder"),
    ],
)
def test_what_the_command_refuses(own, monkeypatch, arguments, says):
    monkeypatch.chdir(own)
    with pytest.raises(UserError, match=says):
        run(*arguments)
    assert not (own / "data").exists()


def test_training_makes_what_is_missing(own, tmp_path, capsys):
    manifest = own / "m.jsonl"

    def data():
        fit = partial(SymbolTokenizer.fit, unit="characters")
        return MelleDataModule(
            manifest,
            manifest,
            1,
            fit,
            mel=SPEC,
            index=tmp_path / "index",
            features=tmp_path / "made",
            make_features=True,
        )

    for made in (True, False):  # the second time they are there
        module = data()
        module.prepare_data()
        module.setup()
        assert (f"made features of {len(sounds(own))} recordings" in (said := capsys.readouterr().err)) == made
        assert ("made features" in said) == made
    assert_holds(FeatureStore(tmp_path / "made", SPEC), sounds(own))
    with pytest.raises(UserError, match="needs a folder"):
        MelleDataModule(manifest, manifest, 1, None, make_features=True)
