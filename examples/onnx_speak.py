"""Speak from ONNX graphs without PyTorch: python examples/onnx_speak.py FOLDER "Good morning." VOICE out.wav

FOLDER is what `python -m melle export --onnx` wrote. Needs onnxruntime, soundfile and librosa.
"""

import argparse
from pathlib import Path

import numpy as np

from melle.console import run_command
from melle.onnx.files import read_graphs, read_voice, vocode, write_sound
from melle.text import marks_of, tokenizer_from_dict


def keep_units(random: np.random.Generator, shape: tuple[int, ...], dropout: float) -> np.ndarray:
    """What units of the pre-net are multiplied by: 0 where one is dropped, else what makes up for it."""
    return (random.random(shape) >= dropout).astype(np.float32) / np.float32(1 - dropout)


def speak(
    folder: Path, text: str, voice: str, seed: int = 0, temperature: float | None = None
) -> tuple[np.ndarray, int]:
    """Samples (N,) and their rate. Raises UserError for a folder, a voice or a text that cannot be used."""
    config, graph = read_graphs(folder)
    temperature = config.get("temperature", 1.0) if temperature is None else temperature
    given, mel = read_voice(folder, voice)
    tokenizer, random = tokenizer_from_dict(config["tokenizer"]), np.random.default_rng(seed)
    tokens, r, mel, bands = tokenizer.encode(text), config["reduction_factor"], mel[None], config["mel"]["n_mels"]
    bos, eos = ([] if mark is None else [mark] for mark in marks_of(tokenizer))
    ids = [*bos, *given, *tokens, *eos]
    first = len(bos) + len(given)

    def noise(steps: int) -> dict[str, np.ndarray]:
        """What chance decides: which units the pre-net keeps, and the sample of the latent."""
        keep = keep_units(random, (1, steps, config["prenet_units"]), config["prenet_dropout"])
        return {"keep": keep, "noise": temperature * random.standard_normal((1, 1, r * bands), dtype=np.float32)}

    pace = mel.shape[1] / len(given)
    least, most = (len(tokens) * pace * share / r for share in config["length_range"])
    steps = mel.shape[1] // r
    segments = np.array([[0] * first + [1] * (len(ids) - first)])
    made, stop, *past = graph["prefill"].run(
        None, {"text": np.array([ids]), "segments": segments, "prompt": mel, **noise(steps)}
    )
    names, frames = [each.name for each in graph["step"].get_inputs()[5:]], [made]
    while len(frames) < 1.25 * most and not (stop[0] > 0 and len(frames) >= least / 1.25):
        state = {"number": np.array([steps + len(frames)]), "text_length": np.array([len(ids)])}
        made, stop, *past = graph["step"].run(None, {"frames": made, **state, **noise(1), **dict(zip(names, past))})
        frames.append(made)
    before = (mel[:, -config["context"] :] - config["mel_mean"]) / config["mel_std"]  # what the post-net also sees
    before = before.astype(np.float32)
    refined = graph["refine"].run(None, {"frames": np.concatenate([before, *frames], axis=1)})[0][:, before.shape[1] :]
    return vocode(refined, graph.get("vocoder"), config["mel"]), config["mel"]["sample_rate"]


def main(options: argparse.Namespace) -> None:
    """Write the speech."""
    samples, rate = speak(options.folder, options.text, options.voice, options.seed, options.temperature)
    write_sound(options.output, samples, rate)
    print(f"{options.output}: {len(samples) / rate:.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with onnx.json, graphs and voices")
    parser.add_argument("text", help="one sentence")
    parser.add_argument("voice", help="one of the folder's, such as emma")
    parser.add_argument("output", type=Path, help="file to write, such as out.wav")
    parser.add_argument("--seed", type=int, default=0, help="another seed speaks the same text differently")
    parser.add_argument(
        "--temperature", type=float, help="of the sample of the latent; 0 draws none; default: the model's"
    )
    raise SystemExit(run_command(main, parser.parse_args()))
