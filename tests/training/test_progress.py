"""The line of progress, in a terminal and in a log file."""

import io
import math
import re
import sys
from types import SimpleNamespace

import pytest
import torch
import tqdm.std
from omegaconf import DictConfig, open_dict

from melle.errors import UserError
from melle.training.callbacks.progress import StepProgressBar
from melle.training.callbacks.speed import Throughput
from melle.training.module import MelleModule
from melle.training.run import train
from tests.training.test_speed import STAND_IN, Clock, batch
from tests.training.test_train import configure

METRICS = {"train/total": torch.tensor(1.2344), "train/kl": torch.tensor(-0.31), "validation/text_gap": 0.2071}
SHOWN = "· loss 1.23 gap 0.207 kl -0.31"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """The lines that it shows, by what carriage returns, line feeds and "one up" do to them."""
        lines, row, column = [""], 0, 0
        for part in re.split("(\r|\n|\x1b\\[A)", self.getvalue()):
            if part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif part == "\x1b[A":
                row -= 1
                assert row >= 0
            else:
                lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines]


class Fit:
    """A training of ``max_steps`` in which everything takes as long as told."""

    def __init__(self, clock: Clock, stderr: io.StringIO, first=0, max_steps=200, ranks=1, rank=0):
        self.clock, self.stderr, self.bar = clock, stderr, StepProgressBar()
        self.bar.throughput = Throughput(last=50, clock=clock)
        self.looks = 0
        fit = self

        class Trainer(SimpleNamespace):
            @property
            def progress_bar_metrics(self):
                fit.looks += 1
                return METRICS

        self.trainer = Trainer(
            global_step=first,
            max_steps=max_steps,
            world_size=ranks,
            is_global_zero=rank == 0,
            sanity_checking=False,
            num_val_batches=[4],
        )
        self.bar.setup(self.trainer, None, "fit")
        self.bar.on_train_start(self.trainer, None)

    def batch(self, seconds: float, steps: int = 1, what=None) -> None:
        what = what or batch((3, 500))
        self.bar.on_train_batch_start(self.trainer, None, what, 0)
        self.clock.wait(seconds)
        self.trainer.global_step += steps
        self.bar.on_train_batch_end(self.trainer, None, None, what, 0)


@pytest.fixture
def start(monkeypatch):
    """Begins a training whose progress goes to a terminal, unless told, by a clock that stands still."""
    clock, fits = Clock(), []
    monkeypatch.setattr(tqdm.std, "time", clock)

    def start(stderr: io.StringIO | None = None, **options: int) -> Fit:
        monkeypatch.setattr(sys, "stderr", stderr or Terminal())
        fits.append(Fit(clock, sys.stderr, **options))
        return fits[-1]

    yield start
    for fit in fits:
        fit.bar.on_exception(fit.trainer, None, KeyboardInterrupt())


def test_the_line_in_a_terminal(start):
    fit = start()
    assert fit.stderr.screen() == ["training   0%|          | 0/200 [00:00<?]"]
    for _ in range(50):
        fit.batch(1.0)
    assert fit.stderr.screen() == [f"training  25%|██▌       | 50/200 [00:50<02:30] 500 frames/s {SHOWN}"]


def test_a_resumed_run_counts_from_its_beginning_and_estimates_by_itself(start):
    fit = start(first=100)
    assert fit.stderr.screen() == ["training  50%|█████     | 100/200 [00:00<?]"]
    for _ in range(10):
        fit.batch(2.0)
    assert fit.stderr.screen()[0].startswith("training  55%|█████▌    | 110/200 [00:20<03:00]")


def test_accumulated_batches_advance_it_by_optimiser_steps(start):
    fit = start()
    for number in range(9):
        fit.batch(1.0, steps=int(number % 3 == 2))
    (line,) = fit.stderr.screen()
    assert "3/200 [00:09<09:51]" in line and line.endswith(f" 500 frames/s {SHOWN}")


def test_it_looks_at_metrics_now_and_then_only(start):
    fit = start()
    for _ in range(100):
        fit.batch(0.0625)
    assert fit.looks == 12  # 6.25 s, every 0.5 s
    assert "96/200" in fit.stderr.screen()[0]
    fit.bar.on_train_end(fit.trainer, None)
    assert fit.looks == 13
    assert "100/200 [00:06<00:06]" in fit.stderr.screen()[0]  # ended early: it stays where it is


def test_speed_is_that_of_all_ranks_without_validation_or_stand_ins(start):
    fit = start(ranks=4)
    fit.batch(1.0)
    fit.bar.on_validation_start(fit.trainer, None)
    fit.clock.wait(1000.0)
    fit.bar.on_validation_end(fit.trainer, None)
    fit.bar.on_save_checkpoint(fit.trainer, None, {})
    fit.clock.wait(1000.0)
    fit.batch(1.0, what=STAND_IN)
    assert fit.stderr.screen()[0].endswith(f" 1.00k frames/s {SHOWN}")


def test_training_without_end(start):
    fit = start(max_steps=-1)
    fit.batch(61.0)
    assert fit.stderr.screen() == [f"training 1 [01:01] 8.20 frames/s {SHOWN}"]


