"""``python -m melle import-reference``: a checkpoint of the reference implementation becomes one of ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from melle.reference import Pace
    from melle.text import Tokenizer

MOST = 200  # utterances that a calibration reads


def add(commands: argparse._SubParsersAction) -> None:
    reference = commands.add_parser(
        "import-reference", help="turn a checkpoint of the reference implementation into ours"
    )
    reference.add_argument("--checkpoint", required=True, type=Path, help="the reference's file")
    reference.add_argument(
        "-o", "--output", type=Path, help="the file to write; default: as the checkpoint, with the ending .ckpt"
    )
    reference.add_argument("--tokenizer", required=True, help="the Hugging Face tokenizer: folder, or hf://USER/MODEL")
    reference.add_argument("--args", type=Path, help="the run's flags; default: args.json beside the checkpoint")
    reference.add_argument(
        "--text",
        help="llama: <s> and </s> around texts | qwen: no marks, ids shifted; default: by the tokenizer",
    )
    reference.add_argument(
        "--keep-case", action="store_true", help="texts as they are given; default: in upper case, as LibriSpeech's"
    )
    reference.add_argument(
        "--calibrate", type=Path, help="manifest of a few utterances, by whose pace unprompted speech is guarded"
    )
    reference.add_argument("--heads", type=int, help="attention heads; default: 16")
    reference.add_argument("--activation", help="relu, silu or tanh, of the Transformer blocks; default: by the flags")
    reference.add_argument("--prenet-activation", help="of the pre-net; default: by the flags")
    reference.add_argument("--postnet-activation", help="of the post-net and the latent; default: by the flags")
    reference.set_defaults(run=take_over_reference)


def take_over_reference(options: argparse.Namespace) -> None:
    """Write a checkpoint of ours with the reference's weights, and print what was taken from where."""
    from melle.reference import import_reference, open_text

    output = options.output or options.checkpoint.with_suffix(".ckpt")
    text = open_text(options.tokenizer, options.text, not options.keep_case)
    pace = None if options.calibrate is None else measure(options.calibrate, text.tokenizer)
    network, sources = import_reference(
        options.checkpoint,
        output,
        text,
        options.args,
        pace,
        heads=options.heads,
        activation=options.activation,
        prenet_activation=options.prenet_activation,
        postnet_activation=options.postnet_activation,
    )
    for source in sources:
        print(f"  {source.name:<20} {source.value!s:<34} {source.taken_from}")
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"{output}: {millions:.1f} million parameters, r = {network.reduction_factor}, {network.position} positions")


def measure(manifest: Path, tokenizer: Tokenizer) -> Pace:
    """The pace of up to ``MOST`` utterances of a manifest. Raises UserError where none can be read."""
    import numpy as np

    from melle.audio import LogMel, load_audio, speech_level
    from melle.data.datamodule import spread
    from melle.data.manifest import read_usable
    from melle.data.silence import speech_frames
    from melle.errors import UserError
    from melle.reference import Pace

    log_mel = LogMel()
    mels, tokens = [], []
    for utterance in read_usable(manifest)[:MOST]:
        tokens.append(len(tokenizer.encode(utterance.transcription)))
        mels.append(log_mel(load_audio(utterance.audio_path, log_mel.spec.sample_rate)))
    if not mels:
        raise UserError(f"{manifest}: no utterance can be read; give a manifest of a few")
    spoken = [speech_frames(mel, log_mel.spec) for mel in mels]
    mean = sum(spoken) / sum(tokens)
    # A few utterances do not show how much they vary.
    lengths, paces = (
        (min(0.7, shortest), max(1.5, longest))
        for shortest, longest in (spread(frames, tokens, mean) for frames in ([len(mel) for mel in mels], spoken))
    )
    level = float(np.median([speech_level(mel) for mel in mels]))
    return Pace(mean, lengths, f"{len(mels)} utterances of {manifest}", level, paces)
