"""Every preset of ``conf/model``: one training step and a few steps of decoding on one device, a line for each.

Meant for a device that nothing has run on yet: what fails says why, and the others go on.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.train import PRECISIONS, Setup, configure, make_batches, make_step
from melle.console import run_command, set_up_console
from melle.devices import best_device
from melle.errors import UserError
from melle.model import Melle
from melle.model.compiled import compile_blocks, compiled_graphs
from melle.peak import synchronise

DECODED = 4  # steps after the first
SMALL = ("model.layers=3", "model.width=64", "model.heads=4", "model.ff_width=128")  # --scale tiny


def presets() -> list[str]:
    """Names of the presets that build a network of their own."""
    folder = Path(__file__).parents[1] / "conf" / "model"
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "from_checkpoint")


def try_preset(name: str, overrides: Sequence[str], setup: dict[str, Any], compiled: bool) -> str:
    """Train one step and decode; returns the line to print. Raises whatever the device does."""
    network_arguments, loss = configure(name, overrides)
    settings = Setup(network=network_arguments, loss=loss, steps=1, threads=None, **setup)
    device = torch.device(settings.device)
    torch.manual_seed(0)
    network = Melle(**network_arguments).to(device)
    if compiled:
        compile_blocks(network)
    batch = make_batches(settings, plain=False)[-1]
    begun = time.perf_counter()
    make_step(network, settings, device)(batch)
    synchronise(device)
    trained = time.perf_counter() - begun
    if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
        raise FloatingPointError("weights are not finite after one step")
    begun = time.perf_counter()
    check_decoding(network.eval(), device)
    return f"ok, training step {trained:.2f} s, decoding {time.perf_counter() - begun:.2f} s" + (
        f", {compiled_graphs()[0]} graphs" if compiled else ""
    )


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


def smoke(device: str, precision: str, scale: str, compiled: bool, batch_frames: int) -> str:
    """The table. Raises UserError, after the last preset, where one failed."""
    if device == "auto":
        device = best_device()
    setup = {"device": device, "precision": precision, "batch_frames": batch_frames}
    overrides = SMALL if scale == "tiny" else ()
    failed = []
    for name in presets():
        try:
            result = try_preset(name, overrides, setup, compiled)
        except Exception as error:  # whatever a device or a driver raises: the other presets are still of interest
            failed.append(name)
            result = f"FAILED: {type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"
        print(f"{name:<20} {result}", flush=True)
    if failed:
        raise UserError(f"{len(failed)} presets failed on {device}: {', '.join(failed)}")
    return f"{len(presets())} presets train and decode on {device} in precision {precision}."


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m benchmarks.smoke``: exit status 1 where a preset failed."""
    set_up_console()  # before --help is printed
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smoke", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="of the arithmetic")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full", help="tiny: narrow blocks, to try this")
    parser.add_argument("--compiled", action="store_true", help="compile the blocks")
    parser.add_argument("--batch-frames", type=int, default=4000, help="positions of the batch, padding counted")
    options = vars(parser.parse_args(arguments))
    return run_command(lambda: print(smoke(**options)))


if __name__ == "__main__":
    raise SystemExit(main())
