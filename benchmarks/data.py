"""The data path: padding, building of an epoch's batches, loaders side by side, and the memory of huge manifests."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.common import run_benchmark
from melle.audio import MelSpec
from melle.data.batch import Batch, collate
from melle.data.batching import EndlessBatches, FrameBudgetSampler
from melle.data.build_features import build_features
from melle.data.datamodule import MelleDataModule
from melle.data.dataset import UtteranceDataset
from melle.data.features import FeatureStore
from melle.data.index import open_index, open_tokenizer
from melle.options import option
from melle.text.symbols import SymbolTokenizer

LIBRISPEECH = 281_241  # utterances of its 960 hours of training data
SPEAKERS = 2338
FRAME_RATE = MelSpec().frame_rate


def fit(_texts: Iterable[str]) -> SymbolTokenizer:
    """A tokenizer of all the characters that the made-up texts have."""
    return SymbolTokenizer("characters", "abcdefghijklmnopqrstuvwxyz0123456789 ")


def librispeech_like(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and numbers of characters of utterances distributed much as LibriSpeech's: most of 12 to 16 s, cut at 17.

    Mean 12.3 s, as in its 960 hours; 15 characters a second, give or take.
    """
    rng = np.random.default_rng(seed)
    seconds = np.where(rng.random(count) < 0.7, rng.normal(14.4, 1.3, count), rng.uniform(1.5, 14.0, count))
    seconds = np.clip(seconds, 1.4, 17.0)
    return seconds, np.maximum(1, seconds * rng.normal(14.7, 2.0, count)).astype(np.int32)


