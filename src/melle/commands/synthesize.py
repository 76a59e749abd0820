"""``python -m melle synthesize``: speak one text, a whole file, or a list of jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melle.audio_formats import COMPRESSED
from melle.console import note
from melle.errors import UserError
from melle.options import option, options_of
from melle.synthesis.options import BEST_PROMPT, MAX_PROMPT, DecodingOptions

if TYPE_CHECKING:
    from melle.synthesis.speech import Speech, Word
    from melle.synthesis.synthesizer import Synthesizer


PRETRAINED = Path("data/pretrained")  # where an exported model speaks without being named
SMALL = 20 * 10**6  # parameters of a model that one thread of a CPU serves best


@dataclass
class Synthesize:
    """Speaks a text, a file of any length, or a list of jobs with a trained model."""

    checkpoint: str | None = option(
        None, f"a .ckpt file of train.py, a folder of export, or hf://USER/MODEL (default: {PRETRAINED}, where it is)"
    )
    hub: bool = option(False, "--checkpoint is USER/MODEL on the Hugging Face hub")
    text: str | None = option(None, "what to say", one_of="text")
    text_file: Path | None = option(None, "a text of any length, read aloud piece by piece; - for stdin", one_of="text")
    jobs: Path | None = option(
        None,
        'JSON lines {"text": …, "id": …, "prompt": …, "prompt_text": …, "voice": …, "seed": …}, text alone needed,'
        " spoken in batches to ID.wav in the folder -o; what is there already is left as it is",
        one_of="text",
    )
    prompt: Path | None = option(
        None,
        f"a recording of the voice to speak in, best of {BEST_PROMPT} ({MAX_PROMPT:g} at most): WAV, FLAC, "
        f"Ogg, MP3, or, where FFmpeg is installed, whatever that reads, such as {', '.join(COMPRESSED)}",
    )
    prompt_text: str | None = option(None, "what is said in the prompt")
    voice: str | None = option(
        None, "a voice that was saved (melle voice add), or one of the model's; default, without --prompt: its first"
    )
    output: Path | None = option(None, "file to write (default speech.wav), or folder for --jobs", "-o")
    subtitles: Path | None = option(
        None, "file for the times of words: .srt, .vtt, or .json; for --jobs the ending alone"
    )
    vocoder: str = option(
        "auto", "griffin_lim, hifigan, or vocos, our own; default: the model's own, else a hifigan that was downloaded"
    )
    vocoder_model: str | None = option(
        None, "of hifigan: hf://USER/MODEL or folder; of vocos: the .ckpt file, or an exported folder"
    )
    decoding: DecodingOptions = options_of(DecodingOptions)
    seed: int = option(0, "another seed speaks the same text differently")
    retries: int = option(0, "other seeds to try where speech does not end by itself")
    best_of: int | None = option(None, "say --text N times and keep what is most like the prompt's voice", metavar="N")
    asr: str | None = option(
        None, "of --best-of keep what Whisper understands best: base, small, … or a folder", metavar="MODEL"
    )
    normalise: bool | None = option(
        None, "read figures and abbreviations as words, $5 as five dollars; default: as in the model's training"
    )
    show_text: bool = option(False, "print the text as it is read, and speak it")
    language: str | None = option(None, "code by which long texts are split into sentences; default: the model's")
    batch_size: int = option(16, "jobs spoken at a time")
    raw_weights: bool = option(False, "not the average of the weights (EMA) but the last ones")
    weights: str = option("float32", "float32, bfloat16, float16, or int8 (CPU): lighter ones decode faster")
    compile: bool = option(False, "torch.compile for the network's blocks: a slow start, then faster steps")
    device: str = option("auto", "auto (cuda where there is one), cpu, cuda, mps …")
    threads: int | None = option(
        None, f"of the CPU; default: 1 for models of up to {SMALL // 10**6} million parameters, else all"
    )

    def run(self) -> None:
        """Speak as asked."""
        from melle.synthesis.options import check_seed

        if self.checkpoint is None:
            if not PRETRAINED.is_dir():
                raise UserError(
                    f"--checkpoint is missing, and there is no {PRETRAINED}; train a model with python train.py"
                )
            self.checkpoint = str(PRETRAINED)
        if (self.prompt is None) != (self.prompt_text is None):
            raise UserError("--prompt and --prompt-text belong together: give the recording and what is said in it")
        if self.voice is not None and self.prompt is not None:
            raise UserError("--voice and --prompt both name the voice to speak in; give one of them")
        if self.retries < 0 or self.batch_size < 1 or (self.threads is not None and self.threads < 1):
            raise UserError("--retries must be 0 or more, --batch-size and --threads 1 or more")
        check_seed(self.seed)
        if self.text is None and (self.best_of is not None or self.asr is not None):
            raise UserError("--best-of and --asr are for --text; leave them out")
        self.checkpoint = f"{'hf://' if self.hub and '://' not in self.checkpoint else ''}{self.checkpoint}"
        voice = {"prompt": self.prompt, "prompt_text": self.prompt_text} if self.prompt else self._own_voice()
        (self._speak_jobs if self.jobs is not None else self._speak_to_file)(voice)

    def _speak_jobs(self, voice: dict[str, Any]) -> None:
        from melle.files import check_writable
        from melle.pretrained import fetched
        from melle.synthesis.jobs import read_jobs, run_jobs
        from melle.synthesis.subtitles import check_ending

        if self.output is None:
            raise UserError("--jobs needs a folder to write to: give it by -o")
        subtitles = None if self.subtitles is None else check_ending(self.subtitles)
        check_writable(self.output, folder=True)
        jobs = read_jobs(self.jobs, voice, self.seed, fetched(self.checkpoint))
        tts, how = self._make_synthesizer()
        self._show(tts, [job.text for job in jobs])
        failed = run_jobs(tts, jobs, self.output, self.batch_size, self.retries, subtitles, **how)
        if failed:
            raise UserError(f"{failed} of {len(jobs)} jobs failed; {self.output / 'results.jsonl'} says why")

    def _speak_to_file(self, voice: dict[str, Any]) -> None:
        from melle.audio import AudioWriter, save_audio
        from melle.files import check_writable
        from melle.synthesis.subtitles import check_subtitles, write_subtitles
        from melle.text.languages import find_language

        if self.subtitles is not None:
            check_subtitles(self.subtitles)
        output = self.output or Path("speech.wav")
        check_writable(output)
        AudioWriter(output, 1)  # raises for an ending that cannot be written before anything is spoken
        if self.text_file is not None and self.retries:
            raise UserError("--retries is not for --text-file, which is written as it is spoken; use --text or --jobs")
        if self.asr is not None and self.best_of is None:
            raise UserError("--asr chooses among the candidates of --best-of; add --best-of 5")
        text = self.text if self.text_file is None else read_text(self.text_file)
        tts, how = self._make_synthesizer()
        self._show(tts, [text] if self.text_file is None else text.splitlines())
        language = find_language(self.language, tts.tokenizer)
        how |= {"seed": self.seed, "words": self.subtitles is not None, **voice}
        if self.text_file is not None:
            write_subtitles(self.subtitles, read_aloud(tts, text, output, **how), language)
            return
        how["retries"] = self.retries
        speech = tts(text, **how) if self.best_of is None else self._choose(tts, how)
        save_audio(output, speech.waveform, speech.sample_rate)
        write_subtitles(self.subtitles, speech.words, language)
        speed = f" of speech in {speech.real_time_factor * speech.seconds:.1f} s, {tts.vocoder.title}"
        report(output, speech.seconds, speech.finish_reason, speech.parts, speed)

    def _show(self, tts: Synthesizer, texts: Sequence[str]) -> None:
        """Print texts as they are read, where that is asked for."""
        from melle.synthesis.chunking import show_text

        for text in texts if self.show_text else ():
            print(show_text(text, tts.tokenizer))

    def _choose(self, tts: Synthesizer, how: dict[str, Any]) -> Speech:
        """The best of several, with a line about each."""
        from melle.evaluation.judges.speaker import Resemblyzer
        from melle.evaluation.judges.whisper import Whisper
        from melle.synthesis.best_of import best_of
        from melle.text.languages import find_language

        speaker = None if how["prompt"] is None else Resemblyzer()
        language = find_language(self.language, tts.tokenizer)
        normaliser = "english" if language == "en" else "basic"
        asr = None if self.asr is None else Whisper(self.asr, language=language, normaliser=normaliser)
        if speaker is None and asr is None:
            raise UserError(
                "--best-of compares with the prompt's voice: give --prompt and --prompt-text, or --asr base"
            )
        candidates = best_of(tts, self.text, count=self.best_of, speaker=speaker, asr=asr, **how)
        for candidate in candidates:
            like = "" if candidate.similarity is None else f", similarity {candidate.similarity:.3f}"
            wrong = "" if candidate.errors is None else f", {candidate.errors} word errors"
            speech = candidate.speech
            print(f"seed {speech.seed}: {speech.seconds:.2f} s, {speech.finish_reason}{wrong}{like}")
        return candidates[0].speech

    def _own_voice(self) -> dict[str, Any]:
        """The prompt of the model's voice that was named, else of its first; none where it has no voices."""
        from melle.pretrained import fetched
        from melle.synthesis.voices import find_voice, read_voices

        model = fetched(self.checkpoint)
        self.checkpoint = str(model)  # the hub is asked once
        name = self.voice or next(iter(read_voices(model)), None)
        if name is None:
            return {"prompt": None, "prompt_text": None}
        audio, text = find_voice(model, name) if self.voice else read_voices(model)[name]
        if self.voice is None:
            print(f"voice: {name}, the model's first; choose another by --voice or --prompt")
        return {"prompt": audio, "prompt_text": text}

    def _make_synthesizer(self) -> tuple[Synthesizer, dict[str, Any]]:
        """And how to speak, as arguments of a call."""
        from melle.devices import find_device
        from melle.pretrained import load_pretrained
        from melle.synthesis.synthesizer import Synthesizer
        from melle.vocoders import default_vocoder, make_vocoder

        device = find_device(self.device)
        note(f"loading {self.checkpoint} …")
        model = load_pretrained(self.checkpoint, average=not self.raw_weights)
        if self.vocoder == "auto":
            if self.vocoder_model:
                raise UserError("--vocoder-model is of a vocoder: give --vocoder vocos or hifigan, too")
            vocoder = default_vocoder(model.description.mel, model.vocoder)
        else:
            settings = {"model": self.vocoder_model} if self.vocoder_model else {}
            vocoder = make_vocoder(self.vocoder, model.description.mel, **settings)
        self._set_threads(sum(parameter.numel() for parameter in model.network.parameters()))
        tts = Synthesizer(model, vocoder, device, self.weights, self.compile, self.normalise)
        return tts, {"options": self.decoding, "language": self.language}

    def _set_threads(self, parameters: int) -> None:
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        elif parameters <= SMALL:
            # More make a step of so small a model hardly faster, and wait for each other by spinning: beside one other
            # busy process the model in data/pretrained took 60 s for what one thread says in 2.
            torch.set_num_threads(1)


