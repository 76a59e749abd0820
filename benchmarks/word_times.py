"""How well the times of words are found: recordings whose words' times are known, read as if the model had spoken them.

    python -m benchmarks.word_times --checkpoint data/pretrained --manifest data/english/test.jsonl

Every recording is prompted by another of its speaker. Prints the errors of begins and ends against the manifest's
``words``, in milliseconds. A recognition of what a model says itself would add its own errors; this does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import run_benchmark
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.options import option
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt, read_beginning
from melle.synthesis.request import make_request
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.words import find_words


@dataclass
class WordTimes:
    """The options of this benchmark."""

    checkpoint: str = option(..., "a .ckpt file of train.py, or a folder of export")
    manifest: Path = option(..., "JSONL with speakers and words")
    utterances: int = option(60, "at most")

    def run(self) -> None:
        """Print the errors."""
        torch.set_num_threads(1)
        tts = Synthesizer.from_checkpoint(self.checkpoint, device="cpu")
        utterances = [each for each in read_manifest(self.manifest) if each.words]
        begins, ends = [], []
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
        if not begins:
            raise UserError(f"{self.manifest}: no two utterances of a speaker have words; add them by melle align")
        for name, errors in (("begins", np.array(begins)), ("ends", np.array(ends)), ("both", np.array(begins + ends))):
            sizes = np.abs(errors)
            print(
                f"{name}: {len(sizes)} words' edges, median error {np.median(sizes):.0f} ms, "
                f"mean {sizes.mean():.0f} ms, 90 % within {np.quantile(sizes, 0.9):.0f} ms, "
                f"median shift {np.median(errors):+.0f} ms"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m benchmarks.word_times``; returns the exit status."""
    return run_benchmark(WordTimes, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
