"""``python -m melle voice``: voices that are saved by name, for ``synthesize --voice``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from melle.commands.synthesize import PRETRAINED
from melle.console import shell_command
from melle.errors import Unavailable, UserError
from melle.options import option


@dataclass
class Add:
    name: str = option(..., "a to z, 0 to 9, - and _", "NAME")
    prompt: Path = option(..., "a recording of the voice, best of 3 to 10 seconds")
    prompt_text: str | None = option(None, "what is said in it; default: what Whisper understands (extra eval)")
    asr: str = option("base", "Whisper's size or folder", metavar="MODEL")
    language: str = option("en", "that Whisper is to expect")
    replace: bool = option(False, "take the place of a voice of this name")
    checkpoint: str | None = option(
        None, f"the model that is to speak in it, for which it is checked (default: {PRETRAINED}, where it is)"
    )

    def run(self) -> None:
        """Save a voice; without a transcript, Whisper's is shown."""
        from melle.pretrained import read_description
        from melle.synthesis.voices import add_voice, check_name, read_voices

        check_name(self.name)
        if not self.replace and self.name in read_voices(PRETRAINED, missing="keep"):
            raise UserError(
                f"{PRETRAINED} has a voice {self.name!r} of its own, which yours would hide; choose another name, or "
                "add --replace"
            )
        text = self.prompt_text
        if text is None:
            text = transcribe(self.prompt, self.asr, self.language)
            remove = shell_command("python", "-m", "melle", "voice", "remove", self.name)
            print(f"transcript: {text}\n(if that is not what is said: {remove}, and give --prompt-text)")
        model = self.checkpoint or (str(PRETRAINED) if PRETRAINED.is_dir() else None)
        description = None if model is None else read_description(model)[0]
        voice = add_voice(self.name, self.prompt, text, replace=self.replace, model=description)
        print(f"{self.name}: saved in {voice.audio.parent}; speak with --voice {self.name}")


@dataclass
class List:
    checkpoint: str | None = option(None, f"an exported model's folder (default: {PRETRAINED}, where it is)")

    def run(self) -> None:
        """One line for each voice."""
        from melle.pretrained import fetched
        from melle.synthesis.voices import read_voices, user_folder

        if self.checkpoint is None and not PRETRAINED.is_dir():
            models = []
        else:
            models = [fetched(self.checkpoint or PRETRAINED)]
        found = [(folder, read_voices(folder)) for folder in (user_folder(), *models)]
        width = max((len(name) for _, voices in found for name in voices), default=0)
        for folder, voices in found:
            print(f"{folder}:{'' if voices else ' none'}")
            for name, voice in voices.items():
                print(f"  {name:<{width}}  {voice.text}")


@dataclass
class Remove:
    name: str = option(..., "of the voice", "NAME")

    def run(self) -> None:
        from melle.synthesis.voices import remove_voice

        remove_voice(self.name)
        print(f"{self.name}: removed")


def transcribe(recording: Path, model: str, language: str) -> str:
    """What Whisper understands. Raises UserError where it is not there, or understands nothing."""
    from melle.evaluation.judges.whisper import Whisper
    from melle.synthesis.prompt import load_voice

    rate = 16000
    samples = load_voice(recording, rate)
    normaliser = "english" if language == "en" else "basic"
    try:
        whisper = Whisper(model, language=language, normaliser=normaliser)
    except Unavailable as error:
        missing = [name for name in ("faster_whisper", "jiwer", "transformers") if find_spec(name) is None]
        why = f'it needs {", ".join(missing)}: python -m pip install -e ".[eval]"' if missing else str(error)
        raise UserError(f"--prompt-text is not given, and Whisper cannot transcribe the recording: {why}") from None
    (found,) = whisper.transcribe([samples], rate)
    if not found.text.strip():
        raise UserError(f"{recording}: Whisper understands nothing in it; give --prompt-text")
    return found.text.strip()
