"""``python -m melle synthesize``: speak one text to a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from melle.errors import UserError


def add(commands: argparse._SubParsersAction) -> None:
    speak = commands.add_parser("synthesize", help="speak a text with a trained model")
    speak.add_argument("--checkpoint", required=True, type=Path, help="a .ckpt file that train.py wrote")
    speak.add_argument("--text", required=True, help="what to say")
    speak.add_argument("--prompt", type=Path, help="a recording of the voice to speak in (any format and sample rate)")
    speak.add_argument("--prompt-text", help="what is said in the prompt")
    speak.add_argument("-o", "--output", type=Path, default=Path("speech.wav"), help="the file to write (.wav, .flac)")
    speak.add_argument("--vocoder", default="griffin_lim", help="griffin_lim (default, offline) or hifigan")
    speak.add_argument("--vocoder-model", help="hub name or local folder of the HiFi-GAN")
    speak.add_argument(
        "--temperature", type=float, default=1.0, help="scale of the latent's deviation; 0 takes the mean"
    )
    speak.add_argument("--seed", type=int, default=0, help="another seed speaks the same text differently")
    speak.add_argument(
        "--raw-weights", action="store_true", help="not the average of the weights (EMA) but the last ones"
    )
    speak.add_argument("--device", default="cpu", help="cpu, cuda, mps …")
    speak.set_defaults(run=synthesize)


def synthesize(options: argparse.Namespace) -> None:
    """Speak one text to a file."""
    from melle.audio import save_audio
    from melle.checkpoint import load_model
    from melle.synthesis.guards import DecodingOptions
    from melle.synthesis.prompt import Prompt
    from melle.synthesis.synthesizer import Synthesizer
    from melle.synthesis.vocoder import make_vocoder

    if (options.prompt is None) != (options.prompt_text is None):
        raise UserError("--prompt and --prompt-text belong together: give the recording and what is said in it")
    if options.temperature < 0:
        raise UserError(f"--temperature {options.temperature}: give 0 or more")
    device = find_device(options.device)
    model = load_model(options.checkpoint, average=not options.raw_weights)
    settings = {"model": options.vocoder_model} if options.vocoder_model else {}
    vocoder = make_vocoder(options.vocoder, model.description.mel, **settings)
    prompt = Prompt(options.prompt, options.prompt_text) if options.prompt else None
    synthesizer = Synthesizer(model, vocoder, device)
    speech = synthesizer(
        options.text, prompt, options=DecodingOptions(temperature=options.temperature), seed=options.seed
    )
    save_audio(options.output, speech.waveform, speech.sample_rate)
    ending = "" if speech.finish_reason == "stop" else "; cut off at the length guard, try another --seed"
    print(f"{options.output}: {speech.seconds:.2f} s{ending}")


def find_device(name: str):
    """The torch device of this name; a UserError where the machine has none such."""
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"--device {name}: this machine has none such; try --device cpu") from None
    return device
