"""How well the times of words are found: recordings whose words' times are known, read as if the model had spoken them.

    python -m benchmarks.word_times --checkpoint data/pretrained --manifest data/english/test.jsonl

Every recording is prompted by another of its speaker. Prints the errors of begins and ends against the manifest's
``words``, in milliseconds.

With ``--asr`` the model says the same sentences itself, too, and its times are compared with those that Whisper gives
its words (those that it writes alike). Whisper's own times are coarse: how far the known ones of the recordings lie
from them is printed beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import run_benchmark
from melle.audio import load_audio, resample
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.options import option
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt, read_beginning
from melle.synthesis.request import make_request
from melle.synthesis.speech import Word
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.word_times import find_words


@dataclass
class WordTimes:
    checkpoint: str = option(..., "a .ckpt file of train.py, or a folder of export")
    manifest: Path = option(..., "JSONL with speakers and words")
    utterances: int = option(60, "at most")
    asr: str | None = option(None, "Whisper's size or folder, to compare what the model says itself with")

    def run(self) -> None:
        """Print the errors."""
        torch.set_num_threads(1)
        tts = Synthesizer.from_checkpoint(self.checkpoint, device="cpu")
        utterances = [each for each in read_manifest(self.manifest) if each.words]
        whisper = None if self.asr is None else open_whisper(self.asr)
        begins, ends = [], []
        kinds = ("own begins", "own ends", "known begins", "known ends")
        of_whisper: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number, utterance in enumerate(utterances[: self.utterances]):
            others = [each for each in utterances if each.speaker == utterance.speaker and each.id != utterance.id]
            if not others:
                continue
            other = others[number % len(others)]
            prompt = tts.read_prompt(Prompt(other.audio_path, other.transcription))
            mel = read_beginning(utterance.audio_path, tts.description, tts.log_mel).mel
            tokens = tts.tokenizer.encode(utterance.transcription)
            request = make_request(
                utterance.transcription, tokens, prompt, 0, DecodingOptions(), tts.description, tts.network
            )
            found = find_words(tts.network, tts.tokenizer, request, mel, tts.spec.frame_rate)
            if len(found) == len(utterance.words):
                begins += [1000 * (word.start - known[0]) for word, known in zip(found, utterance.words)]
                ends += [1000 * (word.end - known[1]) for word, known in zip(found, utterance.words)]
                if whisper is not None:
                    speech = tts(utterance.transcription, prompt, words=True)
                    known_words = [Word(word.word, *times) for word, times in zip(found, utterance.words)]
                    sound = load_audio(utterance.audio_path, tts.spec.sample_rate)
                    for what, samples, words in (("own", speech.waveform, speech.words), ("known", sound, known_words)):
                        for word, start, end in recognised(whisper, samples, tts.spec.sample_rate, words):
                            of_whisper[f"{what} begins"].append(1000 * (word.start - start))
                            of_whisper[f"{what} ends"].append(1000 * (word.end - end))
        if not begins:
            raise UserError(f"{self.manifest}: no two utterances of a speaker have words; add them by melle align")
        report = {"begins": begins, "ends": ends, "both": begins + ends}
        report |= {f"{name} against Whisper's": errors for name, errors in of_whisper.items() if errors}
        for name, errors in ((name, np.array(errors)) for name, errors in report.items()):
            sizes = np.abs(errors)
            print(
                f"{name}: {len(sizes)} words' edges, median error {np.median(sizes):.0f} ms, "
                f"mean {sizes.mean():.0f} ms, 90 % within {np.quantile(sizes, 0.9):.0f} ms, "
                f"median shift {np.median(errors):+.0f} ms"
            )


def open_whisper(model: str) -> Any:
    """A model of faster-whisper. Raises UserError where the package is missing."""
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        raise UserError('--asr needs: python -m pip install -e ".[eval]"') from None
    return WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=1)


def recognised(whisper: Any, waveform: Tensor, rate: int, words: Sequence[Word]) -> Iterator[tuple[Word, float, float]]:
    """The words that are heard as they are written, with Whisper's begin and end."""
    samples = resample(waveform, rate, 16000).numpy()
    segments, _ = whisper.transcribe(samples, language="en", word_timestamps=True, beam_size=1)
    found = [word for segment in segments for word in segment.words]
    plain = [["".join(filter(str.isalnum, text)).lower() for text in texts] for texts in (
        [word.word for word in words], [word.word for word in found],
    )]  # fmt: skip
    for a, b, size in SequenceMatcher(None, *plain, autojunk=False).get_matching_blocks():
        for n in range(size):
            yield words[a + n], found[b + n].start, found[b + n].end


main = partial(run_benchmark, WordTimes)

if __name__ == "__main__":
    raise SystemExit(main())
