"""``python -m melle synthesize``: speak one text, a whole file, or a list of jobs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melle.commands.options import add_fields, from_fields
from melle.errors import UserError
from melle.formats import COMPRESSED
from melle.synthesis.options import BEST_PROMPT, LONGEST_PROMPT, DecodingOptions

if TYPE_CHECKING:
    from melle.synthesis.speech import Speech, Word
    from melle.synthesis.synthesizer import Synthesizer


PRETRAINED = Path("data/pretrained")  # where an exported model speaks without being named


def add(commands: argparse._SubParsersAction) -> None:
    speak = commands.add_parser("synthesize", help="speak a text with a trained model")
    speak.add_argument(
        "--checkpoint",
        help=f"a .ckpt file of train.py, a folder of export, or hf://USER/MODEL (default: {PRETRAINED}, where it is)",
    )
    speak.add_argument("--hub", action="store_true", help="--checkpoint is USER/MODEL on the Hugging Face hub")
    what = speak.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="what to say")
    what.add_argument("--text-file", type=Path, help="a text of any length, read aloud piece by piece; - for stdin")
    what.add_argument(
        "--jobs",
        type=Path,
        help='JSON lines {"text": …, "id": …, "prompt": …, "prompt_text": …, "voice": …, "seed": …}, text alone needed,'
        " spoken in batches to ID.wav in the folder -o; what is there already is left as it is",
    )
    speak.add_argument(
        "--prompt",
        type=Path,
        help=f"a recording of the voice to speak in, best of {BEST_PROMPT} ({LONGEST_PROMPT:g} at most): WAV, FLAC, "
        f"Ogg, MP3, or, where FFmpeg is installed, whatever that reads, such as {', '.join(COMPRESSED)}",
    )
    speak.add_argument("--prompt-text", help="what is said in the prompt")
    speak.add_argument(
        "--voice",
        help="a voice that was saved (melle voice add), or one of the model's; default, without --prompt: its first",
    )
    speak.add_argument("-o", "--output", type=Path, help="file to write (default speech.wav), or folder for --jobs")
    speak.add_argument(
        "--subtitles", type=Path, help="file for the times of words: .srt, .vtt, or .json; of --text and --text-file"
    )
    speak.add_argument(
        "--vocoder",
        default="auto",
        help="griffin_lim, hifigan, or vocos, our own; default: the model's own, else a hifigan that was downloaded",
    )
    speak.add_argument("--vocoder-model", help="of hifigan: hf://USER/MODEL or folder; of vocos: the .ckpt file")
    add_fields(speak, DecodingOptions)
    speak.add_argument("--seed", type=int, default=0, help="another seed speaks the same text differently")
    speak.add_argument(
        "--retries",
        type=int,
        default=0,
        help="other seeds to try where speech does not end by itself",
    )
    speak.add_argument(
        "--best-of", type=int, metavar="N", help="say --text N times and keep what is most like the prompt's voice"
    )
    speak.add_argument(
        "--asr", metavar="MODEL", help="of --best-of keep what Whisper understands best: base, small, … or a folder"
    )
    speak.add_argument(
        "--normalise",
        action=argparse.BooleanOptionalAction,
        help="read figures and abbreviations as words, $5 as five dollars; default: as in the model's training",
    )
    speak.add_argument("--show-text", action="store_true", help="print the text as it is read, and speak it")
    speak.add_argument("--language", help="code by which long texts are split into sentences; default: the model's")
    speak.add_argument("--batch-size", type=int, default=16, help="jobs spoken at a time")
    speak.add_argument(
        "--raw-weights", action="store_true", help="not the average of the weights (EMA) but the last ones"
    )
    speak.add_argument(
        "--weights", default="float32", help="float32, bfloat16, float16, or int8 (CPU): lighter ones decode faster"
    )
    speak.add_argument(
        "--compile", action="store_true", help="torch.compile for the network's blocks: a slow start, then faster steps"
    )
    speak.add_argument("--device", default="auto", help="auto (cuda where there is one), cpu, cuda, mps …")
    speak.set_defaults(run=synthesize)


def synthesize(options: argparse.Namespace) -> None:
    """Speak as asked."""
    from melle.audio import AudioWriter, save_audio
    from melle.files import check_writable
    from melle.pretrained import fetched
    from melle.synthesis.jobs import read_jobs, run_jobs
    from melle.synthesis.seeds import check_seed
    from melle.synthesis.subtitles import check_subtitles, write_subtitles

    if options.checkpoint is None:
        if not PRETRAINED.is_dir():
            raise UserError(
                f"--checkpoint is missing, and there is no {PRETRAINED}; train a model with python train.py"
            )
        options.checkpoint = str(PRETRAINED)
    if (options.prompt is None) != (options.prompt_text is None):
        raise UserError("--prompt and --prompt-text belong together: give the recording and what is said in it")
    if options.voice is not None and options.prompt is not None:
        raise UserError("--voice names a voice, --prompt a recording of another: give one of them")
    if options.retries < 0 or options.batch_size < 1:
        raise UserError("--retries must be 0 or more, and --batch-size 1 or more")
    check_seed(options.seed)
    if options.text is None and (options.best_of is not None or options.asr is not None):
        raise UserError("--best-of and --asr are for --text; leave them out")
    options.checkpoint = f"{'hf://' if options.hub and '://' not in options.checkpoint else ''}{options.checkpoint}"
    voice = {"prompt": options.prompt, "prompt_text": options.prompt_text}
    if options.prompt is None:
        voice = own_voice(options)
    if options.jobs is not None:
        if options.output is None:
            raise UserError("--jobs needs a folder to write to: give it by -o")
        if options.subtitles is not None:
            raise UserError("--subtitles is for --text and --text-file; leave it out")
        check_writable(options.output, folder=True)
        jobs = read_jobs(options.jobs, voice, options.seed, fetched(options.checkpoint))
        tts, how = make_synthesizer(options)
        show_texts(tts, [job.text for job in jobs], options.show_text)
        failed = run_jobs(tts, jobs, options.output, options.batch_size, retries=options.retries, **how)
        if failed:
            raise UserError(f"{failed} of {len(jobs)} jobs failed; {options.output / 'results.jsonl'} says why")
        return
    if options.subtitles is not None:
        check_subtitles(options.subtitles)
    output = options.output or Path("speech.wav")
    check_writable(output)
    AudioWriter(output, 1)  # raises for an ending that cannot be written before anything is spoken
    if options.text_file is not None:
        if options.retries:
            raise UserError("--retries is not for --text-file, which is written as it is spoken; use --text or --jobs")
        text = read_text(options.text_file)
        tts, how = make_synthesizer(options)
        show_texts(tts, text.splitlines(), options.show_text)
        words = read_aloud(tts, text, output, seed=options.seed, words=options.subtitles is not None, **voice, **how)
        write_subtitles(options.subtitles, words)
        return
    if options.asr is not None and options.best_of is None:
        raise UserError("--asr chooses among several: give --best-of 5, too")
    tts, how = make_synthesizer(options)
    show_texts(tts, [options.text], options.show_text)
    how |= {"seed": options.seed, "retries": options.retries, "words": options.subtitles is not None, **voice}
    if options.best_of is None:
        speech = tts(options.text, **how)
    else:
        speech = choose(tts, options, how)
    save_audio(output, speech.waveform, speech.sample_rate)
    write_subtitles(options.subtitles, speech.words)
    report(
        output,
        speech.seconds,
        speech.finish_reason,
        speech.parts,
        f", {speech.real_time_factor:.2f} × real time, {tts.vocoder.title}",
    )


def show_texts(tts: Synthesizer, texts: Sequence[str], show: bool) -> None:
    """Print texts as they are read, where that is asked for."""
    from melle.synthesis.plan import show_text

    for text in texts if show else ():
        print(show_text(text, tts.tokenizer))


def choose(tts: Synthesizer, options: argparse.Namespace, how: dict[str, Any]) -> Speech:
    """The best of several, with a line about each."""
    from melle.evaluation.judges.speaker import Resemblyzer
    from melle.evaluation.judges.whisper import Whisper
    from melle.synthesis.best_of import best_of
    from melle.synthesis.plan import find_language

    speaker = None if how["prompt"] is None else Resemblyzer()
    language = find_language(options.language, tts.tokenizer)
    normaliser = "english" if language == "en" else "basic"
    asr = None if options.asr is None else Whisper(options.asr, language=language, normaliser=normaliser)
    if speaker is None and asr is None:
        raise UserError("--best-of compares with the prompt's voice: give --prompt and --prompt-text, or --asr base")
    candidates = best_of(tts, options.text, count=options.best_of, speaker=speaker, asr=asr, **how)
    for candidate in candidates:
        like = "" if candidate.similarity is None else f", similarity {candidate.similarity:.3f}"
        wrong = "" if candidate.errors is None else f", {candidate.errors} word errors"
        speech = candidate.speech
        print(f"seed {speech.seed}: {speech.seconds:.2f} s, {speech.finish_reason}{wrong}{like}")
    return candidates[0].speech


def own_voice(options: argparse.Namespace) -> dict[str, Any]:
    """The prompt of the model's voice that was named, else of its first; none where it has no voices."""
    from melle.pretrained import fetched
    from melle.synthesis.voices import find_voice, read_voices

    model = fetched(options.checkpoint)
    options.checkpoint = str(model)  # the hub is asked once
    name = options.voice or next(iter(read_voices(model)), None)
    if name is None:
        return {"prompt": None, "prompt_text": None}
    audio, text = find_voice(model, name) if options.voice else read_voices(model)[name]
    if options.voice is None:
        print(f"voice: {name}, the model's first; choose another by --voice or --prompt")
    return {"prompt": audio, "prompt_text": text}