def bench_batches(count: int = LIBRISPEECH, batch_frames: int = 50000) -> str:
    """Padding and time of an epoch's batches, beside batches of a fixed number of rows drawn at random."""
    seconds, characters = librispeech_like(count)
    frames, tokens = np.round(seconds * FRAME_RATE).astype(np.int32) + 1, characters // 4 + 1
    positions = frames + tokens + 1
    speakers = np.random.default_rng(1).integers(0, SPEAKERS, count).astype(np.int32)
    lines = [f"Batches of {count:,} utterances, {seconds.sum() / 3600:,.0f} h, batch_frames={batch_frames}:"]
    for join in (1, 3):
        sampler = FrameBudgetSampler(speakers, frames, tokens, batch_frames, join, round(30 * FRAME_RATE), 0)
        started = time.perf_counter()
        plan = sampler.plan(0)
        took = time.perf_counter() - started
        used = padded = 0
        for number in range(0, len(plan), max(1, len(plan) // 1000)):
            rows = [sum(int(frames[i] + tokens[i]) for i in row) + 1 for row in plan.batch(number)]
            used, padded = used + sum(rows), padded + max(rows) * len(rows)
        lines.append(
            f"  frame budget, max_join={join}: {len(plan):,} batches in {took:.2f} s, {1 - used / padded:.2%} padding"
        )
    rows = max(1, batch_frames // int(positions.max()))
    order = np.random.default_rng(2).permutation(count)[: count // rows * rows].reshape(-1, rows)
    padded = positions[order].max(axis=1).sum() * rows
    lines.append(
        f"  {rows} rows drawn at random: {len(order):,} batches, {1 - positions[order].sum() / padded:.2%} padding"
    )
    return "\n".join(lines)


def make_recordings(folder: Path, count: int, seconds: np.ndarray, characters: np.ndarray) -> Path:
    """FLAC files of coloured noise, and their manifest: what they hold does not matter, how long they are does."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.jsonl").open("w") as file:
        for number in tqdm(range(count), desc="recordings", leave=False):
            samples = rng.standard_normal(int(seconds[number] * 16000)).cumsum()
            samples = 0.3 * samples / np.abs(samples).max() + 0.02 * rng.standard_normal(len(samples))
            soundfile.write(folder / f"{number}.flac", samples, 16000)
            text = "".join(rng.choice(letters, characters[number])).strip() or "a"
            duration = len(samples) / 16000
            line = {"transcription": text, "audio_path": f"{number}.flac", "duration": duration, "speaker": "s"}
            file.write(json.dumps(line) + "\n")
    return folder / "train.jsonl"


def bench_loaders(recordings: int, workers: Sequence[int], seconds: float, batch_frames: int, folder: Path) -> str:
    """Items and frames a second of: a plain loader of fixed batches, ours on the fly, and ours from stored features."""
    manifest = make_recordings(folder, recordings, *librispeech_like(recordings))
    build_features([manifest], folder / "features", workers=max(workers))
    tokenizer = open_tokenizer(manifest, fit, folder / "index")
    index = open_index(manifest, tokenizer, FRAME_RATE, folder / "index")
    spec = MelSpec()
    stored = FeatureStore(folder / "features", spec).get
    fly, cached = (UtteranceDataset(index, tokenizer, spec, features=store) for store in (None, stored))
    columns = [index.column(name) for name in ("speaker", "frames", "tokens")]
    endless = EndlessBatches(FrameBudgetSampler(*columns, batch_frames, 1, 10**6, 0))
    rows = max(1, batch_frames // int(max(index.column("frames"))))
    fixed = _Fixed(len(index), rows)
    lines = [f"Loaders over {recordings} recordings of {index.column('frames').mean() / FRAME_RATE:.1f} s on average,"]
    lines[0] += f" {seconds:.0f} s each ({os.cpu_count()} cores):"
    lines.append(f"  {'loader':<28}{'workers':>8}{'items/s':>10}{'frames/s':>12}")
    for name, data, batches in (
        ("fixed batches, on the fly", fly, fixed),
        ("frame budget, on the fly", fly, endless),
        ("frame budget, features", cached, endless),
    ):
        for count in workers:
            loader = DataLoader(
                data, batch_sampler=batches, collate_fn=partial(collate, reduction_factor=1), num_workers=count
            )
            items, frames = _measure(loader, seconds)
            lines.append(f"  {name:<28}{count:>8}{items:>10,.0f}{frames:>12,.0f}")
    return "\n".join(lines)


class _Fixed:
    """What a plain loader does: so many rows a batch, drawn at random, without end."""

    def __init__(self, count: int, rows: int):
        self.count, self.rows = count, min(rows, count)  # more than all would never fill a batch

    def __iter__(self):
        rng = np.random.default_rng(0)
        while True:
            order = rng.permutation(self.count)
            for start in range(0, self.count - self.rows + 1, self.rows):
                yield [(int(i),) for i in order[start : start + self.rows]]


def _measure(loader: Iterable[Batch], seconds: float) -> tuple[float, float]:
    """Items and true frames a second, padding not counted, after the first two batches."""
    items = frames = 0
    started = None
    for number, batch in enumerate(loader):
        if number < 2:
            started = time.perf_counter()
            continue
        items += len(batch.ids)
        frames += int(batch.mel_lengths.sum())
        if time.perf_counter() - started > seconds:
            break
    took = time.perf_counter() - started
    return items / took, frames / took


def bench_memory(lines: int, workers: int, batches: int, folder: Path) -> str:
    """Memory of a rank and its loader processes together over part of an epoch of a manifest of so many lines."""
    arguments = _huge_manifest(lines, folder), workers, batches
    process, peak = multiprocessing.get_context("spawn").Process(target=_run_rank, args=arguments), 0
    process.start()
    while process.is_alive():
        peak = max(peak, _memory(process.pid))
        time.sleep(0.2)
    if process.exitcode:
        raise RuntimeError(f"the measured process ended with status {process.exitcode}")
    return f"Memory with a manifest of {lines:,} lines, 1 rank and {workers} workers: peak {peak / 2**30:.2f} GiB"


def _huge_manifest(lines: int, folder: Path) -> Path:
    count = 64
    make_recordings(folder / "huge", count, np.linspace(1.4, 3.0, count), np.full(count, 30))
    text = "and so it was that the long day came to an end with nothing said"
    with (folder / "huge/huge.jsonl").open("w") as file:
        for number in tqdm(range(lines), desc="lines", leave=False):
            clip = number % count
            duration = 1.4 + 1.6 * clip / (count - 1)
            file.write(
                f'{{"transcription": "{text} {number:x}", "audio_path": "{clip}.flac", "duration": {duration:.4f}, '
                f'"speaker": "s{number // 120}", "id": "{number:08d}"}}\n'
            )
    return folder / "huge/huge.jsonl"


def _run_rank(manifest: Path, workers: int, batches: int) -> None:
    torch.set_num_threads(1)
    data = MelleDataModule(
        manifest, manifest.with_name("train.jsonl"), 1, fit, index=manifest.parent / "index", workers=workers
    )
    data.setup()
    for _ in islice(data.train_dataloader(), batches):
        pass


def _memory(process: int) -> int:
    """Bytes of a process and its children, each shared page counted once among those that share it (Linux)."""
    total = 0
    for pid in [process, *_children(process)]:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += 1024 * int(re.search(r"^Pss: +(\d+)", rollup, re.MULTILINE)[1])
        except OSError:  # it has ended
            continue
    return total


def _children(process: int) -> list[int]:
    try:
        own = [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return own + [grandchild for child in own for grandchild in _children(child)]


@dataclass
class Data:
    utterances: int = option(LIBRISPEECH, "of the epoch to batch")
    batch_frames: int = option(50000, "positions per batch, padding counted")
    recordings: int = option(300, "made for the loaders, 12 s each; 0: none")
    workers: Sequence[int] = option((0, 1, 2), "loader processes to compare")
    seconds: float = option(15.0, "to measure each loader for")
    lines: int = option(0, "of a manifest whose memory to measure, such as 10000000")
    batches: int = option(300, "to draw from that manifest")
    folder: Path | None = option(None, "where to make the files (deleted at the end); default: a new one")

    def run(self) -> None:
        """Print each figure as soon as it is known."""
        print(bench_batches(self.utterances, self.batch_frames), flush=True)
        with tempfile.TemporaryDirectory(prefix="melle-bench-", dir=self.folder) as name:
            place = Path(name)
            if self.recordings:
                loaders = bench_loaders(self.recordings, self.workers, self.seconds, self.batch_frames, place)
                print(loaders, flush=True)
            if self.lines:
                print(bench_memory(self.lines, max(self.workers), self.batches, place))


main = partial(run_benchmark, Data)

if __name__ == "__main__":
    raise SystemExit(main())
