"""What of Lightning's Trainer means what its documentation says, and what is refused."""

import errno
import shlex
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from melle.checkpoint import read_hyperparameters
from melle.data.datamodule import MelleDataModule
from melle.devices import best_precision, count_devices
from melle.errors import OutOfMemory, UserError
from melle.text.symbols import SymbolTokenizer
from melle.training.callbacks import samples
from melle.training.module import MelleModule
from melle.training.report import check_judges, check_report, choose_cases, next_commands, write_report
from melle.training.run import objective, train
from melle.training.strategies import automatic
from melle.training.trainer import build_callbacks, build_trainer, check_trainer
from tests.training.test_train import CONF, configure

ONE = "optim.schedule.warmup_steps=1"
OTHERS = ("use_distributed_sampler", "callbacks", "logger", "default_root_dir", "plugins", "fast_dev_run")


@pytest.mark.parametrize(
    "argument",
    [
        *("max_epochs=3", "min_epochs=1", "limit_train_batches=100", "limit_train_batches=0.5", "overfit_batches=2"),
        *("reload_dataloaders_every_n_epochs=1", "check_val_every_n_epoch=1", "use_distributed_sampler=true"),
        *("val_check_interval=0.5", "callbacks=[]", "logger=false", "default_root_dir=x"),
        *("plugins=[]", "fast_dev_run=true", "fast_dev_run=3"),
    ],
)
def test_what_has_no_meaning_here_is_refused_by_name(tmp_path, tone_manifests, argument, seen):
    with pytest.raises(UserError, match=rf"trainer\.{argument.partition('=')[0]}") as error:
        train(configure(tmp_path, tone_manifests, 2, ONE, f"++trainer.{argument}"))
    assert not seen
    is_of_epochs = argument.partition("=")[0] not in OTHERS
    assert ("no epochs" in str(error.value) or "share of an epoch" in str(error.value)) == is_of_epochs


def test_lightnings_own_defaults_are_no_fault():
    cfg = OmegaConf.create({"max_epochs": -1, "limit_train_batches": 1.0, "overfit_batches": 0.0, "max_steps": 3})
    check_trainer(cfg)


def test_validation_by_the_clock_and_an_end_by_the_clock(tmp_path, tone_manifests, monkeypatch):
    validations = []
    monkeypatch.setattr(MelleModule, "on_validation_start", lambda self: validations.append(self.global_step))
    step = MelleModule.training_step

    def training_step(self, batch, index):
        time.sleep(0.2)
        return step(self, batch, index)

    monkeypatch.setattr(MelleModule, "training_step", training_step)
    options = ("trainer.val_check_interval=00:00:00:01", "callbacks.speech=null")
    options += ("+trainer.max_time=00:00:00:04", "trainer.accumulate_grad_batches=2")
    metrics = train(configure(tmp_path, tone_manifests, 1000, ONE, *options))
    assert 2 <= len(validations) < metrics["step"] < 1000
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == metrics["step"]  # however the run ends, its end is kept


def test_without_validations_there_is_a_checkpoint_at_the_end_alone(tmp_path, tone_manifests):
    options = ("trainer.val_check_interval=null", "callbacks.speech=null")
    train(configure(tmp_path, tone_manifests, 3, ONE, *options))
    names = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert names == {"step_000003.ckpt", "last.ckpt"}


def test_devices_are_counted_as_lightning_counts_them(monkeypatch):
    assert [count_devices("cpu", devices) for devices in ("auto", 1, "1", 2, "3")] == [1, 1, 1, 2, 3]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 4)
    choices = {"auto": 4, 1: 1, -1: 4, "-1": 4, 2: 2, "0,2": 2}
    assert {choice: count_devices("auto", choice) for choice in choices} == choices
    assert count_devices("gpu", OmegaConf.create([1])) == 1  # the second GPU alone
    assert automatic("gpu", [1], 1) == "auto" and isinstance(automatic("gpu", "auto", 1), DDPStrategy)
    assert isinstance(automatic("gpu", 1, 2), DDPStrategy)


