"""Run by torchrun on two processes: trainings whose losses test_ranks.py compares. Usage: two_ranks.py FOLDER TONES"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[2]))

from melle.data.dataset import UtteranceDataset
from melle.errors import DataError, UserError
from melle.training.callbacks.nonfinite import SkipNonFinite
from melle.training.callbacks.stop import Stopped
from melle.training.module import MelleModule
from melle.training.run import train
from tests.conftest import watch_losses
from tests.training.test_train import configure

RANK = int(os.environ["RANK"])
folder, tones = Path(sys.argv[1]), Path(sys.argv[2])
results: dict[str, list] = {}
losses: list[float] = []  # of this rank
modules: list[MelleModule] = []
watch_losses(setattr, losses)
step = MelleModule.training_step
read = UtteranceDataset.load
trouble: dict = {}  # what happens at which batch


def training_step(self, batch, index):
    modules[:] = [self]
    loss = step(self, batch, index)
    if trouble.get("nan") == index and RANK == 1:
        return loss * float("nan")
    if trouble.get("signal") == index and RANK == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return loss


def load(self, number):
    if "broken" in trouble and RANK == 1 and len(losses) >= trouble["broken"]:
        raise DataError("unreadable", f"utterance {number} cannot be read")
    return read(self, number)


UtteranceDataset.load = load
MelleModule.training_step = training_step


def run(name: str, steps: int, *overrides: str, **problem) -> None:
    losses.clear()
    trouble.clear()
    trouble.update(problem)
    cfg = configure(folder / name, tones, steps, *OPTIONS, f"run_dir={folder / name}", *overrides)
    try:
        train(cfg)
    except Stopped as stop:
        results[f"{name} stopped"] = [stop.number, stop.step]
    except UserError as error:
        results[f"{name} failed"] = [str(error)]
    results[name] = list(losses)


OPTIONS = [
    "trainer.devices=2",
    "data.batch_frames=60",
    "data.max_join=1",
    "callbacks.checkpoint.every=1",
    "callbacks.checkpoint.keep=null",
    "trainer.val_check_interval=2",
    "optim.schedule.warmup_steps=1",
    "model.dropout=0.1",
]
torch.set_num_threads(1)
run("ddp", 5, "strategy=ddp")
run("ddp resumed", 5, "strategy=ddp", f"resume={folder / 'ddp/checkpoints/step_000002.ckpt'}")
accumulated = ("strategy=ddp", "data.workers=2", "trainer.accumulate_grad_batches=3")
run("workers", 3, *accumulated)
run("workers resumed", 3, *accumulated, f"resume={folder / 'workers/checkpoints/step_000001.ckpt'}")
run("nan", 4, "strategy=ddp", nan=1)
results["nan skipped"] = [c.skipped for c in modules[0].trainer.callbacks if isinstance(c, SkipNonFinite)]
weights = torch.cat([p.detach().flatten() for p in modules[0].parameters()])
others = [torch.empty_like(weights) for _ in range(2)]
dist.all_gather(others, weights)
results["nan weights equal"] = [bool(torch.equal(*others)), bool(torch.isfinite(weights).all())]
run("signal", 5, "strategy=ddp", signal=1)
run("broken", 20, "strategy=ddp", "trainer.val_check_interval=50", broken=1)
(folder / f"rank{RANK}.json").write_text(json.dumps(results))
