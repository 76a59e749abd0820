"""``python -m melle bench``: what is claimed of speed and memory, measured."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    bench = commands.add_parser("bench", help="measure speed and memory").add_subparsers(required=True, metavar="what")
    data = bench.add_parser("data", help="batches, loaders and the memory of manifests")
    data.add_argument("--utterances", type=int, default=281_241, help="of the epoch to batch (LibriSpeech: 281241)")
    data.add_argument("--batch-frames", type=int, default=50000, help="positions per batch, padding counted")
    data.add_argument("--recordings", type=int, default=300, help="made for the loaders, 12 s each on average; 0: none")
    data.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="loader processes to compare")
    data.add_argument("--seconds", type=float, default=15.0, help="to measure each loader for")
    data.add_argument("--lines", type=int, default=0, help="of a manifest whose memory to measure, such as 10000000")
    data.add_argument("--batches", type=int, default=300, help="to draw from that manifest")
    data.add_argument("--folder", type=Path, help="where to make the files (deleted at the end); default: a new one")
    data.set_defaults(run=bench_data)
    train = bench.add_parser("train", help="training steps of a preset, beside a plain implementation of it")
    train.add_argument("--model", default="melle", help="preset, as in train.py")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    train.add_argument("--precision", choices=("32", "bf16", "16"), default="32", help="of the arithmetic")
    train.add_argument("--batch-frames", type=int, help="positions per batch, padding counted; CPU: 3000, GPU: 50000")
    train.add_argument("--steps", type=int, help="to time, after two to warm up; CPU: 3, GPU: 20")
    train.add_argument("--threads", type=int, help="CPU threads; default: all")
    train.add_argument("overrides", nargs="*", help="more of train.py's, such as model.layers=2")
    train.set_defaults(run=bench_train)
    speak = bench.add_parser("synthesis", help="decoding of a preset, beside a plain decoder and the memory's speed")
    speak.add_argument("--model", default="melle", help="preset, as in train.py")
    speak.add_argument("--device", default="auto", help="auto, cpu, cuda …")
    speak.add_argument("--weights", default="float32", help="float32, bfloat16, float16, or int8 (CPU)")
    speak.add_argument("--compile", action="store_true", help="with torch.compile for the network's blocks")
    speak.add_argument("--seconds", type=float, help="of an utterance; CPU: 2, GPU: 10")
    speak.add_argument("--reduction-factors", type=int, nargs="+", default=[1, 2, 4], help="r to measure")
    speak.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64], help="utterances decoded at a time")
    speak.add_argument("--threads", type=int, help="CPU threads; default: all")
    speak.add_argument("overrides", nargs="*", help="more of train.py's, such as model.layers=2")
    speak.set_defaults(run=bench_synthesis)


def bench_data(options: argparse.Namespace) -> None:
    """Print what the data path does, beside a plain loader."""
    import tempfile

    from melle.benchmarks import data

    print(data.bench_batches(options.utterances, options.batch_frames), flush=True)
    with tempfile.TemporaryDirectory(prefix="melle-bench-", dir=options.folder) as name:
        folder = Path(name)
        if options.recordings:
            text = data.bench_loaders(
                options.recordings, options.workers, options.seconds, options.batch_frames, folder
            )
            print(text, flush=True)
        if options.lines:
            print(data.bench_memory(options.lines, max(options.workers), options.batches, folder))


def bench_train(options: argparse.Namespace) -> None:
    """Print what a training step does with time and memory, beside a plain implementation."""
    from melle.benchmarks import train

    sizes = options.batch_frames, options.steps, options.threads
    print(train.bench_train(options.model, tuple(options.overrides), options.device, options.precision, *sizes))


def bench_synthesis(options: argparse.Namespace) -> None:
    """Print what decoding does with time and memory, beside a plain decoder."""
    from melle.benchmarks import synthesis

    sizes = tuple(options.reduction_factors), tuple(options.batches), options.threads, options.compile
    print(
        synthesis.bench_synthesis(
            options.model, tuple(options.overrides), options.device, options.weights, options.seconds, *sizes
        )
    )