def test_only_what_is_chosen_is_built(tmp_path, tone_manifests):
    cfg = configure(tmp_path, tone_manifests, 2, "callbacks=[speech,learning_rate]", "+callbacks.ema.decay=0.9")
    built = build_callbacks(cfg)
    assert any(isinstance(callback, LearningRateMonitor) for callback in built)
    assert not any(isinstance(callback, ModelCheckpoint) for callback in built)
    cfg = configure(tmp_path, tone_manifests, 2, "+trainer.enable_checkpointing=false")
    assert not any(isinstance(callback, ModelCheckpoint) for callback in build_callbacks(cfg))


def test_loggers_and_checkpoints_hold_the_configuration(tmp_path, tone_manifests):
    options = ("logger=[csv,tensorboard]", "seed=3", "optim.optimizer.lr=0.00123", "callbacks.speech=null")
    metrics = train(configure(tmp_path, tone_manifests, 2, ONE, *options))
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")
    assert events.Scalars("hp_metric")[-1].value == pytest.approx(metrics["validation/regression"])
    for folder in ("csv/version_0", "tensorboard"):
        logged = OmegaConf.load(tmp_path / "run" / folder / "hparams.yaml")
        assert logged.seed == 3 and logged.optim.optimizer.lr == 0.00123
    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    assert read_hyperparameters(checkpoint)["optim"]["optimizer"]["lr"] == 0.00123
    module = MelleModule.load_from_checkpoint(checkpoint)
    assert module.loss.guide_weight == 24.0 and module.hparams["seed"] == 3 and not module.training
    (speech,) = module.predict_step((["four two"], [None]))
    assert len(speech.waveform) > 0


def test_a_wrong_test_manifest_is_an_error_before_training(tmp_path, tone_manifests, seen):
    with pytest.raises(UserError, match=r"data\.test: .*gone\.jsonl.*report\.utterances=0"):
        train(configure(tmp_path, tone_manifests, 2, ONE, "data.test=gone.jsonl"))
    assert not seen


def test_the_report_is_checked_before_training(tmp_path, tone_manifests, seen, monkeypatch):
    cfg = configure(tmp_path, tone_manifests, 2, ONE, "asr=hubert", "asr.hubert.model=models/hubert", "speaker=none")
    with pytest.raises(UserError, match="model=models/hubert: no such file or folder"):
        check_judges(cfg)
    check_judges(OmegaConf.merge(cfg, {"report": {"utterances": 0}}))
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"the report at the end: .*its language is "):
        patch.setattr(SymbolTokenizer, "speaks", lambda self, language: False)
        check_report(choose_cases(cfg), SymbolTokenizer("words", ["one"]))
    own = {"name": "vocos", "model": str(tmp_path / "vocoder.json")}
    monkeypatch.setattr("melle.evaluation.checkpoints.exported_vocoder", lambda where: own)
    with pytest.raises(UserError, match=r"the report at the end: .*vocoder\.json.*report\.utterances=0"):
        train(cfg)  # fine-tuning of a model whose vocoder is damaged
    assert not seen


def test_the_script_checks_the_judges_before_it_trains(tmp_path, tone_manifests, monkeypatch):
    monkeypatch.setattr("melle.training.run.train", lambda cfg: pytest.fail("it trains"))
    cfg = configure(tmp_path, tone_manifests, 2, ONE, "asr=hubert", "asr.hubert.model=models/hubert", "speaker=none")
    with pytest.raises(ValueError, match="HydraConfig was not set") as caught:  # of which main asks how to report it
        import_module("train").main.__wrapped__(cfg)
    assert isinstance(caught.value.__context__, UserError) and "models/hubert" in str(caught.value.__context__)


