"""Shards hold what the manifest held; their batches cover an epoch, keep the budget, and a run goes on exactly."""

import builtins
import gzip
import json
import math
import tarfile
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from melle.audio import MelSpec, load_audio, save_audio
from melle.cli import main
from melle.data.batching import EndlessBatches, FrameBudgetSampler
from melle.data.datamodule import MelleDataModule
from melle.data.manifest import Utterance, read_manifest, write_manifest
from melle.data.shar.datamodule import ShardBatches, ShardDataModule
from melle.data.shar.reading import StoredItem, find_shards, read_items, waveform
from melle.data.shar.schedule import Blocks, Schedule
from melle.errors import UserError
from melle.text.symbols import SymbolTokenizer
from melle.training.run import train
from tests.conftest import install_ffmpeg
from tests.training.test_train import configure

lhotse = pytest.importorskip("lhotse")
from melle.data.shar.writing import write_shards  # noqa: E402

WORDS = ["zero", "one", "two", "three", "four", "five"]
COUNT, PER_SHARD = 66, 8  # nine shards, the last of two
BUDGET = 500


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A folder with train.jsonl: tones of 0.3 to 1.7 s, some at 8 kHz and some in stereo."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(COUNT):
        words = [WORDS[n] for n in rng.integers(0, len(WORDS), rng.integers(1, 7))]
        rate = 8000 if number % 7 == 0 else 16000
        time = torch.arange(round(rate * (0.1 + 0.25 * len(words) + 0.1 * rng.random()))) / rate
        path = folder / "audio" / f"u-{number}.wav"
        save_audio(path, 0.3 * torch.sin(2 * math.pi * (200 + 9 * number) * time), rate)
        utterances.append(Utterance(" ".join(words), path, f"u-{number}", f"speaker {number % 5}"))
    write_manifest(folder / "train.jsonl", utterances)
    return folder


@pytest.fixture(scope="module")
def shards(corpus) -> Path:
    write_shards(corpus / "train.jsonl", corpus / "shards", PER_SHARD)
    return corpus / "shards"


def open_data(place: Path, corpus: Path, index: Path, **options) -> ShardDataModule:
    fit = partial(SymbolTokenizer.fit, unit="words")
    options = {"batch_frames": BUDGET, "max_join": 1, "max_skipped": 0.5, **options}
    data = ShardDataModule(place, corpus / "train.jsonl", 2, fit, index=index, **options)
    data.setup()
    return data


def batches(data: ShardDataModule, steps: int, rank: int = 0, ranks: int = 1, state: dict | None = None) -> list:
    """The first batches of one of some ranks, or those behind ``state``."""
    reader = iter(make_reader(data, rank, ranks, state))
    return [next(reader) for _ in range(steps)]


def make_reader(data: ShardDataModule, rank: int, ranks: int, state: dict | None = None) -> ShardBatches:
    whole = data.train_dataloader().dataset
    state = Schedule(whole.blocks.length, ranks, 1, state).state_dict()
    return ShardBatches(whole.utterances, whole.blocks, state, rank, 2)


def names(some: list) -> list[str]:
    return [name for batch in some for row in batch.ids for name in row]


def per_epoch(data: ShardDataModule) -> tuple[int, Blocks]:
    blocks = data.train_dataloader().dataset.blocks
    return sum(blocks.length(block) for block in range(blocks.per_epoch)), blocks


def test_shards_hold_what_the_manifest_held(corpus, shards):
    assert len(find_shards(shards)) == 9
    own = {u.id: u for u in read_manifest(corpus / "train.jsonl")}
    order = []
    for cut in lhotse.CutSet.from_shar(in_dir=shards):  # by lhotse itself
        utterance = own.pop(cut.id)
        order.append(cut.id)
        said = cut.supervisions[0]
        assert (said.text, said.speaker) == (utterance.transcription, utterance.speaker)
        expected = load_audio(utterance.audio_path, cut.sampling_rate)
        torch.testing.assert_close(torch.from_numpy(cut.load_audio()[0]), expected, atol=2**-15, rtol=0)
    assert not own
    assert order != sorted(order, key=lambda name: int(name[2:]))  # shuffled, for readers mix within a few shards


