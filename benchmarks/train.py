"""Training steps of one preset, eager and compiled, with and without checkpointing, beside a plain implementation.

Every variant runs in a process of its own, so that none pays for another's memory or profits from its compiled code.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from benchmarks.data import FRAME_RATE, librispeech_like
from benchmarks.plain import PlainMelle, random_batches
from melle.config import build
from melle.console import run_command, set_up_console
from melle.data.batch import Batch, Row, collate
from melle.data.batching import FrameBudgetSampler
from melle.errors import UserError
from melle.losses import MelleLoss
from melle.model import Melle
from melle.model.compiled import compile_blocks, compiled_graphs
from melle.model.flops import training_flops
from melle.peak import matmul_peak, synchronise

PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
VARIANTS = ("eager", "eager, checkpointing", "compiled", "compiled, checkpointing", "plain")
WARMUP = 2  # steps that are not timed; the sampler's first two hold the longest rows and the most positions
UTTERANCES = 20_000  # of which the batches are drawn
VOCABULARY = 4096  # the paper's BPE


@dataclass(frozen=True)
class Setup:
    """What all variants share. ``network`` holds the arguments of ``Melle``."""

    network: dict[str, Any]
    loss: MelleLoss
    device: str
    precision: str
    batch_frames: int
    steps: int
    threads: int | None


@dataclass(frozen=True)
class Figures:
    """Medians over the timed steps; ``warmup`` are seconds that the first steps took longer than those."""

    frames_per_second: float
    steps_per_second: float
    flops_per_second: float
    memory: int  # bytes at the peak: allocated on a GPU, else of the process
    padding: float
    warmup: float
    graphs: int


def bench_train(
    model: str = "melle",
    overrides: Sequence[str] = (),
    device: str = "auto",
    precision: str = "32",
    batch_frames: int | None = None,
    steps: int | None = None,
    threads: int | None = None,
    variants: tuple[str, ...] = VARIANTS,
) -> str:
    """The table of all variants. ``overrides`` are Hydra's, such as "model.layers=2"."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    setup = make_setup(model, overrides, device, precision, batch_frames, steps, threads)
    network = setup.network
    longest = int(max(sum(lengths) for lengths in zip(*utterances()))) + 1
    if setup.batch_frames < longest:
        raise UserError(f"--batch-frames {setup.batch_frames}: the longest row has {longest} positions; give as many")
    peak = in_own_process(_peak, setup)
    if isinstance(peak, str):
        raise UserError(f"--device {device} --precision {precision}: {peak}")
    results = {}
    for variant in variants:
        print(f"{variant} …", end=" ", file=sys.stderr, flush=True)
        result = results[variant] = in_own_process(measure, setup, variant)
        said = result if isinstance(result, str) else f"{result.frames_per_second:,.0f} frames/s"
        print(said, file=sys.stderr, flush=True)
    again = in_own_process(_peak, setup)  # other work on the machine slows one measurement more than two
    peak = peak if isinstance(again, str) else max(peak, again)
    with torch.device("meta"):
        size = sum(p.numel() for p in Melle(**network).parameters())
    return table(f"{model} ({size / 1e6:.1f} M parameters)", setup, peak, results)


def make_setup(
    model: str,
    overrides: Sequence[str],
    device: str,
    precision: str,
    batch_frames: int | None,
    steps: int | None,
    threads: int | None,
) -> Setup:
    """The setup of a preset; what is None is as suits the kind of device."""
    small = device == "cpu"
    sizes = batch_frames or (3000 if small else 50000), steps or (3 if small else 20)
    return Setup(*configure(model, overrides), device, precision, *sizes, threads)


def configure(model: str, overrides: Sequence[str]) -> tuple[dict[str, Any], MelleLoss]:
    """The network's arguments and the losses of a preset; UserError where it does not exist or cannot be built."""
    folders = [folder / "conf" for folder in (Path.cwd(), Path(__file__).parents[1])]
    conf = next((folder for folder in folders if (folder / "train.yaml").is_file()), None)
    if conf is None:
        raise UserError("no conf/train.yaml here: call this from the folder of your clone")
    try:
        with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            group = "experiment" if (conf / "experiment" / f"{model}.yaml").is_file() else "model"  # with its losses
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


