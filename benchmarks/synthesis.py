"""Decoding of one preset at several reduction factors and batch sizes, beside the memory's speed and a plain decoder.

Weights are random, as speed does not depend on them. Every measurement runs in a process of its own.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from benchmarks.common import VOCABULARY, Preset, in_own_process, peak_memory, progress, run_benchmark, timed
from benchmarks.plain_decoding import PlainDecoder, caches_and_state
from melle.audio import MelSpec
from melle.checkpoint import LoadedModel, ModelDescription
from melle.devices import best_device, synchronise
from melle.errors import UserError
from melle.model import Melle
from melle.model.compiled import compile_blocks
from melle.model.noise import RowNoise
from melle.options import option
from melle.synthesis.cuda_graph import StepRunner
from melle.synthesis.decoding import decode
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.quantize import check_weights, quantize
from melle.synthesis.request import Request
from melle.synthesis.synthesizer import Synthesizer
from melle.text.symbols import SymbolTokenizer
from melle.vocoders import Vocoder, make_vocoder
from melle.vocoders.griffin_lim import GriffinLim
from melle.vocoders.vocos.network import VocosSizes
from melle.vocoders.vocos.vocoder import VocosDescription, save_vocoder

FRAME_RATE = MelSpec().frame_rate
TOKENS = 40  # of a text, and of a prompt's: ten seconds or so in the paper's BPE
PROMPT_SECONDS = 3
LONG = 2000  # frames of the utterance by which a plain decoder is measured
PLACES = 5  # in it where steps are timed
FREE = DecodingOptions(stop_threshold=1.0, max_silence=math.inf, max_still=math.inf)


@dataclass
class Synthesis(Preset):
    weights: str = option("float32", "float32, bfloat16, float16, or int8 (CPU)")
    compile: bool = option(False, "with torch.compile for the network's blocks")
    seconds: float | None = option(None, "of an utterance; CPU: 2, GPU: 10")
    reduction_factors: Sequence[int] = option((1, 2, 4), "r to measure")
    batches: Sequence[int] = option((1, 8, 64), "utterances decoded at a time")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seconds = self.seconds or (2.0 if self.device == "cpu" else 10.0)
        check_weights(self.weights, self.device, self.compile)

    best_device = staticmethod(best_device)  # what decoding takes

    def at(self, r: int) -> Synthesis:
        """The same at another reduction factor."""
        return replace(self, overrides=(*self.overrides, f"model.reduction_factor={r}"))

    def run(self) -> None:
        print(bench_synthesis(self))


@dataclass(frozen=True)
class Figures:
    """Of decoding a batch of utterances of ``Synthesis.seconds`` each; without the vocoder."""

    step: float  # seconds per step, after the prompt was read
    floor: float  # seconds per step to read weights and cache from memory
    total: float  # seconds for the batch
    memory: int  # bytes at the peak


@dataclass(frozen=True)
class Comparison:
    """Seconds per step at batch 1, on average over an utterance."""

    ours: float
    plain: float
    floor: float


def bench_synthesis(options: Synthesis) -> str:
    """The table of all measurements."""
    setups = {r: options.at(r) for r in options.reduction_factors}
    first, most = options.reduction_factors[0], max(options.reduction_factors)
    device, seconds = options.device, options.seconds
    lines = [
        f"Decoding {options.model} ({setups[first].parameters / 1e6:.1f} M parameters at r = {first}) on {device}, "
        f"{options.weights} weights{', compiled' if options.compile else ''}, utterances of {seconds:g} s",
        f"after a prompt of {PROMPT_SECONDS} s, random weights. Without vocoder unless it is named.",
        f"  {'r':<4}{'batch':>5}{'ms/step':>10}{'floor':>8}{'× floor':>9}{'real time':>11}{'per minute':>12}{'GiB':>8}",
    ]
    best = 0.0  # steps a second of all rows at the first r
    for r, setup in setups.items():
        for rows in options.batches:
            progress(f"r = {r}, batch {rows} …")
            figures = _run(measure, setup, rows)
            best = max(best, rows / figures.step) if r == first else best
            per_minute = 60 * rows / figures.total
            lines.append(
                f"  {r:<4}{rows:>5}{1e3 * figures.step:>10.2f}{1e3 * figures.floor:>8.2f}"
                f"{figures.step / figures.floor:>9.2f}{figures.total / seconds / rows:>11.3f}"
                f"{per_minute:>12.1f}{figures.memory / 2**30:>8.2f}"
            )
    lines += _against_plain(options, setups[first], best)
    for name, (sound, factor) in _run(vocode, setups[most]).items():
        lines.append(f"{name}: first sound after {sound:.2f} s at r = {most}, RTF {factor:.3f}")
    lines.append(
        "floor: reading weights and cache once, as fast as a matrix-vector product reads.\n"
        "real time: seconds of computing per second of speech."
    )
    return "\n".join(lines)


def _against_plain(options: Synthesis, setup: Synthesis, best: float) -> list[str]:
    """What a plain decoder takes. ``best``: steps a second of ours, at its best batch."""
    progress("a plain decoder …")
    r = options.reduction_factors[0]
    compared: Comparison = _run(compare, setup, 0, LONG // r)
    read = 2 * TOKENS + 2 + round(PROMPT_SECONDS * FRAME_RATE / r)  # positions before an utterance of the table
    short: Comparison = _run(compare, setup, read, read + round(options.seconds * FRAME_RATE / r))
    faster, above = compared.plain / compared.ours, compared.ours / compared.floor
    return [
        f"{LONG} frames at r = {r}, batch 1: {1e3 * compared.ours:.2f} ms/step, {above:.2f} × the floor;",
        f"a plain decoder, its cache copied at every step, {1e3 * compared.plain:.2f} ms/step: {faster:.2f} × ours.",
        f"Utterances of the table at r = {r}: {1e3 * short.plain:.2f} ms/step by the plain decoder, at batch 1;",
        f"ours, at its best batch, makes {best * short.plain:.1f} × as many.",
    ]


def measure(setup: Synthesis, rows: int) -> Figures:
    """Decode a batch in this process, which has done nothing before."""
    network, device = _prepare(setup)
    r, fixed = network.reduction_factor, True if setup.compile else None
    if setup.compile:
        compile_blocks(network)
    steps = max(2, round(setup.seconds * FRAME_RATE / r))
    prompt = round(PROMPT_SECONDS * FRAME_RATE / r) * r
    batch = [_row(row, prompt, steps, network.n_mels) for row in range(rows)]
    for count in (3, 4):  # to warm up; compiled blocks take other sizes for any size from the second on
        for _ in decode(network, [_row(0, prompt, count, network.n_mels)] * rows, FREE, FRAME_RATE, fixed):
            pass
    read = []
    prefill = network.prefill

    def timed_prefill(*arguments: Any) -> Any:
        result = prefill(*arguments)
        synchronise(device)
        read.append(time.perf_counter())
        return result

    network.prefill = timed_prefill
    started = time.perf_counter()
    for _ in decode(network, batch, FREE, FRAME_RATE, fixed):
        pass
    synchronise(device)
    ended = time.perf_counter()
    size = 2 * TOKENS + 2 + prompt // r + steps // 2
    return Figures((ended - read[0]) / (steps - 1), floor(network, rows, size), ended - started, peak_memory(device))


def compare(setup: Synthesis, first: int, last: int) -> Comparison:
    """Steps at several places between two positions of an utterance, ours and plain in turn."""
    network, device = _prepare(setup)
    ours, plain, floors = [], [], []
    repetitions = 5 if device.type == "cpu" else 50
    for place in range(PLACES):
        length = round(first + (place + 0.5) * (last - first) / PLACES)
        frames = torch.randn(1, network.reduction_factor, network.n_mels, device=device)
        decoder = PlainDecoder(network, length)
        caches, state = caches_and_state(network, length, repetitions + 1)
        if setup.compile:  # after the plain decoder took its copy
            compile_blocks(network)
        step = StepRunner(network, caches, state, 1.0, fixed=setup.compile or device.type == "cuda")
        noise = RowNoise([0], [network.prenet.dropout], network.prenet.units, network.group, device)
        with torch.inference_mode():  # in turn, so that other work on the machine slows both
            times = [
                (
                    timed(lambda: step(frames, noise.next()), device),  # noqa: B023
                    timed(lambda: decoder.step(frames), device),  # noqa: B023
                )
                for _ in range(repetitions + 1)
            ]
        for values, side in zip((ours, plain), zip(*times[1:])):
            values.append(median(side))
        floors.append(floor(network, 1, length))
    return Comparison(mean(ours), mean(plain), mean(floors))


def vocode(setup: Synthesis) -> dict[str, tuple[float, float]]:
    """By vocoder: seconds from the call of a stream to its first sound, and the vocoder's own real-time factor."""
    network, device = _prepare(setup)
    spec = MelSpec()
    words = [f"w{number}" for number in range(VOCABULARY - 2)]
    description = ModelDescription(setup.arguments, spec, SymbolTokenizer("words", words), 15.0)
    prompt = Prompt(0.1 * torch.randn(PROMPT_SECONDS * spec.sample_rate), " ".join(words[:TOKENS]))
    results = {}
    for name, make in (("griffin_lim", GriffinLim), ("hifigan", _untrained_hifigan), ("vocos", _untrained_vocos)):
        try:
            vocoder = make(spec).to(device)
        except UserError:
            continue  # not installed
        mel = torch.randn(round(5 * FRAME_RATE), network.n_mels, device=device) - 2
        vocoder(mel[:32])
        factor = timed(partial(vocoder, mel), device) / 5
        tts = Synthesizer(LoadedModel(network, description, 0), vocoder, device)
        next(tts.stream(words[0], prompt, options=FREE))  # to warm up
        stream = tts.stream(" ".join(words[:TOKENS]), prompt, options=FREE)
        first = next(chunk.elapsed for chunk in stream if len(chunk.waveform))
        results[name] = first, factor
    return results