def test_the_same_utterances_come_out_as_from_the_manifest(corpus, shards, tmp_path):
    data = open_data(shards, corpus, tmp_path)
    plain = MelleDataModule(corpus / "train.jsonl", corpus / "train.jsonl", 2, data._fit_tokenizer, index=tmp_path)
    plain.setup()
    numbers = {plain.datasets["train"].index[n].id: n for n in range(COUNT)}
    for batch in batches(data, 5):
        for row, name in enumerate(names([batch])):
            item = plain.datasets["train"][(numbers[name],)]
            frames = int(batch.mel_lengths[row])
            assert frames == len(item.mels[0])
            torch.testing.assert_close(batch.mel[row, :frames], item.mels[0], atol=0.3, rtol=0)  # log10, of 16 bits
            assert batch.text[row, : len(item.tokens[0])].tolist() == item.tokens[0]
    ours, theirs = data.statistics(), plain.statistics()
    assert ours.frames_per_token == pytest.approx(theirs.frames_per_token)
    assert ours.mel_mean == pytest.approx(theirs.mel_mean, abs=0.05)


@pytest.mark.parametrize("join", [1, 3])
def test_an_epoch_covers_all_within_the_budget(corpus, shards, tmp_path, join):
    data = open_data(shards, corpus, tmp_path, max_join=join, shards_at_once=2)
    length, blocks = per_epoch(data)
    assert blocks.per_epoch == 5
    epoch = batches(data, length)
    assert sorted(names(epoch)) == sorted(f"u-{n}" for n in range(COUNT))
    speakers = {f"u-{n}": n % 5 for n in range(COUNT)}
    for batch in epoch:
        positions = batch.text_lengths + batch.mel_lengths
        assert len(positions) * int(positions.max()) <= BUDGET * 1.02  # plans round the frames of a recording
        assert all(len({speakers[name] for name in row}) == 1 for row in batch.ids)
    assert any(len(row) > 1 for batch in epoch for row in batch.ids) == (join > 1)
    filled = sum(int((b.text_lengths + b.mel_lengths).sum()) for b in epoch)
    assert filled > 0.5 * BUDGET * length  # five small blocks, each with a last batch that is not full


