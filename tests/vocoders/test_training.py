"""Our own vocoder: what it learns from, that it learns, goes on exactly, and speaks."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from melle import Synthesizer
from melle.audio import LogMel, MelSpec, save_audio
from melle.cli import main
from melle.configs.build import build
from melle.data.features import FeatureStore
from melle.data.manifest import Utterance, read_manifest, write_manifest
from melle.errors import UserError
from melle.training.record import read_metrics
from melle.training.run import objective, train
from melle.vocoders import make_vocoder
from melle.vocoders.vocos.discriminators import Discriminators
from melle.vocoders.vocos.losses import MelDistance, discriminator_loss, feature_distance, generator_loss
from melle.vocoders.vocos.module import VocosData, VocosModule, build_vocos
from melle.vocoders.vocos.network import VocosNetwork, VocosSizes
from melle.vocoders.vocos.segments import Predictions, Recordings, SegmentBatches, cut
from melle.vocoders.vocos.vocoder import load_vocoder, save_vocoder

CONF = str(Path(__file__).parents[2] / "conf")
HOP = MelSpec().hop_length
SMALL = [
    *(
        "experiment=vocoder_quickstart",
        "data.corpus=null",
        "logger=csv",
        "data.cache=true",
        "trainer.precision=32-true",
    ),
    *("vocoder_training.sizes.width=16", "vocoder_training.sizes.hidden=32", "vocoder_training.sizes.blocks=2"),
    *("vocoder_training.discriminators.channels=1", "vocoder_data.batch_size=2", "vocoder_data.segment_frames=8"),
    *("vocoder_data.val_frames=40", "vocoder_data.val_count=3", "callbacks.bar=null", "optim.schedule.warmup_steps=1"),
    *("+trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1", "callbacks.checkpoint.keep=null"),
]


def configure(folder: Path, tones: Path, steps: int, *overrides: str) -> DictConfig:
    where = [f"data.{split}={tones / f'{split}.jsonl'}" for split in ("train", "val")]
    lengths = [f"trainer.max_steps={steps}", f"trainer.val_check_interval={max(1, steps // 2)}"]
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", [*SMALL, *where, *lengths, f"run_dir={folder / 'run'}", *overrides])


@pytest.fixture
def totals(monkeypatch) -> list[float]:
    values, step = [], VocosModule.training_step

    def training_step(self, batch, index):
        loss = step(self, batch, index)
        values.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(VocosModule, "training_step", training_step)
    return values


def test_a_cut_is_the_wholes(real_speech):
    log_mel = LogMel()
    for _, waveform in real_speech:
        mel = log_mel(waveform)
        last = len(waveform) // HOP - 10 - 2  # the last frames of the whole mirror its end
        for start in (0, 1, 3, 7, last):
            samples, frames = cut(waveform, start, 10, log_mel)
            assert torch.equal(samples, waveform[start * HOP : (start + 10) * HOP])
            torch.testing.assert_close(frames, mel[start : start + 10], rtol=0, atol=1e-3)
        samples, frames = cut(waveform, 0, len(mel) + 20, log_mel)
        assert samples.shape == ((len(mel) + 20) * HOP,) and (frames[-15:] == -10).all()


def test_batches_are_the_same_whoever_makes_them(tone_manifests):
    data = VocosData(tone_manifests / "train.jsonl", tone_manifests / "val.jsonl", MelSpec(), 8, 3)
    data.setup()
    made = SegmentBatches(data.recordings["train"], 5, 3, 8, (-6, 3), 0)
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(made, batch_size=None, num_workers=workers)
        for number, (waveform, mel) in zip(range(5, 9), loader):
            expected = made.batch(number)
            assert torch.equal(waveform, expected[0]) and torch.equal(mel, expected[1])
            assert waveform.shape == (3, 8 * HOP) and mel.shape == (3, 8, 80)
    assert not torch.equal(made.batch(5)[0], made.batch(6)[0])


def test_recordings_of_no_use_are_left_out(tmp_path, caplog):
    save_audio(tmp_path / "good.wav", 0.1 * torch.randn(9000), 16000)
    (tmp_path / "bad.wav").write_text("no sound")
    utterances = [Utterance("a", tmp_path / f"{name}.wav", name) for name in ("bad", "good")]
    write_manifest(tmp_path / "some.jsonl", utterances)
    write_manifest(tmp_path / "none.jsonl", utterances[:1])
    batch = SegmentBatches(Recordings(tmp_path / "some.jsonl", MelSpec(), True), 0, 8, 4, (0, 0), 0).batch(0)
    assert (batch[0].abs().amax(dim=1) > 0).all() and "bad.wav" in caplog.text
    with pytest.raises(UserError, match="none can be read"):
        SegmentBatches(Recordings(tmp_path / "none.jsonl", MelSpec(), False), 0, 8, 4, (0, 0), 0).batch(0)


@pytest.mark.parametrize(("share", "fewest", "most"), [(0.0, 0, 0), (0.5, 60, 140), (1.0, 200, 200)])
def test_a_share_of_the_segments_is_of_what_a_model_predicts(tmp_path, share, fewest, most):
    save_audio(tmp_path / "a.wav", (0.1 * torch.randn(40 * HOP)).clamp(-0.5, 0.5), 16000)
    write_manifest(tmp_path / "a.jsonl", [Utterance("a", tmp_path / "a.wav", "a")])
    store = FeatureStore(tmp_path / "made", MelSpec(), predicted=True)
    predicted = torch.arange(41.0)[:, None] * torch.ones(80)  # frame n is n: where a segment begins can be read off
    store.put(store.place(tmp_path / "a.wav"), predicted.numpy())
    recordings, gain = Recordings(tmp_path / "a.jsonl", MelSpec(), True), 20 * math.log10(1.5)
    batches = SegmentBatches(recordings, 0, 200, 8, (gain, gain), 0, Predictions(tmp_path / "made", MelSpec(), share))
    waveforms, mels = batches.batch(0)
    count, whole = 0, recordings[0]
    for waveform, mel in zip(waveforms, mels):
        if (mel[1:] - mel[:-1] - 1).abs().max() < 0.02:
            count += 1
            start = round(float(mel[0, 0]) - math.log10(1.5))
            torch.testing.assert_close(waveform, 1.5 * whole[start * HOP : (start + 8) * HOP])
            torch.testing.assert_close(mel, predicted[start : start + 8] + math.log10(1.5), atol=0.02, rtol=0)
        else:  # noise, whose frames at the edges of the window see more than the segment has
            torch.testing.assert_close(mel[2:6], LogMel()(waveform)[2:6], atol=1e-3, rtol=0)
    assert fewest <= count <= most


def test_recordings_that_no_model_has_predicted_keep_their_own_frames(tone_manifests, tmp_path, caplog):
    store = FeatureStore(tmp_path, MelSpec(), predicted=True)
    with pytest.raises(UserError, match="holds no predictions of such mel frames"):
        Predictions(tmp_path, MelSpec(), 1.0)
    first, *_ = read_manifest(tone_manifests / "val.jsonl")
    store.put(store.place(first.audio_path), torch.zeros(5, 80).numpy())
    with pytest.raises(UserError, match=r"predicted_share=1\.5 must be at least 0 and at most 1"):
        Predictions(tmp_path, MelSpec(), 1.5)
    recordings = Recordings(tone_manifests / "train.jsonl", MelSpec(), False)
    predictions = Predictions(tmp_path, MelSpec(), 1.0)
    plain = SegmentBatches(recordings, 0, 1, 8, (0, 0), 0).batch(0)
    same = SegmentBatches(recordings, 0, 1, 8, (0, 0), 0, predictions).batch(0)
    assert torch.equal(plain[1], same[1])
    with pytest.raises(UserError, match=r"predictions of none of the recordings of .*train\.jsonl"):
        predictions.check(recordings.utterances, tone_manifests / "train.jsonl")
    validation = read_manifest(tone_manifests / "val.jsonl")
    predictions.check(validation, "val.jsonl")
    assert f"{len(validation) - 1} of {len(validation)} recordings of val.jsonl have no predictions" in caplog.text


def test_the_network_sees_as_far_as_it_says():
    network = VocosNetwork(80, 1024, 256, VocosSizes(16, 32, 3, 5))
    for block in network.blocks:
        torch.nn.init.normal_(block.depthwise.weight)
    mel = torch.randn(1, 60, 80, requires_grad=True)
    waveform = network(mel)
    assert waveform.shape == (1, 60 * HOP)
    waveform[0, 30 * HOP : 31 * HOP].sum().backward()
    seen = mel.grad[0].abs().sum(dim=1).nonzero()[:, 0]
    assert network.context == 4 * 2 + 2
    assert 30 - network.context <= int(seen.min()) <= 31 - network.context
    assert int(seen.max()) == 30 + network.context


def test_losses_are_what_they_say():
    real = [torch.tensor([2.0, 0.5]), torch.tensor([1.0])]
    made = [torch.tensor([-3.0, 0.0]), torch.tensor([4.0])]
    assert discriminator_loss(real, made) == pytest.approx(((0.25 + 0.5) + (0 + 5)) / 2)
    assert generator_loss(made) == pytest.approx(((4 + 1) / 2 + 0) / 2)
    assert feature_distance([[torch.zeros(2), torch.ones(3)]], [[torch.ones(2), torch.ones(3)]]) == 0.5
    distance, sound = MelDistance(16000), torch.randn(2, 4000)
    assert distance(sound, sound) == 0
    assert distance(sound, 10 * sound) == pytest.approx(1.0, abs=1e-3)  # 20 dB
    scores, seen = Discriminators(channels=2)(sound)
    assert len(scores) == len(seen) == 8 and all(len(layers) == 4 for layers in seen)


def test_it_learns_and_speaks(tmp_path, tone_manifests, capsys):
    changes = ("vocoder_training.sizes.width=64", "vocoder_training.loss.adversarial_after=1000")
    first = train(configure(tmp_path / "short", tone_manifests, 2, *changes))
    last = train(configure(tmp_path, tone_manifests, 120, *changes, "vocoder_training.learning_rate=3e-3"))
    assert last["validation/mel_distance"] < 0.5 * first["validation/mel_distance"]
    run = tmp_path / "run"
    assert (run / "samples/step_000120/2.wav").exists() and (run / "samples/recordings/0.wav").exists()

    vocoder = make_vocoder("vocos", MelSpec(floor=1e-10), model=str(run / "checkpoints/last.ckpt"))
    mel = LogMel()(0.1 * torch.sin(torch.arange(20000) * 0.1))
    whole = vocoder(mel)
    assert whole.shape == (len(mel) * HOP,)
    stream, pieces = vocoder.stream(), mel.split([16] * 4 + [len(mel) - 64])
    streamed = torch.cat([stream(piece, number == 4) for number, piece in enumerate(pieces)])
    # The pitch's rounding adds up, times the number of a harmonic.
    torch.testing.assert_close(streamed, whole, rtol=0, atol=1e-3 * whole.abs().max().item())
    with pytest.raises(UserError, match="reads other mel frames"):
        make_vocoder("vocos", MelSpec(hop_length=200), model=str(run / "checkpoints/last.ckpt"))


def test_a_run_goes_on_bit_for_bit(tmp_path, tone_manifests, totals):
    changes = ("callbacks.checkpoint.every=1", "vocoder_training.loss.adversarial_after=2")
    train(configure(tmp_path, tone_manifests, 6, *changes))
    whole = list(totals)
    assert len(set(whole)) == 6
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for done in (1, 3, 4):
        for workers in (0, 2) if done == 3 else (0,):
            totals.clear()
            checkpoint = tmp_path / f"run/checkpoints/step_{done:06d}.ckpt"
            again = (f"resume={checkpoint}", f"data.workers={workers}")
            train(configure(tmp_path / f"{done}-{workers}", tone_manifests, 6, *changes, *again))
            assert totals == whole[done:]
            made = torch.load(tmp_path / f"{done}-{workers}/run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
            assert all(torch.equal(value, made[name]) for name, value in last.items())


def test_a_longer_schedule_and_another_rate_hold_for_a_run_that_goes_on(tmp_path, tone_manifests):
    last = tmp_path / "run/checkpoints/last.ckpt"
    train(configure(tmp_path, tone_manifests, 4, "optim/schedule=linear"))
    before = torch.load(last, weights_only=True)
    assert before["optimizer_states"][0]["param_groups"][0]["lr"] == 0  # it has come to its end
    longer = (
        "optim/schedule=linear",
        "vocoder_training.learning_rate=0.01",
        "vocoder_training.loss.adversarial_after=0",
    )
    train(configure(tmp_path, tone_manifests, 8, "callbacks.checkpoint.every=1", *longer))
    states = [torch.load(last.with_name(f"step_{step:06d}.ckpt"), weights_only=True) for step in (5, 6, 7, 8)]
    due = [0.01 * left / 7 for left in (3, 2, 1, 0)]  # after each step, of 8 of which the first is the warm-up
    network = [state["optimizer_states"][0]["param_groups"][0]["lr"] for state in states]
    others = [state["discriminators"]["param_groups"][0]["lr"] for state in states]
    assert network == pytest.approx(due) and others == pytest.approx([0.01 * 4 / 7, *due[:-1]])
    weights = [state["state_dict"]["network.head.weight"] for state in (before, *states)]
    assert not any(torch.equal(one, other) for one, other in pairwise(weights))


def test_a_run_begins_with_the_weights_of_another(tmp_path, tone_manifests, capsys):
    train(configure(tmp_path / "first", tone_manifests, 3))
    checkpoint = tmp_path / "first/run/checkpoints/last.ckpt"
    description, weights = load_vocoder(checkpoint)
    other = replace(description, mel_mean=-1.5, mel_std=1.25)  # of other recordings
    save_vocoder(tmp_path, other, weights)
    for first, expected in ((checkpoint, description), (tmp_path, other)):  # a checkpoint, or an exported folder
        begun = tmp_path / f"of-{first.name}"
        train(configure(begun, tone_manifests, 2, f"init_from={first}", "vocoder_training.learning_rate=0.0"))
        assert f"Begins with the weights of {first}." in capsys.readouterr().err
        made, same = load_vocoder(begun / "run/checkpoints/last.ckpt")
        assert made == expected and all(torch.equal(value, same[name]) for name, value in weights.items())
    train(configure(begun, tone_manifests, 3, "init_from=models/gone"))  # goes on where it stopped: nobody asks
    assert "Begins with" not in capsys.readouterr().err
    with pytest.raises(UserError, match=r"000003\.ckpt is a vocoder with vocoder_training\.sizes\.hidden=32: .*name="):
        train(configure(begun, tone_manifests, 4, "vocoder_training.sizes.hidden=48"))


def test_a_run_that_accumulates_goes_on_with_the_batch_that_came_next(tmp_path, tone_manifests, totals, monkeypatch):
    given, iterate = [], SegmentBatches.__iter__

    def iterating(self):
        given.append(self.first)
        return iterate(self)

    monkeypatch.setattr(SegmentBatches, "__iter__", iterating)
    changes = ("callbacks.checkpoint.every=1", "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=3")
    train(configure(tmp_path, tone_manifests, 4, *changes))
    whole, checkpoint = list(totals), tmp_path / "run/checkpoints/step_000002.ckpt"
    assert len(set(whole)) == 8
    totals.clear()
    train(configure(tmp_path / "again", tone_manifests, 4, *changes, f"resume={checkpoint}"))
    assert totals == whole[4:]
    # With another accumulation, and then again with the first: no batch is repeated or left out.
    given.clear()
    changes = ("callbacks.checkpoint.every=1", "trainer.val_check_interval=3")
    train(configure(tmp_path / "one", tone_manifests, 4, *changes, f"resume={checkpoint}"))
    last = tmp_path / "one/run/checkpoints/last.ckpt"
    train(
        configure(tmp_path / "two", tone_manifests, 5, *changes, f"resume={last}", "trainer.accumulate_grad_batches=2")
    )
    assert given == [4, 6]
    # As in a checkpoint of an earlier version, which has no state of the data.
    state = torch.load(checkpoint, weights_only=True)
    assert state.pop("VocosData") == {"batches": 4}
    torch.save(state, tmp_path / "old.ckpt")
    train(configure(tmp_path / "old", tone_manifests, 3, *changes, f"resume={tmp_path / 'old.ckpt'}"))
    assert given == [4, 6, 2]


def test_the_commands_speak_with_it_and_refuse_what_it_is_not(tmp_path, tone_manifests, tiny_checkpoint, capsys):
    train(configure(tmp_path, tone_manifests, 2, "data.mel.floor=1e-10"))
    checkpoint = str(tmp_path / "run/checkpoints/last.ckpt")
    words = ["synthesize", "--checkpoint", str(tiny_checkpoint), "--text", "one", "-o", str(tmp_path / "a.wav")]
    assert main([*words, "--vocoder", "vocos", "--vocoder-model", checkpoint]) == 0
    assert (tmp_path / "a.wav").exists()
    assert main([*words, "--vocoder", "vocos", "--vocoder-model", str(tiny_checkpoint)]) == 2
    assert "a checkpoint of something else; train a vocoder with" in capsys.readouterr().err
    with pytest.raises(UserError, match="a checkpoint of something else"):
        Synthesizer.from_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("trainer.devices=2", "train on one device"),
        ("trainer.precision=16-mixed", "32-true or bf16-mixed"),
        ("vocoder_training.sizes.kernel=4", "an odd kernel"),
        ("vocoder_data.batch_size=0", "1 or more"),
        ("task=singing", "choose speech or vocoder"),
    ],
)
def test_mistakes_are_user_errors(tmp_path, tone_manifests, change, says):
    with pytest.raises(UserError, match=says):
        train(configure(tmp_path, tone_manifests, 2, change))


def test_a_sweep_of_vocoders_goes_by_what_their_best_is_chosen_by(tmp_path, tone_manifests):
    cfg = configure(tmp_path, tone_manifests, 2)
    metrics = train(cfg)
    assert cfg.callbacks.best.monitor == "validation/mel_distance"
    assert objective(cfg, metrics) == read_metrics(tmp_path / "run")["validation/mel_distance"]
    assert math.isfinite(objective(cfg, metrics))
    best = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["callbacks"]
    (kept,) = [state for name, state in best.items() if "validation/mel_distance" in name]
    assert float(kept["best_model_score"]) <= objective(cfg, metrics) + 1e-6


def test_a_vocoder_trains_on_the_second_gpu_alone(tmp_path, tone_manifests, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 4)
    cfg = configure(tmp_path, tone_manifests, 2, "trainer.devices=[1]", "trainer.accelerator=gpu")
    assert build(cfg.strategy) == "auto"
    assert isinstance(build_vocos(cfg, build(cfg.vocoder_data)), VocosModule)
    with pytest.raises(UserError, match="train on one device"):
        build_vocos(configure(tmp_path, tone_manifests, 2, "trainer.devices=[1,2]", "trainer.accelerator=gpu"), None)