def floor(network: Melle, rows: int, length: int) -> float:
    """Seconds to read once what a step needs: the weights, and keys and values of ``length`` positions of each row."""
    unread = (network.text_embedding, network.text_position, network.mel_position, network.postnet)
    skipped = {id(value) for part in unread if part is not None for value in part.parameters()}
    size = sum(value.numel() * value.element_size() for value in network.parameters() if id(value) not in skipped)
    for part in network.modules():
        if isinstance(part, torch.ao.nn.quantized.dynamic.Linear):  # one byte a weight
            size += part.weight().numel()
    bos = network.bos
    size += 2 * len(network.blocks) * rows * length * bos.numel() * bos.element_size()
    return size / bandwidth(bos.device)


def bandwidth(device: torch.device) -> float:
    """Bytes per second of a product of a large matrix with a vector: the best of a few."""
    matrix = torch.randn(8192, 8192, device=device)
    vector, times = torch.randn(8192, device=device), 1 if device.type == "cpu" else 20
    best = min(timed(lambda: [matrix @ vector for _ in range(times)], device) for _ in range(8))
    return matrix.numel() * matrix.element_size() * times / best


def _prepare(setup: Synthesis) -> tuple[Melle, torch.device]:
    device = setup.start()
    with device:
        network = Melle(**setup.arguments).eval()
    return quantize(network, setup.weights), device