def utterances() -> tuple[np.ndarray, np.ndarray]:
    """Frames and tokens of utterances as long as LibriSpeech's, of four characters a token."""
    seconds, characters = librispeech_like(UTTERANCES)
    return np.round(seconds * FRAME_RATE).astype(np.int32) + 1, characters // 4 + 1


def make_batches(setup: Setup, plain: bool, equal: bool = False) -> list[Batch]:
    """Random tokens and mels, in batches of similar lengths or drawn at random; those to warm up first.

    ``equal``: all utterances are of 10 seconds.
    """
    frames, tokens = utterances()
    if equal:
        frames, tokens = np.full_like(frames, round(10 * FRAME_RATE)), np.full_like(tokens, 37)
    plans: Iterator[list[int]]
    if plain:
        plans = random_batches(frames, tokens, setup.batch_frames)
    else:
        nobody = np.full(len(frames), -1, np.int32)
        sampler = FrameBudgetSampler(nobody, frames, tokens, setup.batch_frames, 1, 10**6, 0)
        plans = ([row[0] for row in rows] for rows in sampler)
    r, bands = setup.network["reduction_factor"], setup.network.get("n_mels", 80)
    return [
        collate(
            [
                Row(
                    [torch.randint(2, VOCABULARY, (int(tokens[i]),)).tolist()],
                    [torch.randn(int(frames[i]), bands)],
                    ["u"],
                )
                for i in plan
            ],
            r,
            bands,
        ).to(torch.device(setup.device))
        for plan in islice(plans, WARMUP + setup.steps)
    ]


