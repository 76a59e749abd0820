"""Decoding one row by ONNX graphs beside the network itself: milliseconds a step, by turns, on CPU threads."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.common import run_benchmark, timed
from melle.model.noise import StepNoise
from melle.onnx.export import export_onnx
from melle.options import option
from melle.pretrained import fetched, load_pretrained


@dataclass
class Onnx:
    model: str = option("data/pretrained", "an exported folder")
    steps: int = option(100, "to decode in a turn")
    turns: int = option(9, "of each side")
    threads: int = option(1, "CPU threads")

    def run(self) -> None:
        print(bench_onnx(self.model, self.steps, self.turns, self.threads))


def bench_onnx(model: str, steps: int, turns: int, threads: int) -> str:
    """The table for an exported model: ``turns`` times so many ``steps`` after a prompt of 3 seconds."""
    import onnxruntime

    torch.set_num_threads(threads)
    network = load_pretrained(model).network.float().eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(fetched(model), folder)
        graph = {
            name: onnxruntime.InferenceSession(Path(folder) / f"{name}.onnx", options) for name in ("prefill", "step")
        }
    r, text, owners = network.reduction_factor, torch.full((1, 80), 2), torch.tensor([[0] * 40 + [1] * 40])
    prompt_steps = 188 // r
    prompt = torch.randn(1, prompt_steps * r, network.n_mels) - 2
    keep, noise = torch.ones(1, prompt_steps, network.prenet.units), torch.randn(1, 1, network.group)
    one = torch.ones(1, 1, network.prenet.units)
    names = [each.name for each in graph["step"].get_inputs()[5:]]

    @torch.inference_mode()
    def ours() -> None:
        caches = network.make_caches(1, text.shape[1] + 1 + prompt_steps + steps)
        lengths, frames = torch.tensor([text.shape[1]]), torch.tensor([prompt.shape[1]])
        state, made, _ = network.prefill(caches, text, lengths, owners, prompt, frames, 1.0, StepNoise(keep, noise))
        for _ in range(steps):
            made, _ = network.step(caches, state, made, 1.0, StepNoise(one, noise))

    def graphs() -> None:
        feed = {"text": text, "segments": owners, "prompt": prompt, "keep": keep, "noise": noise}
        made, _, *past = graph["prefill"].run(None, {name: value.numpy() for name, value in feed.items()})
        fixed = {"text_length": np.array([text.shape[1]]), "keep": one.numpy(), "noise": noise.numpy()}
        for number in range(1, steps + 1):
            state = {"frames": made, "number": np.array([prompt_steps + number]), **fixed}
            made, _, *past = graph["step"].run(None, state | dict(zip(names, past)))

    seconds: dict[str, list[float]] = {"the network": [], "ONNX graphs": []}
    for turn in range(turns + 1):
        for times, run in zip(seconds.values(), (ours, graphs)):
            took = timed(run, torch.device("cpu"))
            if turn:  # the first one warms up
                times.append(took)
    plain, other = (median(times) for times in seconds.values())
    lines = [f"{steps} steps of {r} frames after text and prompt, {model}, {threads} threads, medians of {turns}:"]
    lines += [f"  {name:<14}{median(times) / steps * 1e3:>8.2f} ms a step" for name, times in seconds.items()]
    return "\n".join([*lines, f"  ONNX graphs are {plain / other:.2f} times as fast"])


main = partial(run_benchmark, Onnx)

if __name__ == "__main__":
    raise SystemExit(main())
