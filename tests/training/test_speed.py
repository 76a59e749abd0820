"""Speed and memory of training: counted by a clock that the tests move, and as a real run logs them."""

import csv
import math
from types import SimpleNamespace

import pytest
import torch

from melle.data.batch import Batch, Row, collate
from melle.training.callbacks import speed
from melle.training.callbacks.speed import SpeedMonitor, Throughput, compute_dtype, memory
from melle.training.run import train
from tests.training.test_train import configure


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def batch(*rows: tuple[int, int]) -> Batch:
    """Of rows with so many tokens, <EOS> counted, and frames, two to a step."""
    items = [Row([[1] * (tokens - 1)], [torch.zeros(frames, 4)], ["x"]) for tokens, frames in rows]
    return collate(items, reduction_factor=2, n_mels=4)


STAND_IN = collate([], reduction_factor=2, n_mels=4)


def run(counter: Throughput, clock: Clock, wait: float, work: float, what: Batch) -> None:
    clock.wait(wait)
    counter.start()
    clock.wait(work)
    counter.end(what)


def test_throughput_counts_what_is_true_and_what_is_room():
    clock = Clock()
    counter = Throughput(clock=clock)
    run(counter, clock, 100.0, 2.0, batch((3, 10), (5, 7)))  # whatever came before the first batch does not count
    run(counter, clock, 0.5, 1.5, batch((4, 8)))
    run(counter, clock, 0.0, 1.0, STAND_IN)
    counts = counter.counts()
    assert (counts.seconds, counts.waited, counts.frames) == (5.0, 0.5, 25)
    assert counts.frames_per_second == 5.0
    assert counts.text_lengths.tolist() == [3, 5, 4] and counts.steps.tolist() == [5, 4, 4]
    assert counts.room == 2 * max(3 + 5, 5 + 4) + (4 + 4)


def test_a_pause_does_not_count_and_joined_utterances_do():
    clock = Clock()
    counter = Throughput(clock=clock)
    run(counter, clock, 0.0, 1.0, batch((4, 8)))
    counter.pause()  # a validation of an hour
    joined = collate([Row([[1], [2]], [torch.zeros(9, 4), torch.zeros(5, 4)], ["a", "b"])], 2, n_mels=4)
    run(counter, clock, 3600.0, 1.0, joined)
    counts = counter.counts()
    assert (counts.seconds, counts.waited) == (2.0, 0.0)
    assert counts.frames == 8 + 8 + 5  # the first of two loses the frame that does not fill a step
    assert counts.steps.tolist() == [4, 4 + 3]
    counter.clear()
    run(counter, clock, 0.25, 0.75, STAND_IN)
    counts = counter.counts()
    assert (counts.seconds, counts.waited, counts.frames, counts.room) == (1.0, 0.25, 0, 0)


def test_throughput_of_the_last_batches():
    clock = Clock()
    counter = Throughput(last=2, clock=clock)
    assert counter.counts().frames_per_second == 0
    for frames, seconds in ((100, 1.0), (30, 2.0), (10, 2.0)):
        run(counter, clock, 0.0, seconds, batch((2, frames)))
    assert counter.counts().frames_per_second == 10.0


def test_what_is_counted_is_a_copy():
    """Tensors of a loader's process hold a file each."""
    counter, what = Throughput(), batch((3, 6))
    counter.start()
    counter.end(what)
    what.text_lengths.zero_(), what.mel_lengths.zero_(), what.segment_steps.zero_()
    assert (counter.counts().frames, counter.counts().room) == (6, 6)


@pytest.fixture
def fit(monkeypatch):
    """A monitor in a training of two ranks, a clock to move it, and what it logs."""
    monkeypatch.setattr(speed, "matmul_peak", lambda device, dtype: 1000.0)
    monkeypatch.setattr(speed, "training_flops", lambda network, tokens, steps: (10 * tokens + steps).sum())
    entries = []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: entries.append((step, metrics)))
    trainer = SimpleNamespace(
        is_global_zero=True,
        loggers=[logger],
        log_every_n_steps=2,
        global_step=0,
        max_steps=100,
        world_size=2,
        precision="32-true",
    )
    mel = SimpleNamespace(frame_rate=50.0)
    module = SimpleNamespace(
        network=None, device=torch.device("cpu"), description=SimpleNamespace(mel=mel), dtype=torch.float32
    )
    monitor, clock = SpeedMonitor(), Clock()
    monitor.throughput = Throughput(clock=clock)

    def step(what: Batch, wait: float, work: float, steps: int = 1) -> None:
        clock.wait(wait)
        monitor.on_train_batch_start(trainer, module, what, 0)
        clock.wait(work)
        trainer.global_step += steps
        monitor.on_train_batch_end(trainer, module, None, what, 0)

    return SimpleNamespace(
        monitor=monitor, trainer=trainer, module=module, clock=clock, entries=entries, step=step, logger=logger
    )


def test_graphs_compiled_before_the_run_are_not_its_own(fit, monkeypatch):
    """A sweep trains several in one process."""
    monkeypatch.setattr(speed, "compiled_graphs", lambda: (13, 4))
    fit.monitor.on_train_start(fit.trainer, fit.module)
    fit.step(batch((3, 10)), 1.0, 1.0, steps=2)
    assert "speed/compiled_graphs" not in fit.entries[0][1]
    monkeypatch.setattr(speed, "compiled_graphs", lambda: (15, 5))
    fit.step(batch((3, 10)), 1.0, 1.0, steps=2)
    metrics = fit.entries[1][1]
    assert (metrics["speed/compiled_graphs"], metrics["speed/recompilations"]) == (2, 1)