def test_three_ranks_share_an_epoch_without_repeats(corpus, shards, tmp_path):
    data = open_data(shards, corpus, tmp_path, shards_at_once=1)
    length, blocks = per_epoch(data)
    first_epoch = range(blocks.per_epoch)
    schedule = Schedule(blocks.length, 3, 1)
    given = [schedule.step() for _ in range(length // 3 + 6)]  # a tail: the last readers' blocks
    seen = [place for step in given for place in step]
    assert len(set(seen)) == len(seen)
    readers = [batches(data, len(given), rank, 3) for rank in range(3)]
    mine = [names([readers[r][s]]) for s, step in enumerate(given) for r, (b, _) in enumerate(step) if b in first_epoch]
    assert sorted(name for some in mine for name in some) == sorted(f"u-{n}" for n in range(COUNT))
    owners = [{b for b, _ in (step[rank] for step in given)} for rank in range(3)]
    assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]
    longest = max(blocks.length(b) for b in first_epoch)
    assert all(b in first_epoch for step in given[: length // 3 - longest] for b, _ in step)


def test_order_follows_seed_and_epoch(corpus, shards, tmp_path):
    def order(seed: int, epochs: int = 1) -> list[str]:
        data = open_data(shards, corpus, tmp_path, seed=seed)
        blocks = per_epoch(data)[1]
        return names(batches(data, sum(blocks.length(b) for b in range(epochs * blocks.per_epoch))))

    first = order(1, epochs=2)
    assert first == order(1, epochs=2)
    assert first[:COUNT] != first[COUNT:] and sorted(first[:COUNT]) == sorted(first[COUNT:])
    assert order(2) != first[:COUNT]


def test_a_schedule_goes_on_exactly_and_other_readers_take_over_without_loss():
    lengths = np.random.default_rng(0).integers(0, 9, 10**4).tolist()
    for ranks, slots in ((1, 1), (1, 3), (3, 2)):
        schedule = Schedule(lengths.__getitem__, ranks, slots)
        whole, states = [], []
        for _ in range(60):
            states.append(json.loads(json.dumps(schedule.state_dict())))
            whole.append(schedule.step())
        for done in (0, 1, 7, 31):
            again = Schedule(lengths.__getitem__, ranks, slots, states[done])
            assert [again.step() for _ in range(60 - done)] == whole[done:]
            fewer = Schedule(lengths.__getitem__, 2, 2, states[done])
            rest = [fewer.step() for _ in range(100)]
            seen = [place for step in whole[:done] + rest for place in step]
            assert len(seen) == len(set(seen))
            last = max(block for block, _ in seen)
            open_blocks = {block for block, _ in rest[-1] + rest[-2]}
            missing = {(b, n) for b in range(last) for n in range(lengths[b])} - set(seen)
            assert {b for b, _ in missing} <= open_blocks
        for worker in range(slots):  # what readers take is what the schedule gives
            turns = Schedule(lengths.__getitem__, ranks, slots, states[7]).turns(ranks - 1, worker)
            mine = [whole[step][ranks - 1] for step in range(7 + worker, 60, slots)]
            flat = []
            while len(flat) < len(mine):
                block, numbers = next(turns)
                flat += [(block, number) for number in numbers]
            assert flat[: len(mine)] == mine


def test_blocks_that_have_changed_begin_anew(caplog):
    schedule = Schedule(lambda block: 5, 1, 2)
    for _ in range(4):
        schedule.step()
    changed = Schedule(lambda block: 5 + (block == 1), 1, 2, schedule.state_dict())
    assert [changed.step() for _ in range(4)] == [[(0, 2)], [(1, 0)], [(0, 3)], [(1, 1)]]
    assert "block 1 of them begins anew" in caplog.text


def test_a_run_on_a_manifest_goes_on_with_shards_and_back_and_counts_its_steps():
    """The data begin anew, for they are others."""
    columns = [np.zeros(100, np.int64), np.arange(50, 150), np.full(100, 3)]

    def on_manifest() -> EndlessBatches:
        return EndlessBatches(FrameBudgetSampler(*columns, batch_frames=700, max_join=3, max_row_frames=400, seed=1))

    batches = on_manifest()
    given = list(islice(batches, 9))
    schedule = Schedule(lambda block: 5, 1, 2, batches.state_dict(9))
    assert schedule.steps == 9 and [place for _ in range(4) for place in schedule.step()] == [
        *((0, 0), (1, 0), (0, 1), (1, 1))
    ]
    back = on_manifest()
    back.load_state_dict(schedule.state_dict())
    assert list(islice(back, 9)) == given and back.state_dict(13 + 2)["batches"] == 2


def test_broken_recordings_and_tar_files_are_faults(corpus, tmp_path):
    write_shards(corpus / "train.jsonl", tmp_path / "shards", 11)
    tars = sorted((tmp_path / "shards").glob("*.tar"))
    victims = {}
    with tarfile.open(tars[0]) as tar:
        members = [m for m in tar.getmembers() if m.name.endswith(".flac")]
        victims["sound"], victims["about"] = members[2], tar.getmember(members[5].name.replace(".flac", ".json"))
    content = bytearray(tars[0].read_bytes())
    for member in victims.values():
        content[member.offset_data : member.offset_data + member.size] = b"?" * member.size
    tars[0].write_bytes(content)
    with tarfile.open(tars[1]) as tar:
        kept = [m.name[:-5] for m in tar.getmembers()][:12:2]
        cut = tar.getmember(kept[-1] + ".flac").offset_data + 100
    tars[1].write_bytes(tars[1].read_bytes()[:cut])  # five whole recordings, and a piece of the sixth
    tars[2].unlink()
    (tmp_path / "shards/cuts.000002.jsonl.gz").unlink()
    lines = gzip.decompress((tmp_path / "shards/cuts.000003.jsonl.gz").read_bytes()).splitlines()
    silent = json.loads(lines[0])
    lines[0], lines[1] = json.dumps({**silent, "supervisions": []}).encode(), b"{broken"
    (tmp_path / "shards/cuts.000003.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines)))

    data = open_data(tmp_path / "shards", corpus, tmp_path / "index", max_skipped=0.9)
    assert data.skipped["train"].counts == {"no transcription": 1, "not JSON": 1}
    assert data.skipped["train"].total == COUNT - 11
    epoch = batches(data, per_epoch(data)[0])
    kinds = {fault.utterance: fault.kind for batch in epoch for fault in batch.faults}
    bad = {victims["sound"].name[:-5]}  # what is said of a recording is not needed
    assert {name for name, kind in kinds.items() if kind == "unreadable"} == bad
    assert sum(kind == "missing" for kind in kinds.values()) == 6
    assert len(names(epoch)) == COUNT - 11 - 2 - 1 - 6 and not set(names(epoch)) & set(kinds)
    said = next(f.message for b in epoch for f in b.faults if f.kind == "missing")
    assert str(tars[1]) in said and "unexpected end of data" in said


def test_shards_may_lie_elsewhere(corpus, shards, tmp_path):
    def pipes(pattern: str) -> list[str]:
        return [f"pipe:cat {path}" for path in sorted(shards.glob(pattern))]

    listing = tmp_path / "shards.json"
    listing.write_text(json.dumps({"cuts": pipes("cuts*"), "recording": pipes("recording*")}))
    with pytest.raises(UserError, match=r"a shell would run.*data\.allow_pipes=true"):
        open_data(listing, corpus, tmp_path / "index")
    data = open_data(listing, corpus, tmp_path / "index", allow_pipes=True)
    local = open_data(shards, corpus, tmp_path / "index")
    for ours, theirs in zip(batches(data, 4), batches(local, 4)):
        assert ours.ids == theirs.ids and torch.equal(ours.mel, theirs.mel) and not ours.faults
    shard = find_shards(shards)[0]
    assert len(waveform(read_items(shard, [3])[3], MelSpec().sample_rate, "x")) > 4000


def test_packing_and_reading_say_which_channel_they_take(tmp_path, caplog, monkeypatch):
    """Of recordings whose channels cancel, as wherever else recordings are read."""
    wave = 0.4 * np.sin(np.arange(8000) / 10)
    soundfile.write(tmp_path / "s.wav", np.stack([wave, -wave], axis=1), 16000)
    soundfile.write(tmp_path / "s.flac", np.stack([wave, -wave], axis=1), 16000)
    write_manifest(tmp_path / "train.jsonl", [Utterance("one", tmp_path / "s.wav", "anti")])
    for rate in (None, 8000):
        monkeypatch.setattr("melle.audio._warned_of_channels", False)
        caplog.clear()
        write_shards(tmp_path / "train.jsonl", tmp_path / f"shards{rate}", sample_rate=rate)
        assert [record.message for record in caplog.records if "alone is taken" in record.message]
        (cut,) = lhotse.CutSet.from_shar(in_dir=tmp_path / f"shards{rate}")
        assert cut.num_channels == 1 and abs(cut.load_audio()).max() == pytest.approx(0.4, abs=0.01)
    monkeypatch.setattr("melle.audio._warned_of_channels", False)
    caplog.clear()
    read = waveform(StoredItem(b"", (tmp_path / "s.flac").read_bytes()), 16000, "shard 3, utterance anti")
    assert np.abs(read.numpy() - wave).max() < 1e-3
    assert "shard 3, utterance anti: its channels cancel" in caplog.text


def test_recordings_that_ffmpeg_decodes_are_packed_at_their_rate(tmp_path, monkeypatch):
    """With a stand-in for FFmpeg, which hands out the same sound whatever it is given."""
    soundfile.write(tmp_path / "decoded.wav", 0.1 * np.sin(np.arange(8000) / 10), 8000)
    (tmp_path / "voice.m4a").write_bytes(b"ftypM4A")
    install_ffmpeg(tmp_path, monkeypatch)
    write_manifest(tmp_path / "train.jsonl", [Utterance("one", tmp_path / "voice.m4a", "a")])
    assert not write_shards(tmp_path / "train.jsonl", tmp_path / "shards").counts
    (cut,) = lhotse.CutSet.from_shar(in_dir=tmp_path / "shards")
    assert (cut.sampling_rate, cut.duration) == (8000, 1.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_epoch_begins_with_its_longest_utterance(corpus, shards, tmp_path, seed):
    data = open_data(shards, corpus, tmp_path, seed=seed)
    length, blocks = per_epoch(data)
    index = data.datasets["train"].index
    sizes = index.column("frames") + index.column("tokens")
    longest = index.name(int(np.argmax(sizes)))
    epochs = [batches(data, length), batches(data, 2 * length)[length:]]
    assert all(longest in names(epoch[:1]) for epoch in epochs)
    for number in (0, blocks.per_epoch):
        assert sorted(s for b in range(blocks.per_epoch) for s in blocks.shards(number + b)) == list(range(9))


def test_what_is_no_shards_is_an_error(corpus, shards, tmp_path, monkeypatch):
    for place, says in ((tmp_path / "gone", "neither a folder"), (tmp_path, "no shards"), ("README.md", "JSON file")):
        with pytest.raises(UserError, match=says):
            open_data(place, corpus, tmp_path / "index")
    (tmp_path / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(UserError, match=r"recording\.000000 is missing"):
        open_data(tmp_path, corpus, tmp_path / "index")
    (tmp_path / "recording.000000.tar").write_bytes(b"")
    with pytest.raises(UserError, match="not a cut"):
        open_data(tmp_path, corpus, tmp_path / "index")
    with pytest.raises(UserError, match="for manifests"):
        open_data(shards, corpus, tmp_path / "index", cache=True)
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.split(".")[0] == "lhotse":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'pip install -e "\.\[shards\]"'):
        open_data(shards, corpus, tmp_path / "index")


def test_the_command_packs_what_can_be_used(corpus, tmp_path, capsys, monkeypatch):
    lines = (corpus / "train.jsonl").read_text().splitlines()
    bad = json.dumps({"transcription": "one", "audio_path": "gone.wav", "id": "gone"})
    manifest = corpus / "some.jsonl"
    manifest.write_text("\n".join([*lines[:20], bad, "{broken", lines[0]]) + "\n")
    command = ["prepare", "shards", "--manifest", str(manifest), "-o", str(tmp_path / "a/packed"), "--shard-size", "7"]
    assert main([*command, "--workers", "2", "--sample-rate", "8000"]) == 0
    printed = capsys.readouterr()
    assert "20 utterances in shards" in printed.out and "3 of 23 utterances skipped" in printed.out
    assert len((tmp_path / "a/packed.skipped.jsonl").read_text().splitlines()) == 3
    cuts = list(lhotse.CutSet.from_shar(in_dir=tmp_path / "a/packed"))
    assert len(cuts) == 20 and {cut.sampling_rate for cut in cuts} == {8000}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["packed", "packed.skipped.jsonl"]
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    manifest.write_text(bad + "\n")
    assert main([*command[:5], str(tmp_path / "b")]) == 2
    assert "nothing is left to write" in capsys.readouterr().err and not (tmp_path / "b").exists()
    manifest.unlink()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_training_resumes_exactly(corpus, shards, tone_manifests, tmp_path, seen, workers):
    def run(steps: int, folder: str, *more: str) -> dict:
        options = (
            f"data.workers={workers}",
            "data.shards_at_once=1",
            "callbacks.checkpoint.every=1",
            "callbacks.checkpoint.keep=null",
        )
        options += ("optim.schedule.warmup_steps=1", "callbacks.speech.count=0", f"data.val={corpus / 'train.jsonl'}")
        fixed = ("data=shar", f"data.train={shards}", "data.test=null", "data.index=${run_dir}/../index")
        return train(configure(tmp_path / folder, tone_manifests, steps, *fixed, *options, *more))

    steps = 4 if workers else 9
    assert "train/regression" in run(steps, "whole")
    whole = list(seen)
    assert len(whole) == steps
    for done in (1, 3) if workers else (1, 3, 4, 7):
        seen.clear()
        run(steps, str(done), f"resume={tmp_path / f'whole/run/checkpoints/step_{done:06d}.ckpt'}")
        assert seen == whole[done:]


def test_a_run_goes_from_a_manifest_to_shards_and_back(corpus, shards, tone_manifests, tmp_path, seen, capsys):
    """The model and its steps go on, and the data begin anew, which is said."""
    manifest = corpus / "train.jsonl"
    fixed = ["data.test=null", "data.index=${run_dir}/index", f"data.val={manifest}", "optim.schedule.warmup_steps=1"]
    fixed += ["callbacks.speech=null", "callbacks.checkpoint.every=1", "data.workers=0"]
    kinds = {"jsonl": f"data.train={manifest}", "shar": f"data.train={shards}"}
    whole = {}
    for steps, kind in ((2, "jsonl"), (4, "shar"), (6, "jsonl")):
        seen.clear()
        metrics = train(configure(tmp_path, tone_manifests, steps, *fixed, f"data={kind}", kinds[kind]))
        assert metrics["step"] == steps and len(seen) == 2
        said = capsys.readouterr().err
        assert ("of a run on another kind of data: batches begin anew" in said) == (steps > 2)
        assert whole.setdefault(kind, list(seen)) == seen  # from the beginning both times
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 6 and state["MelleDataModule"]["steps"] == 2