def test_validation_below_it_leaves_no_trace(start):
    fit = start()
    fit.batch(1.0)
    before = fit.stderr.screen()
    fit.bar.on_validation_start(fit.trainer, None)
    for _ in range(3):
        fit.clock.wait(1.0)
        fit.bar.on_validation_batch_end(fit.trainer, None, None, None, 0)
    assert fit.stderr.screen() == [*before, "validation  75%|███████▌  | 3/4 [00:03<00:01]"]
    fit.bar.on_validation_end(fit.trainer, None)
    assert fit.stderr.screen() == [*before, ""]
    fit.batch(1.0)
    assert fit.stderr.screen()[0].startswith("training   1%|          | 2/200")


def test_validation_of_unknown_length(start):
    fit = start()
    fit.trainer.num_val_batches = [math.inf]
    fit.bar.on_validation_start(fit.trainer, None)
    fit.clock.wait(1.0)
    fit.bar.on_validation_batch_end(fit.trainer, None, None, None, 0)
    assert fit.stderr.screen()[1] == "validation 1 [00:01]"


def test_an_exception_in_a_validation_leaves_the_cursor_below_the_line(start):
    fit = start()
    fit.batch(0.1)
    fit.bar.on_validation_start(fit.trainer, None)
    fit.bar.on_exception(fit.trainer, None, KeyboardInterrupt())
    print("error: …", file=fit.stderr)
    line, error, *rest = fit.stderr.screen()
    assert "| 1/200 [00:00<" in line and error == "error: …" and rest == [""]
    assert fit.looks == 0  # whatever broke may have broken the metrics
    fit.bar.on_exception(fit.trainer, None, KeyboardInterrupt())  # nothing is left to close
    assert fit.stderr.screen() == [line, error, ""]


def test_prints_stand_above_it(start):
    fit = start()
    fit.bar.print("step", 7, sep=" no. ", file=fit.stderr)
    assert fit.stderr.screen() == ["step no. 7", "training   0%|          | 0/200 [00:00<?]"]


def test_plain_lines_where_there_is_no_terminal(start):
    fit = start(io.StringIO())
    for _ in range(70):
        fit.batch(1.0)
    fit.bar.print("a word", file=fit.stderr)
    fit.bar.on_validation_start(fit.trainer, None)
    fit.clock.wait(31.0)
    fit.bar.on_validation_batch_end(fit.trainer, None, None, None, 0)
    fit.bar.on_validation_end(fit.trainer, None)
    fit.bar.on_train_end(fit.trainer, None)
    rest = f" 500 frames/s {SHOWN}"
    assert fit.stderr.getvalue().splitlines() == [
        f"training  15% 30/200 [00:30<02:50]{rest}",
        f"training  30% 60/200 [01:00<02:20]{rest}",
        "a word",
        "validation  25% 1/4 [00:31<01:33]",
        f"training  35% 70/200 [01:41<03:07]{rest}",
    ]


def test_other_ranks_show_nothing(start):
    fit = start(ranks=2, rank=1)
    fit.batch(100.0)
    fit.bar.on_validation_start(fit.trainer, None)
    fit.bar.on_validation_batch_end(fit.trainer, None, None, None, 0)
    fit.bar.on_validation_end(fit.trainer, None)
    fit.bar.on_train_end(fit.trainer, None)
    fit.bar.on_exception(fit.trainer, None, ValueError())
    assert fit.stderr.getvalue() == "" and fit.looks == 0


def with_bar(cfg: DictConfig) -> DictConfig:
    with open_dict(cfg):
        cfg.trainer.enable_progress_bar = True
    return cfg


def test_a_run_and_its_continuation(tmp_path, tone_manifests, monkeypatch):
    log_file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log_file)
    options = ("++trainer.accumulate_grad_batches=3", "optim.schedule.warmup_steps=1")
    train(with_bar(configure(tmp_path, tone_manifests, 2, *options)))
    lines = [line for line in log_file.getvalue().splitlines() if line.startswith("training")]
    assert len(lines) == 1
    number = r"-?\d\S*"
    terms = " ".join(f"{name} {number}" for name in ("loss", "gap", "reg", "kl", "flux", "stop"))
    assert re.fullmatch(rf"training 100% 2/2 \[\d\d:\d\d<00:00\] {number} frames/s · {terms}", lines[0])
    log_file.truncate(0)
    train(with_bar(configure(tmp_path, tone_manifests, 4, *options)))
    assert "training 100% 4/4 [" in log_file.getvalue()


def test_a_run_that_fails_says_where(tmp_path, tone_manifests, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def training_step(self, batch, index):
        if self.global_step == 1:
            self.print("a word of the module", file=sys.stderr)
            raise UserError("no more")
        return step(self, batch, index)

    step = MelleModule.training_step
    monkeypatch.setattr(MelleModule, "training_step", training_step)
    with pytest.raises(UserError, match="no more"):
        train(with_bar(configure(tmp_path, tone_manifests, 4, "optim.schedule.warmup_steps=1")))
    *_, word, line, end = terminal.screen()
    assert word == "a word of the module" and end == ""
    assert line.startswith("training  25%|██▌       | 1/4 [")