def measure(setup: Setup, variant: str) -> Figures:
    """Train for a few steps in this process, which has done nothing before."""
    if setup.threads:
        torch.set_num_threads(setup.threads)
    torch.manual_seed(0)
    device = torch.device(setup.device)
    batches = make_batches(setup, variant == "plain")
    network: Melle | PlainMelle = Melle(**setup.network, gradient_checkpointing="checkpointing" in variant)
    if variant == "plain":
        network = PlainMelle(network)
    elif "compiled" in variant:
        compile_blocks(network)
    step = make_step(network.to(device), setup, device)
    with torch.device("meta"):
        sizes = Melle(**setup.network)
    times, rates, work = [], [], []
    for batch in batches:
        synchronise(device)
        begun = time.perf_counter()
        step(batch)
        synchronise(device)
        times.append(time.perf_counter() - begun)
        own = -(-batch.mel_lengths // setup.network["reduction_factor"])
        rates.append(float(batch.mel_lengths.sum()) / times[-1])
        work.append(float(training_flops(sizes, batch.text_lengths, own)) / times[-1])
    timed = slice(WARMUP, None)
    return Figures(
        frames_per_second=median(rates[timed]),
        steps_per_second=1 / median(times[timed]),
        flops_per_second=median(work[timed]),
        memory=peak_memory(device),
        padding=padding(batches[timed], setup.network["reduction_factor"], variant == "plain"),
        warmup=sum(times[:WARMUP]) - WARMUP * median(times[timed]),
        graphs=compiled_graphs()[0],
    )


def make_step(network: torch.nn.Module, setup: Setup, device: torch.device) -> Callable[[Batch], None]:
    """One optimiser step on a batch: forward, losses, backward, clipping, AdamW."""
    dtype, r = PRECISIONS[setup.precision], setup.network["reduction_factor"]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    autocast: Callable = contextlib.nullcontext
    if dtype != torch.float32:
        autocast = lambda: torch.autocast(device.type, dtype)  # noqa: E731

    def step(batch: Batch) -> None:
        with autocast():
            output = network(**batch.inputs(), **batch.sizes())
            terms = setup.loss(output, batch.mel_lengths, batch.text_segments, batch.segment_steps, r, 0)
            loss = terms.total / terms.frames
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def padding(batches: list[Batch], r: int, plain: bool) -> float:
    """Share of the positions that hold nothing, of rows joined without a gap or, if ``plain``, padded apart."""
    used = padded = 0
    for batch in batches:
        steps = -(-batch.mel_lengths // r)
        rows = batch.text_lengths + steps
        longest = batch.text_lengths.max() + steps.max() if plain else rows.max()
        used, padded = used + int(rows.sum()), padded + int(longest) * len(rows)
    return 1 - used / padded


def peak_memory(device: torch.device) -> int:
    """Bytes: on a GPU of tensors, elsewhere of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")  # what getrusage says on Linux counts the process that started this one
    if status.is_file():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_own_process(function: Callable, *arguments: Any) -> Any:
    """What the function returns or, where it fails, why, as text."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_try, function, *arguments).result()
        except BrokenProcessPool:
            return "the process was killed, most likely for want of memory"


def _try(function: Callable, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # not all kinds can be sent to another process
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else 'no reason given'}"


def _peak(setup: Setup) -> float:
    if setup.threads:
        torch.set_num_threads(setup.threads)
    return matmul_peak(torch.device(setup.device), PRECISIONS[setup.precision])


def table(name: str, setup: Setup, peak: float, results: dict[str, Figures | str]) -> str:
    """A line for every variant, beside "plain"."""
    plain = results.get("plain")
    header = (
        f"{'frames/s':>10}{'× plain':>9}{'steps/s':>9}{'MFU':>7}{'GiB':>8}{'padding':>9}{'compiling':>11}{'graphs':>8}"
    )
    lines = [
        f"Training {name} on {setup.device}, precision {setup.precision}, batch_frames={setup.batch_frames},",
        f"{setup.steps} steps timed; a matrix product reaches {peak / 1e12:,.3f} TFLOP/s. Medians; true frames only.",
        f"  {'':<25}{header}",
    ]
    for variant, result in results.items():
        if isinstance(result, str):
            lines.append(f"  {variant:<25}{result}")
            continue
        ratio = f"{result.frames_per_second / plain.frames_per_second:.2f}" if isinstance(plain, Figures) else ""
        compiling = f"{result.warmup:.0f} s" if "compiled" in variant else ""
        lines.append(
            f"  {variant:<25}{result.frames_per_second:>10,.0f}{ratio:>9}{result.steps_per_second:>9.2f}"
            f"{result.flops_per_second / peak:>7.1%}{result.memory / 2**30:>8.2f}{result.padding:>9.1%}"
            f"{compiling:>11}{result.graphs:>8}"
        )
    lines.append(
        "MFU: model FLOPs utilisation, of that product's speed. GiB: "
        + ("memory of tensors at the peak." if setup.device == "cuda" else "memory of the process at its peak.")
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m benchmarks.train``: print what a training step does with time and memory, beside a plain one."""
    set_up_console()  # before --help is printed
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="melle", help="preset, as in train.py")
    parser.add_argument(
        "--against-reference",
        action="store_true",
        help="experiment=reference beside the reference's manner",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--precision", choices=PRECISIONS, default="32", help="of the arithmetic")
    parser.add_argument("--batch-frames", type=int, help="positions per batch, padding counted; CPU: 3000, GPU: 50000")
    parser.add_argument("--steps", type=int, help="to time, after two to warm up; CPU: 3, GPU: 20")
    parser.add_argument("--threads", type=int, help="CPU threads; default: all")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="which to time")
    parser.add_argument("overrides", nargs="*", help="more of train.py's, such as model.layers=2")
    options = vars(parser.parse_args(arguments))
    if options.pop("against_reference"):
        options.pop("model")
        options.pop("variants")
        from benchmarks.against_reference import bench_against_reference  # which takes its steps from here

        return run_command(lambda: print(bench_against_reference(**options)))
    return run_command(lambda: print(bench_train(**options)))


if __name__ == "__main__":
    raise SystemExit(main())