def test_a_lack_of_memory_for_the_report_names_its_option(tmp_path, tone_manifests, monkeypatch, caplog):
    cfg = configure(tmp_path, tone_manifests, 2, ONE)
    for error in (OutOfMemory("…"), MemoryError()):
        monkeypatch.setattr("melle.training.report.choose_cases", lambda cfg, error=error: _raise(error))
        write_report(cfg)
    assert caplog.text.count("lower report.utterances=") == 2


def _raise(error):
    raise error


def test_a_report_that_fails_is_a_warning(tmp_path, tone_manifests, monkeypatch, capsys, caplog):
    cfg = configure(tmp_path, tone_manifests, 2, ONE, "asr=none", "speaker=none")
    train(cfg)
    with monkeypatch.context() as patch:
        patch.setattr("melle.devices.best_device", lambda: "cuda:7")  # the report goes where the best device is
        write_report(cfg)
    assert "no report: device=cuda:7: this machine has none such" in caplog.text
    monkeypatch.setattr("melle.training.report.choose_cases", lambda cfg: 1 / 0)
    write_report(cfg)
    assert "no report: ZeroDivisionError" in caplog.text
    assert "tensorboard --logdir" in capsys.readouterr().out


def test_what_to_type_next_can_be_pasted():
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["experiment=quickstart", "name='it is \"$HOME\"'", "data.test=null"])
    text = 'say "it\'s $5"'
    prompt = type("Utterance", (), {"audio_path": Path("a b/c.wav"), "transcription": text})
    case = type("Case", (), {"target": prompt, "prompt": prompt})
    lines = next_commands(cfg, case)
    (speak,) = [shlex.split(line) for line in lines if "synthesize" in line]
    assert speak[speak.index("--text") + 1] == text and speak[speak.index("--prompt") + 1] == "a b/c.wav"
    assert speak[speak.index("--checkpoint") + 1] == 'runs/it is "$HOME"/checkpoints/last.ckpt'
    assert not any("synthesize" in line for line in next_commands(cfg, None))


def test_a_sweep_goes_by_the_monitored_metric():
    metrics = {"validation/regression": 2.0, "validation/mel_distance": 3.0, "samples/eos_rate": 0.5}
    for overrides, expected in (
        (["experiment=quickstart"], 2.0),
        (["experiment=vocoder_quickstart"], 3.0),
        (["experiment=vocoder_quickstart", "callbacks.best=null"], 3.0),
        (["model=melle", "callbacks.best.monitor=samples/eos_rate"], 0.5),
        (["model=melle", "callbacks=[]"], 2.0),
    ):
        with initialize_config_dir(CONF, version_base="1.3"):
            assert objective(compose("train", [*overrides, "name=x"]), metrics) == expected


