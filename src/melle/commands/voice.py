"""``python -m melle voice``: voices that are saved by name, for ``synthesize --voice``."""

from __future__ import annotations

import argparse
from pathlib import Path

from melle.commands.synthesize import PRETRAINED
from melle.console import shell_command
from melle.errors import UserError


def add(commands: argparse._SubParsersAction) -> None:
    voice = commands.add_parser("voice", help="save voices by name, list them, remove them")
    kinds = voice.add_subparsers(required=True, metavar="add|list|remove")
    adding = kinds.add_parser("add", help="save a recording as a voice: synthesize --voice NAME")
    adding.add_argument("name", help="a to z, 0 to 9, - and _")
    adding.add_argument("--prompt", required=True, type=Path, help="a recording of the voice, best of 3 to 10 seconds")
    adding.add_argument("--prompt-text", help="what is said in it; default: what Whisper understands (extra eval)")
    adding.add_argument("--asr", default="base", metavar="MODEL", help="Whisper's size or folder (default: base)")
    adding.add_argument("--language", default="en", help="that Whisper is to expect (default: en)")
    adding.set_defaults(run=add_one)
    listing = kinds.add_parser("list", help="the voices that were saved, and a model's own")
    listing.add_argument("--checkpoint", help=f"an exported model's folder (default: {PRETRAINED}, where it is)")
    listing.set_defaults(run=list_all)
    removing = kinds.add_parser("remove", help="forget a voice that was saved, and its recording")
    removing.add_argument("name", help="of the voice")
    removing.set_defaults(run=remove_one)


def add_one(options: argparse.Namespace) -> None:
    """Save a voice; without a transcript, Whisper's is shown."""
    from melle.synthesis.voices import add_voice, check_name

    check_name(options.name)
    text = options.prompt_text
    if text is None:
        text = transcribe(options.prompt, options.asr, options.language)
        remove = shell_command("python", "-m", "melle", "voice", "remove", options.name)
        print(f"transcript: {text}\n(if that is not what is said: {remove}, and give --prompt-text)")
    voice = add_voice(options.name, options.prompt, text)
    print(f"{options.name}: saved in {voice.audio.parent}; speak with --voice {options.name}")


def list_all(options: argparse.Namespace) -> None:
    """One line for each voice."""
    from melle.pretrained import fetched
    from melle.synthesis.voices import read_voices, user_folder

    if options.checkpoint is None and not PRETRAINED.is_dir():
        models = []
    else:
        models = [fetched(options.checkpoint or PRETRAINED)]
    found = [(folder, read_voices(folder)) for folder in (user_folder(), *models)]
    width = max((len(name) for _, voices in found for name in voices), default=0)
    for folder, voices in found:
        print(f"{folder}:{'' if voices else ' none'}")
        for name, voice in voices.items():
            print(f"  {name:<{width}}  {voice.text}")


def remove_one(options: argparse.Namespace) -> None:
    from melle.synthesis.voices import remove_voice

    remove_voice(options.name)
    print(f"{options.name}: removed")


def transcribe(recording: Path, model: str, language: str) -> str:
    """What Whisper understands. Raises UserError where it is not there, or understands nothing."""
    from melle.evaluation.judges.whisper import Whisper
    from melle.synthesis.prompt import load_voice

    rate = 16000
    samples = load_voice(recording, rate)
    normaliser = "english" if language == "en" else "basic"
    (found,) = Whisper(model, language=language, normaliser=normaliser).transcribe([samples], rate)
    if not found.text.strip():
        raise UserError(f"{recording}: Whisper understands nothing in it; give --prompt-text")
    return found.text.strip()
