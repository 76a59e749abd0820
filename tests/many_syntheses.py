"""Speaks thousands of times with models that cannot: one that was just made, and one that was trained for a while.

    python tests/many_syntheses.py --count 1000 [--checkpoint runs/quickstart/checkpoints/step_000550.ckpt]

Every utterance must end within its bound, with a finish reason, and be heard unless it says that it is empty. Texts,
prompts (also noise, tones, and others' words), temperatures and stop thresholds are drawn at random. By hand, not part
of the test suite, which does the same a hundred times.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from pathlib import Path

import torch
from tqdm import tqdm

from melle import DecodingOptions, Prompt, Synthesizer
from melle.audio import MelSpec, loudness, speech_level
from melle.checkpoint import LoadedModel, ModelDescription
from melle.model import Melle
from melle.synthesis.crossfade import SEVERITY
from melle.synthesis.stopping import SILENT
from melle.text.symbols import SymbolTokenizer

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SIZES = {"width": 64, "layers": 2, "heads": 2, "ff_width": 128, "prenet_hidden": 32, "latent_hidden": 32}


def random_model(rng: random.Random, **sizes: int) -> Synthesizer:
    """With weights as they are made, of a random reduction factor, positions and stop bias."""
    torch.manual_seed(rng.randrange(2**31))
    tokenizer = SymbolTokenizer("words", WORDS)
    r = rng.choice([1, 2, 3, 4])
    arguments = {
        **(sizes or SIZES),
        "vocab_size": tokenizer.vocab_size,
        "reduction_factor": r,
        "position": rng.choice(["learned", "rope", "paced"]),
        "pace": 30 / r,
        "postnet_channels": 16,
        "mel_mean": -2.0,
        "mel_std": rng.choice([0.1, 1.0]),
    }
    network = Melle(**arguments).eval()
    with torch.no_grad():
        network.stop.weight.mul_(rng.choice([1, 10]))
        network.stop.bias.fill_(rng.choice([-20.0, -3.0, 0.0, 20.0]))
        network.latent.project.bias[: network.group] += rng.choice([-8.0, 0.0, 1.0])
    description = ModelDescription(arguments, MelSpec(), tokenizer, 30.0, speech_level=-0.5)
    return Synthesizer(LoadedModel(network, description, 0), vocoder=Silent())


class Silent(torch.nn.Module):
    """Frames are what is judged; a vocoder would take most of the time."""

    def forward(self, mel):
        return torch.zeros(len(mel) * 256)


def random_voice(rng: random.Random) -> Prompt | None:
    kind = rng.choice(["none", "tone", "noise", "faint"])
    if kind == "none":
        return None
    samples = torch.arange(round(rng.uniform(0.3, 4.0) * 16000))
    sound = {
        "tone": 0.2 * torch.sin(samples * rng.uniform(0.02, 0.5)),
        "noise": 0.1 * torch.randn(len(samples)),
        "faint": 0.002 * torch.randn(len(samples)),
    }[kind]
    return Prompt(sound, " ".join(rng.choices(WORDS, k=rng.randint(1, 12))))


def check(tts: Synthesizer, rng: random.Random, batch: int) -> Counter[str]:
    """Speak a batch of random texts; AssertionError where one does not keep what was promised."""
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(batch)]
    prompts = [random_voice(rng) for _ in texts]
    options = DecodingOptions(temperature=rng.choice([0.0, 0.5, 1.0, 2.0]), stop_threshold=rng.choice([0.1, 0.5, 0.99]))
    speeches = tts(texts, prompts, options=options, seed=[rng.randrange(2**32) for _ in texts])
    most, description = tts.description.most_tokens, tts.description
    for text, prompt, speech in zip(texts, prompts, speeches):
        assert speech.finish_reason in SEVERITY
        assert torch.isfinite(speech.mel).all() and len(speech.mel) == len(speech.waveform) // 256 > 0
        words = len(text.split())
        parts = 1 if most is None else math.ceil(words / most)
        r, longest = tts.network.reduction_factor, description.length_range[1]
        slowest = description.frames_per_token * longest  # frames per token: nobody speaks slower
        bound = (words * slowest * longest * 1.25 / r + parts * 4 + 1) * r + (parts - 1) * 16
        assert len(speech.mel) <= bound, f"{len(speech.mel)} frames for {words} words"
        level = description.speech_level
        if prompt is not None:
            level = speech_level(tts.log_mel(prompt.audio))
        if parts == 1 and speech.finish_reason != "empty":
            # What ends speech is judged by what comes before the post-net, which moves it a little.
            assert float(loudness(speech.mel).max()) >= level - SILENT - 1.0
    return Counter(speech.finish_reason for speech in speeches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="utterances by each kind of model")
    parser.add_argument("--checkpoint", type=Path, help="a model that was trained for a while")
    parser.add_argument("--batch", type=int, default=10, help="utterances at a time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    kinds = {"random": lambda: random_model(rng)}
    if options.checkpoint is not None:
        trained = Synthesizer.from_checkpoint(options.checkpoint, vocoder=Silent())
        kinds[str(options.checkpoint)] = lambda: trained
    for name, make in kinds.items():
        found: Counter[str] = Counter()
        for _ in tqdm(range(0, options.count, options.batch), desc=name, unit="batch"):
            found += check(make(), rng, options.batch)
        print(f"{name}: {found.total()} utterances, all within their bounds: {dict(found.most_common())}")


if __name__ == "__main__":
    main()
