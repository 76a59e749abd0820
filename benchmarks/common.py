"""What benchmarks share: their command lines, the network of a preset, a process of its own for what is measured."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from melle.configs.build import build
from melle.console import run_command, set_up_console
from melle.devices import synchronise
from melle.errors import UserError
from melle.losses import MelleLoss
from melle.model import Melle
from melle.options import add_fields, from_fields, option

VOCABULARY = 4096  # the paper's BPE


@dataclass
class Preset:
    """A network of ``conf``, of which ``arguments`` are those of ``Melle``, and where it is measured.

    Raises UserError where there is none such, or it cannot be built.
    """

    model: str = option("melle", "preset, as in train.py; an experiment has its own losses")
    device: str = option("auto", "auto, cpu, cuda or mps")
    threads: int | None = option(None, "CPU threads; default: all")
    overrides: Sequence[str] = option((), "more of train.py's, such as model.layers=2", "OVERRIDES", nargs="*")

    def __post_init__(self) -> None:
        if self.device == "auto":
            self.device = self.best_device()
        self.arguments, self.loss = configure(self.model, self.overrides)

    @staticmethod
    def best_device() -> str:
        """That which training takes: Lightning's ``accelerator: auto``."""
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"

    @property
    def r(self) -> int:
        """Frames per step."""
        return self.arguments["reduction_factor"]

    @property
    def parameters(self) -> int:
        """How many the network has."""
        with torch.device("meta"):
            return sum(value.numel() for value in Melle(**self.arguments).parameters())

    def start(self) -> torch.device:
        """Set this process up for a measurement; returns the device."""
        if self.threads:
            torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        return torch.device(self.device)


def configure(model: str, overrides: Sequence[str]) -> tuple[dict[str, Any], MelleLoss]:
    """The network's arguments and the losses of an experiment or, where there is none of the name, of a preset."""
    folders = [folder / "conf" for folder in (Path.cwd(), Path(__file__).parents[1])]
    conf = next((folder for folder in folders if (folder / "train.yaml").is_file()), None)
    if conf is None:
        raise UserError("no conf/train.yaml here: call this from the folder of your clone")
    group = "experiment" if (conf / "experiment" / f"{model}.yaml").is_file() else "model"
    try:
        with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            cfg = compose("train", [f"{group}={model}", *overrides])
    except HydraException as error:
        raise UserError(str(error).strip().splitlines()[0]) from None
    arguments = OmegaConf.to_container(cfg.model, resolve=True)
    for name in ("normalise_mel", "gradient_checkpointing"):
        arguments.pop(name)
    if None in arguments.values():
        raise UserError(f"model={model} is the network of a checkpoint; choose another preset")
    arguments |= {"vocab_size": VOCABULARY, "pace": 15 / arguments["reduction_factor"]}
    try:
        with torch.device("meta"):
            Melle(**arguments)
    except ValueError as error:
        raise UserError(f"model: {error}") from None
    return arguments, build(cfg.loss)


def run_benchmark(kind: type, arguments: Sequence[str] | None = None) -> int:
    """Read the options of a benchmark, a dataclass in its module, and call its ``run``; returns the exit status."""
    set_up_console()  # before --help is printed
    module = sys.modules[kind.__module__]
    about, name = module.__doc__.split("\n")[0], module.__spec__.name
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    add_fields(parser, kind)
    options = parser.parse_args(arguments)
    return run_command(lambda: from_fields(kind, options).run())


def in_own_process(function: Callable, *arguments: Any) -> Any:
    """What the function returns or, where it fails, why, as text. Nothing that ran before has a part in it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(attempt, function, *arguments).result()[1]
        except BrokenProcessPool:
            return "the process was killed, most likely for want of memory"


def attempt(function: Callable, *arguments: Any) -> tuple[bool, Any]:
    """Whether the function returned, and what, or else why it failed, as text."""
    try:
        return True, function(*arguments)
    except Exception as error:  # not all kinds can be sent to another process
        return False, f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds until the device has done it.

    On one CPU thread they are the processor's, to which other work on the machine matters little.
    """
    one = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if one else time.perf_counter
    synchronise(device)
    started = clock()
    run()
    synchronise(device)
    return clock() - started


def progress(what: str, end: str = "\n") -> None:
    """On stderr, for whoever waits."""
    print(what, end=end, file=sys.stderr, flush=True)


def peak_memory(device: torch.device) -> int:
    """Bytes: on a GPU of tensors, elsewhere of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")  # what getrusage says on Linux counts the process that started this one
    if status.is_file():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
