"""Training steps of one preset, eager and compiled, beside a plain implementation; or beside the reference's manner.

Every variant runs in a process of its own, so that none pays for another's memory or profits from its compiled code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch

from benchmarks.common import in_own_process, peak_memory, progress, run_benchmark, timed
from benchmarks.plain import PlainMelle
from benchmarks.reference import bench_against_reference
from benchmarks.steps import PRECISIONS, WARMUP, Steps, make_batches, make_step, padding
from melle.errors import UserError
from melle.model import Melle
from melle.model.compiled import compile_blocks, compiled_graphs
from melle.model.flops import training_flops
from melle.options import option
from melle.training.peak_flops import matmul_peak

VARIANTS = ("eager", "eager, checkpointing", "compiled", "compiled, checkpointing", "plain")


@dataclass
class Train(Steps):
    variants: Sequence[str] = option(VARIANTS, "which to time; default: all", choices=VARIANTS)
    against_reference: bool = option(False, "experiment=reference beside the reference's manner")

    def __post_init__(self) -> None:
        if self.against_reference:
            self.model = "reference"
        super().__post_init__()

    def run(self) -> None:
        print(bench_against_reference(self) if self.against_reference else bench_train(self, self.variants))


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


def bench_train(setup: Steps, variants: Sequence[str] = VARIANTS) -> str:
    """The table of all variants."""
    peak = in_own_process(find_peak, setup)
    if isinstance(peak, str):
        raise UserError(f"--device {setup.device} --precision {setup.precision}: {peak}")
    results = {}
    for variant in variants:
        progress(f"{variant} …", end=" ")
        result = results[variant] = in_own_process(measure, setup, variant)
        progress(result if isinstance(result, str) else f"{result.frames_per_second:,.0f} frames/s")
    again = in_own_process(find_peak, setup)  # other work on the machine slows one measurement more than two
    return table(setup, peak if isinstance(again, str) else max(peak, again), results)


def measure(setup: Steps, variant: str) -> Figures:
    """Train for a few steps in this process, which has done nothing before."""
    device = setup.start()
    plain = variant == "plain"
    batches = make_batches(setup, mixed=plain)
    network: Melle | PlainMelle = Melle(**setup.arguments, gradient_checkpointing="checkpointing" in variant)
    if plain:
        network = PlainMelle(network)
    elif "compiled" in variant:
        compile_blocks(network)
    step = make_step(network.to(device), setup)
    with torch.device("meta"):
        sizes = Melle(**setup.arguments)
    times, rates, work = [], [], []
    for batch in batches:
        times.append(timed(partial(step, batch), device))
        own = -(-batch.mel_lengths // setup.r)
        rates.append(float(batch.mel_lengths.sum()) / times[-1])
        work.append(float(training_flops(sizes, batch.text_lengths, own)) / times[-1])
    after = slice(WARMUP, None)
    return Figures(
        frames_per_second=median(rates[after]),
        steps_per_second=1 / median(times[after]),
        flops_per_second=median(work[after]),
        memory=peak_memory(device),
        padding=padding(batches[after], setup.r, apart=plain),
        warmup=sum(times[:WARMUP]) - WARMUP * median(times[after]),
        graphs=compiled_graphs()[0],
    )


def find_peak(setup: Steps) -> float:
    """FLOP/s of a matrix product in this process."""
    return matmul_peak(setup.start(), PRECISIONS[setup.precision])


def table(setup: Steps, peak: float, results: dict[str, Figures | str]) -> str:
    """A line for every variant, beside "plain"."""
    plain = results.get("plain")
    memory = "memory of tensors at the peak" if setup.device == "cuda" else "memory of the process at its peak"
    lines = [
        f"Training {setup.model} ({setup.parameters / 1e6:.1f} M parameters) on {setup.device}, precision "
        f"{setup.precision}, batch_frames={setup.batch_frames},",
        f"{setup.steps} steps timed; a matrix product reaches {peak / 1e12:,.3f} TFLOP/s. Medians; true frames only.",
        f"  {'':<25}{'frames/s':>10}{'× plain':>9}{'steps/s':>9}{'MFU':>7}{'GiB':>8}{'padding':>9}"
        f"{'compiling':>11}{'graphs':>8}",
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
    return "\n".join([*lines, f"MFU: model FLOPs utilisation, of that product's speed. GiB: {memory}."])


main = partial(run_benchmark, Train)

if __name__ == "__main__":
    raise SystemExit(main())