def test_the_monitor_logs_closed_forms(fit):
    fit.monitor.on_train_start(fit.trainer, fit.module)
    fit.step(batch((3, 10), (5, 8)), 9.0, 2.0)
    fit.monitor.on_save_checkpoint(fit.trainer, fit.module, {})
    fit.step(batch((4, 8)), 9.0, 1.5)
    assert [at for at, _ in fit.entries] == [2]
    metrics = fit.entries[0][1]
    assert metrics.pop("memory/allocated_gib") > 0 and metrics.pop("memory/peak_gib") > 0
    assert metrics == pytest.approx(
        {
            "speed/frames_per_second": 2 * 26 / 3.5,
            "speed/audio_seconds_per_second": 2 * 26 / 3.5 / 50,
            "speed/steps_per_second": 2 / 3.5,
            "speed/loader_wait": 0.0,
            "speed/padding": 1 - (8 + 9 + 8) / (2 * 9 + 8),
            "speed/model_flops_utilisation": (10 * 12 + 13) / 3.5 / 1000,
        }
    )
    fit.step(batch((2, 4)), 0.5, 0.5)
    fit.monitor.on_validation_start(fit.trainer, fit.module)
    fit.step(batch((2, 4)), 60.0, 1.0)
    at, metrics = fit.entries[1]
    assert at == 4
    assert metrics["speed/loader_wait"] == pytest.approx(0.5 / 2)
    assert metrics["speed/steps_per_second"] == pytest.approx(1.0)


def test_accumulated_batches_are_one_step(fit):
    fit.monitor.on_train_start(fit.trainer, fit.module)
    for number in range(12):
        fit.step(batch((2, 4)), 0.0, 1.0, steps=int(number % 3 == 2))
    assert [at for at, _ in fit.entries] == [2, 4]
    assert fit.entries[1][1]["speed/steps_per_second"] == pytest.approx(1 / 3)
    assert fit.entries[1][1]["speed/frames_per_second"] == pytest.approx(2 * 4)


def test_a_resumed_run_counts_its_own_steps(fit):
    fit.trainer.global_step = 7
    fit.monitor.on_train_start(fit.trainer, fit.module)
    fit.step(batch((2, 4)), 0.0, 2.0)
    assert fit.entries[0][0] == 8
    assert fit.entries[0][1]["speed/steps_per_second"] == pytest.approx(1 / 2)


def test_stand_ins_have_no_padding(fit):
    fit.monitor.on_train_start(fit.trainer, fit.module)
    fit.step(STAND_IN, 0.0, 1.0)
    fit.step(STAND_IN, 0.0, 1.0)
    metrics = fit.entries[0][1]
    assert "speed/padding" not in metrics
    assert metrics["speed/frames_per_second"] == metrics["speed/model_flops_utilisation"] == 0


@pytest.mark.parametrize("change", [{"is_global_zero": False}, {"loggers": []}, {"max_steps": 1}])
def test_where_nothing_is_logged_nothing_is_measured(fit, monkeypatch, change):
    monkeypatch.setattr(speed, "matmul_peak", lambda device, dtype: pytest.fail("measured"))
    vars(fit.trainer).update(change)
    fit.monitor.on_train_start(fit.trainer, fit.module)
    for _ in range(4):
        fit.step(batch((2, 4)), 0.0, 1.0)
    assert not fit.entries


def test_measuring_the_peak_draws_no_random_numbers(fit, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(speed, "matmul_peak", lambda device, dtype: float(torch.rand(3).sum()))
    before = torch.get_rng_state()
    fit.monitor.on_train_start(fit.trainer, fit.module)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("bf16-mixed", torch.bfloat16),
        ("bf16-true", torch.bfloat16),
        ("16-mixed", torch.float16),
        ("32-true", torch.float32),
    ],
)
def test_precision(precision, dtype):
    assert compute_dtype(precision) == dtype


def test_memory_of_the_process_grows_with_what_it_holds():
    before = memory(torch.device("cpu"))
    held = torch.ones(2**26)  # 256 MiB
    after = memory(torch.device("cpu"))
    assert after["memory/peak_gib"] >= after["memory/allocated_gib"] - 0.01
    assert after["memory/allocated_gib"] - before["memory/allocated_gib"] == pytest.approx(0.25, abs=0.05)
    assert len(held) == 2**26


def test_a_run_logs_finite_values_by_optimiser_step(tmp_path, tone_manifests):
    options = ("trainer.log_every_n_steps=2", "trainer.accumulate_grad_batches=2", "logger=csv")
    train(configure(tmp_path, tone_manifests, 6, *options))
    (table,) = (tmp_path / "run").rglob("metrics.csv")
    rows = [row for row in csv.DictReader(table.open()) if row["speed/frames_per_second"]]
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    for row in rows:
        values = {name: float(value) for name, value in row.items() if name.startswith(("speed/", "memory/")) and value}
        assert len(values) == 8 and all(math.isfinite(value) for value in values.values())
        assert 0 <= values["speed/padding"] < 1 and 0 <= values["speed/loader_wait"] < 1
        assert 0 < values["speed/model_flops_utilisation"] < 1
        ratio = values["speed/frames_per_second"] / values["speed/audio_seconds_per_second"]
        assert ratio == pytest.approx(62.5)
