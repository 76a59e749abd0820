"""Results of an evaluation that never was: short tones and scores drawn by chance, the later the step the better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from melle.audio import save_audio
from melle.evaluation.scores import Results, SystemScore, UtteranceScore
from melle.evaluation.wer import corpus_rate, count_errors

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TOPLINES = ("recordings", "recordings through mel and Griffin-Lim")
NAMES = {"whisper": "whisper base", "pocketsphinx": "pocketsphinx", "resemblyzer": "resemblyzer"}
EVIL = "<script>alert('one & two')</script>"  # as a text or a name


def invent(
    folder: Path,
    runs: dict[str, Sequence[int]] | None = None,  # steps of every run's checkpoints
    protocols: Sequence[str] = ("cross-sentence",),
    recognisers: Sequence[str] = ("whisper",),
    encoders: Sequence[str] = ("resemblyzer",),
    count: int = 12,  # utterances
    sound: bool = True,
    ending: str = "wav",
    voice=None,  # (seconds, generator, quality) to a waveform at 16 kHz
    samples: int = 1,
) -> Results:
    """Results whose sound lies in ``folder``/audio; quality (0 to 1) grows with the step."""
    runs = {"first": (100, 200), "second": (150,)} if runs is None else runs
    systems = [(None, None, name, 1.0 - 0.03 * number) for number, name in enumerate(TOPLINES)]
    for run, steps in runs.items():
        systems += [(run, step, f"{run}/step={step}", 0.9 - 0.5 / (1 + place)) for place, step in enumerate(steps)]
    rows = []
    for protocol in protocols:
        for number, (run, step, system, quality) in enumerate(systems):
            generator = np.random.default_rng(7 * number + len(protocol))
            utterances = [
                _utterance(
                    folder, protocol, number, place, sample, quality, recognisers, encoders, sound, ending, voice
                )
                for place in range(count)
                for sample in range(1 if run is None else samples)
            ]
            rows.append(_row(protocol, system, run, step, utterances, recognisers, encoders, samples, generator))
    settings = {"date": "2026-01-31", "seed": 0, "asr": list(recognisers), "note": EVIL}
    return Results(rows, NAMES, settings)


def _utterance(
    folder, protocol, system, place, sample, quality, recognisers, encoders, sound, ending, voice
) -> UtteranceScore:
    said = np.random.default_rng(place)  # the same of every system
    words = [WORDS[number] for number in said.integers(10, size=3 + place % 5)]
    recorded = 0.35 * len(words) + 0.4 * said.random()
    generator = np.random.default_rng([len(protocol), system, place, sample])
    seconds = recorded if system < 2 else recorded * (1 + 0.3 * (1 - quality) * generator.normal())
    values: dict[str, float | str] = {}
    transcripts = {}
    for judge in recognisers:
        found = _substitute_some(words, 0.5 * (1.02 - quality), generator)
        transcripts[judge] = " ".join(found)
    for encoder in encoders:
        values[f"sim_o/{encoder}"] = float(np.clip(0.35 + 0.5 * quality + 0.07 * generator.normal(), -1, 1))
        values[f"sim_others/{encoder}"] = float(0.45 + 0.1 * quality + 0.04 * generator.normal())
        values[f"nearest/{encoder}"] = "anna"
    audio = {"prompt": f"audio/prompt-{place}.{ending}", "own": f"audio/{protocol}-{system}-{place}-{sample}.{ending}"}
    if sound:
        make = voice or _tone
        lengths = {"prompt": 1.2 * recorded, "own": max(seconds, 0.1)}
        for what, name in audio.items():
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                save_audio(folder / name, make(lengths[what], generator, 1.0 if what == "prompt" else quality), 16000)
    return UtteranceScore(
        id=f"anna-{place:03d}",
        sample=sample,
        speaker="anna",
        prompt_id=f"anna-{place + 100:03d}",
        text=" ".join(words).capitalize() + ".",
        seconds=seconds,
        recording_seconds=recorded,
        computing=None if system < 2 else 0.1 * seconds,
        finish_reason=None if system < 2 else "length" if generator.random() < 0.3 * (1 - quality) else "stop",
        audio=audio["own"] if sound else None,
        prompt_audio=audio["prompt"] if sound else None,
        references={judge: " ".join(words) for judge in recognisers},
        transcripts=transcripts,
        values=values,
    )


def _row(protocol, system, run, step, utterances, recognisers, encoders, samples, generator) -> SystemScore:
    metrics, intervals, edits, deviations, best = {}, {}, {}, {}, {}
    for judge in recognisers:
        name = f"wer/{judge}"
        rate = corpus_rate([count_errors(u.references[judge], u.transcripts[judge]) for u in utterances])
        metrics[name], intervals[name] = rate.rate, (rate.low, rate.high)
        edits[name] = rate.counts
        metrics[f"cer/{judge}"] = 0.6 * rate.rate
    for encoder in encoders:
        for kind in ("sim_o", "sim_others"):
            name = f"{kind}/{encoder}"
            metrics[name] = float(np.mean([u.values[name] for u in utterances]))
    metrics["duration_ratio"] = sum(u.seconds for u in utterances) / sum(u.recording_seconds for u in utterances)
    if run is not None:
        metrics["eos_rate"] = float(np.mean([u.finish_reason == "stop" for u in utterances]))
        metrics["real_time_factor"] = float(generator.uniform(0.1, 0.3))
        if samples > 1:
            deviations = {name: abs(0.02 * value) for name, value in metrics.items()}
            best = {name: 0.8 * value for name, value in metrics.items() if name.startswith("wer/")}
    own = 1 if run is None else samples
    return SystemScore(protocol, system, run, step, own, metrics, intervals, edits, deviations, best, utterances)


def _substitute_some(words: Sequence[str], share: float, generator: np.random.Generator) -> list[str]:
    found = []
    for word in words:
        chance = generator.random() / max(share, 1e-9)
        if chance < 0.5:
            found.append(WORDS[generator.integers(10)])
        elif chance >= 0.8:
            found.append(word)
        if 0.8 <= chance < 1:
            found.append(WORDS[generator.integers(10)])
    return found


def _tone(seconds: float, generator: np.random.Generator, quality: float) -> torch.Tensor:
    time = torch.arange(int(seconds * 16000)) / 16000
    return 0.3 * torch.sin(2 * torch.pi * float(generator.uniform(200, 2000)) * time)