def _row(number: int, prompt: int, steps: int, n_mels: int) -> Request:
    generator = torch.Generator().manual_seed(number)
    texts = [torch.randint(2, VOCABULARY, (TOKENS,), generator=generator).tolist() for _ in range(2)]
    voice = Prompt(None, "", texts[0], torch.randn(prompt, n_mels, generator=generator))
    return Request("", texts[1], voice, number, steps, steps, -99.0)


def _untrained_hifigan(spec: MelSpec) -> Vocoder:
    """Of the size of SpeechT5's, without its weights: speed does not depend on them."""
    try:
        from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig
    except ImportError:
        raise UserError("not installed") from None
    with tempfile.TemporaryDirectory() as folder:
        SpeechT5HifiGan(SpeechT5HifiGanConfig()).save_pretrained(folder)
        return make_vocoder("hifigan", spec, model=folder)


def _untrained_vocos(spec: MelSpec) -> Vocoder:
    """Our own, of the size that is trained."""
    description = VocosDescription(spec, VocosSizes(pitched=128), 0.0, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        save_vocoder(Path(folder), description, description.make().state_dict())
        return make_vocoder("vocos", spec, model=folder)


def _run(function: Any, *arguments: Any) -> Any:
    result = in_own_process(function, *arguments)
    if isinstance(result, str):
        raise UserError(f"benchmarks.synthesis: {result}")
    return result


main = partial(run_benchmark, Synthesis)

if __name__ == "__main__":
    raise SystemExit(main())
