"""A training that is killed again and again, beside the same one left alone: the same losses, checkpoints that load.

    python -m benchmarks.soak --kills 20 [overrides of train.py]

Runs ``python train.py`` twice: whole, and ended at random moments by SIGKILL or SIGTERM and started again by the same
command. Both must come to the same step, every step's loss must be the same to the last bit, also where it was made
twice, and whatever a kill leaves must load. By default a tiny model on data/example, some minutes on two cores.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning

from benchmarks.common import run_benchmark
from melle.checkpoint import load_model
from melle.errors import UserError
from melle.options import option

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
TINY = (
    *("experiment=quickstart", "data=jsonl", "data.batch_frames=1500", "data.workers=1", "trainer.accelerator=cpu"),
    *(f"data.{key}={ROOT}/data/example/{name}.jsonl" for key, name in (("train", "train"), ("val", "validation"))),
    *("tokenizer=characters", "model.width=32", "model.heads=2", "model.ff_width=64", "model.dropout=0.1"),
    *("trainer.max_steps=600", "trainer.val_check_interval=150", "optim.schedule.warmup_steps=50", "threads=1"),
    *("callbacks.checkpoint.every=30", "callbacks.checkpoint.keep=3", "callbacks.speech=null"),
)


@dataclass
class Soak:
    kills: int = option(20, "how often the run is killed")
    seed: int = option(0, "of moments and signals")
    overrides: Sequence[str] = option((), "of train.py, in place of those of a tiny model", "OVERRIDES", nargs="*")

    def run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="melle-soak-") as folder:
            print(soak(self.kills, self.seed, Path(folder), self.overrides or TINY))


class LossFile(lightning.Callback):
    """Writes every optimiser step's loss to a file at once, so that no kill loses one that was made."""

    def __init__(self, path: str):
        self.path = Path(path)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, *_: Any
    ) -> None:
        with self.path.open("a") as file:
            file.write(f"{trainer.global_step} {outputs['loss'].item()!r}\n")


class Run:
    """One of the two trainings, in ``folder``."""

    def __init__(self, folder: Path, overrides: Sequence[str]):
        self.checkpoints, self._log, self._losses = folder / "checkpoints", folder / "log.txt", folder / "losses.txt"
        folder.mkdir()
        callback = ["+callbacks.losses._target_=benchmarks.soak.LossFile", f"+callbacks.losses.path={self._losses}"]
        places = [f"run_dir={folder}", f"data.index={folder}/index", "report.utterances=0", "logger=null"]
        self._command = [sys.executable, "train.py", *overrides, *places, *callback]

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self._command, cwd=ROOT, stdout=self._log.open("a"), stderr=subprocess.STDOUT, start_new_session=True
        )

    def check(self, status: int) -> None:
        """Raises UserError, with what was said last, where it failed."""
        if status:
            raise UserError(f"{' '.join(self._command)}:\n{self._log.read_text()[-3000:]}")

    def losses(self) -> dict[int, set[str]]:
        """Of every step, what it gave each time it was made; a line that a kill cut short is none."""
        values: dict[int, set[str]] = defaultdict(set)
        for line in self._losses.read_text().split("\n")[:-1] if self._losses.is_file() else ():
            step, loss = line.split()
            values[int(step)].add(loss)
        return values

    def last_step(self) -> int:
        """Of the newest checkpoint, which must load; 0 where there is none yet."""
        newest = self.checkpoints / "last.ckpt"
        return load_model(newest).step if newest.is_file() else 0


def soak(kills: int, seed: int, folder: Path, overrides: Sequence[str]) -> str:
    """What came of it. Raises UserError where the two differ, or a checkpoint does not load."""
    rng = random.Random(seed)
    whole, killed = Run(folder / "whole", overrides), Run(folder / "killed", overrides)
    launched = time.monotonic()
    process = whole.start()
    while not whole.losses() and process.poll() is None:
        time.sleep(0.1)
    starting = time.monotonic() - launched  # seconds until it trains
    whole.check(process.wait())
    trained = time.monotonic() - launched - starting
    print(f"left alone: {max(whole.losses())} steps, {starting:.0f} s to start, {trained:.0f} s to train", flush=True)
    ended, given = Counter[str](), 0
    for number in range(1, kills + 1):
        process, chosen = killed.start(), rng.choice(SIGNALS)
        # On average a run lives long enough to come as far as its share of the whole; some do not come to train.
        moment = starting * rng.uniform(0.5, 1.2) + trained * rng.uniform(0.0, 2.0) / kills
        try:
            ended[f"ended by itself, status {process.wait(moment)}"] += 1
        except subprocess.TimeoutExpired:
            if chosen == signal.SIGKILL:
                os.killpg(process.pid, chosen)  # its loader, too, as a machine that goes down does
            else:
                process.send_signal(chosen)
            process.wait(120)
            ended[chosen.name] += 1
        step = killed.last_step()
        if step < given:
            raise UserError(f"kill {number}: the newest checkpoint is of step {step}, and before it of {given}")
        given = step
        print(f"{number:3} {chosen.name} after {moment:.1f} s: {step} steps are saved", flush=True)
    killed.check(killed.start().wait())
    expected, found = whole.losses(), killed.losses()
    differing = [step for step in sorted({*expected, *found}) if expected[step] != found[step] or len(found[step]) != 1]
    if differing or killed.last_step() != whole.last_step():
        first = differing[0] if differing else max(found)
        raise UserError(
            f"steps {whole.last_step()} and {killed.last_step()}; {len(differing)} losses differ, such as that of step "
            f"{first}: {expected[first]} and {found[first]}"
        )
    how = ", ".join(f"{count} × {name}" for name, count in sorted(ended.items()))
    return f"{how}: {killed.last_step()} steps in both runs, all {len(expected)} losses equal to the last bit"


main = partial(run_benchmark, Soak)

if __name__ == "__main__":
    raise SystemExit(main())