@pytest.mark.parametrize("kind", ["device", "allocator", "python", "library"])
def test_want_of_memory_is_one_sentence(tmp_path, tone_manifests, monkeypatch, kind):
    def fail(self, batch, index):
        self.batch_size = (7, 99)
        if kind == "allocator":
            torch.empty(10**15)
        errors = {"device": torch.OutOfMemoryError("CUDA out of memory"), "python": MemoryError()}
        raise errors.get(kind, RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"))

    monkeypatch.setattr(MelleModule, "training_step", fail)
    says = r"out of memory at a batch of 7 rows and 99 positions; lower data\.batch_frames=600 .*gradient_checkpointing"
    with pytest.raises(UserError, match=says):
        train(configure(tmp_path, tone_manifests, 2, ONE))


LACKS = {
    "library": RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    "cudnn": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "system": RuntimeError("[Errno 12] Cannot allocate memory"),
    "call": OSError(errno.ENOMEM, "Cannot allocate memory"),
}
KILLED = [
    "DataLoader worker (pid 12) is killed by signal: Killed. ",
    "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit.",
]


@pytest.mark.parametrize("kind", LACKS)
@pytest.mark.parametrize("where", ["training_step", "statistics"])
def test_want_of_memory_is_known_by_any_of_its_texts(tmp_path, tone_manifests, monkeypatch, kind, where):
    def fail(self, *_):
        self.batch_size = (7, 99)
        raise LACKS[kind]

    monkeypatch.setattr(MelleModule if where == "training_step" else MelleDataModule, where, fail)
    says = "out of memory at a batch of 7 rows" if where == "training_step" else "out of memory before training; "
    with pytest.raises(UserError, match=says):
        train(configure(tmp_path, tone_manifests, 2, ONE))


@pytest.mark.parametrize("message", KILLED)
@pytest.mark.parametrize("as_cause", [False, True])
def test_a_killed_loader_process_is_a_lack_of_memory(tmp_path, tone_manifests, monkeypatch, message, as_cause):
    def fail(*_):
        if as_cause:
            raise RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly") from RuntimeError(message)
        raise RuntimeError(message)

    monkeypatch.setattr(MelleModule, "training_step", fail)
    with pytest.raises(UserError, match=r"out of memory: .* loads data; lower data\.workers=0"):
        train(configure(tmp_path, tone_manifests, 2, ONE))


def test_a_broken_device_ends_training(tmp_path, tone_manifests, monkeypatch):
    def fail(*_, **__):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(samples, "Synthesizer", fail)
    with pytest.raises(torch.AcceleratorError):
        train(configure(tmp_path, tone_manifests, 2, ONE))


def test_another_kind_of_data_begins_anew_and_says_so(tmp_path, tone_manifests, seen, capsys):
    train(configure(tmp_path, tone_manifests, 2, ONE, "callbacks.speech=null"))
    path = tmp_path / "run/checkpoints/last.ckpt"
    state = torch.load(path, weights_only=True)
    state["ShardDataModule"] = {"steps": 2, "ranks": 1, "next": 1, "playing": [[0, 2, 9]], "waiting": []}
    del state["MelleDataModule"]
    torch.save(state, tmp_path / "shards.ckpt")
    first, seen[:] = seen[:2], []
    train(configure(tmp_path / "b", tone_manifests, 4, ONE, f"resume={tmp_path / 'shards.ckpt'}"))
    assert "batches begin anew" in capsys.readouterr().err and seen == first
    state = torch.load(tmp_path / "b/run/checkpoints/last.ckpt", weights_only=True)["MelleDataModule"]
    assert (state["epoch"], state["batches"]) in ((0, 2), (1, 0))


@pytest.mark.parametrize(
    ("accelerator", "gpu", "instructions", "precision"),
    [
        ("cpu", None, {"avx512_bf16"}, "bf16-mixed"),
        ("auto", None, {"amx_bf16", "avx2"}, "bf16-mixed"),
        ("auto", None, {"avx2", "avx512_f"}, "32-true"),  # bfloat16 would be emulated
        ("mps", None, {"avx512_bf16"}, "32-true"),
        ("auto", True, {"avx2"}, "bf16-mixed"),
        ("auto", False, {"avx512_bf16"}, "32-true"),  # the processor beside an older GPU does not train
        ("cpu", True, {"avx2"}, "32-true"),
    ],
)
def test_precision_is_bfloat16_where_the_device_has_instructions_for_it(
    monkeypatch, accelerator, gpu, instructions, precision
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu is not None)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: gpu)
    known = {name: name in instructions for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")}
    monkeypatch.setattr("melle.devices.cpu_instructions", lambda: known)
    assert best_precision(accelerator) == precision


@pytest.mark.parametrize(("option", "precision"), [("auto", "bf16-mixed"), ("32-true", "32-true")])
def test_precision_auto_reaches_the_trainer(monkeypatch, tmp_path, tone_manifests, option, precision):
    monkeypatch.setattr("melle.devices.cpu_instructions", lambda: {"avx512_bf16": True})
    cfg = configure(tmp_path, tone_manifests, 2, ONE, f"trainer.precision={option}")
    assert build_trainer(cfg).precision == precision