def make_synthesizer(options: argparse.Namespace) -> tuple[Synthesizer, dict[str, Any]]:
    """And how to speak, as arguments of a call."""
    from melle.devices import find_device
    from melle.pretrained import load_pretrained
    from melle.synthesis.synthesizer import Synthesizer
    from melle.vocoders import default_vocoder, make_vocoder

    decoding = from_fields(DecodingOptions, options)
    device = find_device(options.device)
    model = load_pretrained(options.checkpoint, average=not options.raw_weights)
    if options.vocoder == "auto":
        if options.vocoder_model:
            raise UserError("--vocoder-model is of a vocoder: give --vocoder vocos or hifigan, too")
        vocoder = default_vocoder(model.description.mel, model.vocoder)
        print(f"vocoder: {vocoder.title}, the default here; choose another by --vocoder")
    else:
        settings = {"model": options.vocoder_model} if options.vocoder_model else {}
        vocoder = make_vocoder(options.vocoder, model.description.mel, **settings)
    tts = Synthesizer(model, vocoder, device, options.weights, options.compile, options.normalise)
    return tts, {"options": decoding, "language": options.language}


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
        "length": f"; cut off at the length limit{where}; {advice}",
        "degenerate": f"; cut off where it fell silent or held one sound{where}; {advice}",
        "empty": f"; nothing in it can be heard; {advice}",
    }
    print(f"{output}: {seconds:.2f} s{more}{endings[finish_reason]}")
