"""The public interface: text and a voice in, speech out."""

from __future__ import annotations

import secrets
import time
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor, nn

from melle.audio import LogMel, speech_level
from melle.checkpoint import LoadedModel, load_model
from melle.errors import UserError
from melle.synthesis.decoding import Piece, Row, decode
from melle.synthesis.guards import DecodingOptions
from melle.synthesis.prompt import Prompt, ReadPrompt, read_prompt
from melle.synthesis.speech import Speech, Timings
from melle.synthesis.vocoder import GriffinLim

# Beyond what 98 of 100 utterances of the training data have, speech may be shorter or longer by these factors.
SHORTER, LONGER = 0.8, 1.25

Voice = Prompt | str | Path | Tensor | None  # a prompt, or its recording


class Synthesizer:
    """Speaks with a trained model.

    >>> tts = Synthesizer.from_checkpoint("runs/quickstart/checkpoints/last.ckpt")   # doctest: +SKIP
    >>> speech = tts("four two", prompt="voice.wav", prompt_text="one nine")   # doctest: +SKIP
    """

    def __init__(self, model: LoadedModel, vocoder: nn.Module | None = None, device: str | torch.device = "cpu"):
        self.device = torch.device(device)
        self.network = model.network.to(self.device)
        self.description = model.description
        self.tokenizer = model.description.tokenizer
        self.spec = model.description.mel
        self.log_mel = LogMel(self.spec)
        self.vocoder = (vocoder or GriffinLim(self.spec)).to(self.device)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        vocoder: nn.Module | None = None,
        device: str | torch.device = "cpu",
        average: bool = True,
    ) -> Synthesizer:
        """``average``: of a run with EMA take the averaged weights, else the last ones."""
        return cls(load_model(path, average), vocoder, device)

    @overload
    def __call__(self, text: str, *arguments: Any, **options: Any) -> Speech: ...

    @overload
    def __call__(self, text: Sequence[str], *arguments: Any, **options: Any) -> list[Speech]: ...

    def __call__(
        self,
        text: str | Sequence[str],
        prompt: Voice | Sequence[Voice] = None,
        prompt_text: str | Sequence[str | None] | None = None,
        options: DecodingOptions | None = None,
        seed: int | Sequence[int] | None = 0,
        retries: int = 0,
    ) -> Speech | list[Speech]:
        """Speak a text, or several as one batch.

        Args:
            text: one, or a list, for which the other arguments may be lists too.
            prompt: the voice: a recording (any format and sample rate), samples (N,) at the model's rate, or a
                ``Prompt``, which has its text; None: a voice of the model's choosing, which the seed decides.
            prompt_text: what is said in the recording.
            options: of decoding.
            seed: the same one says the same text the same way, whatever else is in the batch; None draws one.
            retries: how often an utterance that did not end by itself is tried again with another seed. If none of them
                does, the first is returned.

        Raises UserError for a text or a prompt that cannot be used.
        """
        begun = time.perf_counter()
        texts = [text] if isinstance(text, str) else list(text)
        seeds = _each("seed", seed, len(texts))
        seeds = [secrets.randbits(32) if seed is None else seed for seed in seeds]
        prompts = self._read_prompts(prompt, prompt_text, len(texts))
        options = options or DecodingOptions()
        rows = [self._row(*what, options) for what in zip(texts, prompts, seeds)]
        speeches = self._speak(rows, options, begun)
        for attempt in range(1, retries + 1):
            again = [number for number, speech in enumerate(speeches) if speech.finish_reason != "stop"]
            if not again:
                break
            other = [self._row(texts[n], prompts[n], another_seed(seeds[n], attempt), options) for n in again]
            for number, speech in zip(again, self._speak(other, options, begun)):
                if speech.finish_reason == "stop":
                    speeches[number] = speech
        return speeches[0] if isinstance(text, str) else speeches

    def _speak(self, rows: Sequence[Row], options: DecodingOptions, begun: float) -> list[Speech]:
        pieces: list[list[Piece]] = [[] for _ in rows]
        speeches: list[Speech | None] = [None] * len(rows)
        first: dict[int, float] = {}
        for piece in decode(self.network, rows, options, self.spec.frame_rate):
            pieces[piece.row].append(piece)
            first.setdefault(piece.row, time.perf_counter() - begun)
            if piece.ending is None:
                continue
            mel = torch.cat([part.mel for part in pieces[piece.row]])
            done = time.perf_counter()
            waveform = self.vocoder(mel.to(self.device)).cpu()
            timings = Timings(first[piece.row], done - begun, time.perf_counter() - done)
            speeches[piece.row] = Speech(
                waveform,
                self.spec.sample_rate,
                mel,
                piece.ending.stop,
                piece.ending.reason,
                rows[piece.row].seed,
                timings,
            )
        return [speech for speech in speeches if speech is not None]

    def _row(self, text: str, prompt: ReadPrompt | None, seed: int, options: DecodingOptions) -> Row:
        tokens = self._encode(text)
        shortest, longest = self.description.length_range
        pace, level = self.description.frames_per_token, self.description.speech_level
        segments, mel = [tokens], torch.zeros(0, self.spec.n_mels)
        if prompt is not None:
            segments, mel = [prompt.tokens, tokens], prompt.mel
            # A prompt with long silences, or with a wrong text, has a pace that nobody speaks at.
            pace = min(max(len(mel) / len(prompt.tokens), pace * shortest), pace * longest)
            level = speech_level(mel)
        self._check_length(sum(map(len, segments)) + 1, len(mel) // self.network.reduction_factor)
        expected = len(tokens) * pace / self.network.reduction_factor
        least = shortest * SHORTER if options.min_length is None else options.min_length
        most = longest * LONGER if options.max_length is None else options.max_length
        return Row(segments, mel, expected * least, expected * most, level, seed)

    def _encode(self, text: str) -> list[int]:
        if text.strip() and not any(unicodedata.category(character)[0] in "LN" for character in text):
            raise UserError(f"the text {text[:40]!r} holds nothing to say; give at least one word")
        return self.tokenizer.encode(text)

    def _check_length(self, tokens: int, prompt_steps: int) -> None:
        if self.network.longest is None:
            return
        most_tokens, most_steps = self.network.longest
        if tokens > most_tokens:
            raise UserError(
                f"text and prompt text have {tokens} tokens, the model takes {most_tokens}; shorten the text"
            )
        if prompt_steps >= most_steps:
            raise UserError(f"the prompt has {prompt_steps} mel steps, the model takes {most_steps - 1}; shorten it")

    def _read_prompts(
        self, prompt: Voice | Sequence[Voice], prompt_text: str | Sequence[str | None] | None, count: int
    ) -> list[ReadPrompt | None]:
        """Each once, though many texts may be spoken in one voice."""
        known: dict[tuple[Any, ...], ReadPrompt] = {}
        prompts: list[ReadPrompt | None] = []
        for voice, text in zip(_each("prompt", prompt, count), _each("prompt_text", prompt_text, count)):
            if voice is None:
                if text is not None:
                    raise UserError("prompt and prompt_text belong together: give the recording, too")
                prompts.append(None)
                continue
            if not isinstance(voice, Prompt):
                voice = Prompt(voice, text or "")
            key = (id(voice.audio) if isinstance(voice.audio, Tensor) else str(voice.audio), voice.text)
            if key not in known:
                known[key] = read_prompt(voice, self.tokenizer, self.log_mel, self.network.reduction_factor)
            prompts.append(known[key])
        return prompts


def another_seed(seed: int, number: int) -> int:
    """The seed of attempt or candidate ``number``; of number 0 it is ``seed`` itself."""
    return seed if number == 0 else zlib.crc32(f"{seed} {number}".encode())


def _each(name: str, value: Any, count: int) -> list[Any]:
    """One value for every text, or as many values as texts."""
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{count} texts, but {len(value)} values of {name}")
    return list(value)
