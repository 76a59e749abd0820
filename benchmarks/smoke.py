"""Every preset of ``conf/model``: one training step and a few steps of decoding on one device, a line for each.

Meant for a device that nothing has run on yet: what fails says why, and the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from benchmarks.common import Preset, attempt, run_benchmark, timed
from benchmarks.steps import Steps, make_batches, make_step
from melle.errors import UserError
from melle.model import Melle
from melle.model.compiled import compile_blocks, compiled_graphs
from melle.options import option

DECODED = 4  # steps after the first
SMALL = ("model.layers=3", "model.width=64", "model.heads=4", "model.ff_width=128")  # --scale tiny


@dataclass
class Smoke:
    device: str = option("auto", "auto, cpu, cuda or mps")
    precision: Literal["32", "bf16", "16"] = option("bf16", "of the arithmetic")
    scale: Literal["full", "tiny"] = option("full", "tiny: narrow blocks, to try this")
    compiled: bool = option(False, "compile the blocks")
    batch_frames: int = option(4000, "positions of the batch, padding counted")

    def run(self) -> None:
        """Try all. Raises UserError, after the last preset, where one failed."""
        device = Preset.best_device() if self.device == "auto" else self.device
        overrides, failed = SMALL if self.scale == "tiny" else (), []
        for name in presets():
            # Whatever a device or a driver raises: the other presets are still of interest.
            ok, said = attempt(try_preset, name, device, overrides, self.precision, self.batch_frames, self.compiled)
            failed += [] if ok else [name]
            print(f"{name:<20} {said if ok else f'FAILED: {said}'}", flush=True)
        if failed:
            raise UserError(f"{len(failed)} presets failed on {device}: {', '.join(failed)}")
        print(f"{len(presets())} presets train and decode on {device} in precision {self.precision}.")


def presets() -> list[str]:
    """Names of the presets that build a network of their own."""
    folder = Path(__file__).parents[1] / "conf" / "model"
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "from_checkpoint")


def try_preset(
    name: str, device: str, overrides: Sequence[str], precision: str, batch_frames: int, compiled: bool
) -> str:
    """Train one step and decode; returns the line to print. Raises whatever the device does."""
    setup = Steps(name, device, overrides=overrides, precision=precision, batch_frames=batch_frames, steps=1)
    where = setup.start()
    network = Melle(**setup.arguments).to(where)
    if compiled:
        compile_blocks(network)
    batch = make_batches(setup)[-1]
    trained = timed(partial(make_step(network, setup), batch), where)
    if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
        raise FloatingPointError("weights are not finite after one step")
    decoded = timed(partial(check_decoding, network.eval(), where), where)
    graphs = f", {compiled_graphs()[0]} graphs" if compiled else ""
    return f"ok, training step {trained:.2f} s, decoding {decoded:.2f} s{graphs}"


@torch.inference_mode()
def check_decoding(network: Melle, device: torch.device) -> None:
    """A prompt and a few steps after it; AssertionError unless all of it is finite."""
    text = torch.tensor([[5, 6, 7, 8, 1]], device=device)
    lengths = torch.tensor([5], device=device)
    segments = torch.tensor([[0, 0, 1, 1, 1]], device=device)
    prompt = torch.randn(1, 4 * network.reduction_factor, network.n_mels, device=device) - 2
    caches = network.make_caches(1, text.shape[1] + 1 + 4 + DECODED)
    frames_given = torch.tensor([prompt.shape[1]], device=device)
    state, frames, stop = network.prefill(caches, text, lengths, segments, prompt, frames_given)
    for _ in range(DECODED):
        frames, stop = network.step(caches, state, frames)
    assert torch.isfinite(frames).all() and math.isfinite(stop.item()), "decoding gives numbers that are not finite"


main = partial(run_benchmark, Smoke)

if __name__ == "__main__":
    raise SystemExit(main())