def read_text(path: Path) -> str:
    """What a file, or standard input for "-", holds. Raises UserError for anything but UTF-8."""
    if str(path) == "-" and sys.stdin is None:
        raise UserError("--text-file -: there is no standard input; give a text file")
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a text file, or - for standard input") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text in UTF-8; convert it, for instance with iconv") from None


def read_aloud(tts: Synthesizer, text: str, output: Path, **how: Any) -> list[Word]:
    """Speak a text of any length to a file, which is written as it comes; returns its words, where asked for.

    Ctrl-C keeps what was spoken until then; after any other interruption there is no file.
    """
    from tqdm import tqdm

    from melle.audio import AudioWriter

    chunks, reason, words = tts.stream(text, **how), None, []
    with (
        AudioWriter(output, tts.spec.sample_rate) as file,
        tqdm(
            desc=output.name, unit="s", bar_format="{desc}: {n:.1f} s of speech in {elapsed}", leave=False
        ) as progress,
    ):
        try:
            for chunk in chunks:
                file.write(chunk.waveform)
                progress.update(len(chunk.waveform) / chunk.sample_rate)
                reason, parts = chunk.finish_reason, chunk.parts
                words += chunk.words
        except KeyboardInterrupt:
            if not file.seconds:
                raise
    if reason is None:
        raise UserError(f"{output}: interrupted; its {file.seconds:.2f} s are the beginning of the text")
    report(output, file.seconds, reason, parts, f", {tts.vocoder.title}", "try another --seed")
    return words


def report(
    output: Path,
    seconds: float,
    finish_reason: str,
    parts: Sequence[str],
    more: str,
    advice: str = "try another --seed or --retries 3",
) -> None:
    """A line about what was written, with why it was cut off, in how many of the parts of a long text."""
    where = f", {sum(part != 'stop' for part in parts)} of {len(parts)} parts" if parts else ""
    endings = {
        "stop": "",
        "unfinished": f"; it stopped before the end of the text{where}; {advice}",
        "length": f"; cut off at the length limit{where}; {advice}",
        "degenerate": f"; cut off where it fell silent or held one sound{where}; {advice}",
        "empty": f"; it is silent; {advice}",
    }
    print(f"{output}: {seconds:.2f} s{more}{endings[finish_reason]}")
