"""The public interface: text and a voice in, speech out."""

from __future__ import annotations

import copy
import operator
import secrets
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from melle.audio import LogMel, speech_level
from melle.checkpoint import LoadedModel
from melle.errors import UserError
from melle.pretrained import load_pretrained
from melle.synthesis.decoding import Piece, Row, decode
from melle.synthesis.guards import DecodingOptions
from melle.synthesis.joining import Joints, join, worst
from melle.synthesis.parts import split_text
from melle.synthesis.prompt import Prompt, ReadPrompt, read_prompt, read_voice
from melle.synthesis.speech import Chunk, Speech, Timings
from melle.synthesis.weights import check_weights, lighten
from melle.text import marks_of
from melle.text.base import is_speakable
from melle.vocoders import Vocoder
from melle.vocoders.choice import default_vocoder
from melle.vocoders.neural import NeuralVocoder

# Beyond what 98 of 100 utterances of the training data have, speech may be shorter or longer by these factors.
SHORTER, LONGER = 0.8, 1.25
MOST_TOKENS = 300  # of a text spoken at once, where the training data's longest is not known
ROWS = 16  # parts of long texts that are spoken at a time

Voice = Prompt | str | Path | Tensor | np.ndarray | None  # a prompt, or its recording


class Part(NamedTuple):
    """A text that fits, and how to say it."""

    text: str
    prompt: ReadPrompt | None
    seed: int
    leads: bool = False  # whether it becomes the prompt of the parts after it


class Synthesizer:
    """Speaks with a trained model.

    >>> tts = Synthesizer.from_checkpoint("runs/quickstart/checkpoints/last.ckpt")   # doctest: +SKIP
    >>> speech = tts("four two", prompt="voice.wav", prompt_text="one nine")   # doctest: +SKIP
    """

    def __init__(
        self,
        model: LoadedModel,
        vocoder: Vocoder | None = None,
        device: str | torch.device = "cpu",
        weights: str = "float32",
        compile: bool = False,
    ):
        """
        Args:
            vocoder: None takes the model's own where it was exported with one, else ``default_vocoder``.
            weights: "float32", "bfloat16", "float16" or, on a CPU, "int8" (see ``melle.synthesis.weights``). With
                lighter ones the model itself stays as it is.
            compile: compile the network's blocks in place (``torch.compile``); the first texts then wait for that. On
                a CUDA device steps are CUDA graphs with it and without it.
        """
        self.device = torch.device(device)
        check_weights(weights, self.device, compile)
        network = model.network if weights == "float32" else copy.deepcopy(model.network)
        self.network = lighten(network.to(self.device), weights)
        self._fixed = True if compile else None  # shapes of steps: what is best for the device
        if compile:
            try:
                self.network.compile_blocks()
            except RuntimeError as error:
                raise UserError(f"compile: {error}") from None
        self.description = model.description
        self.tokenizer = model.description.tokenizer
        self._marks = marks_of(self.tokenizer)
        self.spec = model.description.mel
        self.log_mel = LogMel(self.spec)
        if vocoder is None:
            own = model.vocoder
            vocoder = default_vocoder(self.spec) if own is None else NeuralVocoder(self.spec, own)
        self.vocoder = vocoder.to(self.device)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        vocoder: Vocoder | None = None,
        device: str | torch.device = "cpu",
        average: bool = True,
        weights: str = "float32",
        compile: bool = False,
    ) -> Synthesizer:
        """From a .ckpt file that training wrote, or whatever ``from_pretrained`` takes.

        ``average``: of a run with EMA take the averaged weights, else the last ones.
        """
        return cls(load_pretrained(path, average), vocoder, device, weights, compile)

    @classmethod
    def from_pretrained(
        cls,
        where: str | Path,
        vocoder: Vocoder | None = None,
        device: str | torch.device = "cpu",
        weights: str = "float32",
        compile: bool = False,
    ) -> Synthesizer:
        """From a folder that ``python -m melle export`` wrote, or one on the Hugging Face hub ("user/model")."""
        return cls(load_pretrained(where), vocoder, device, weights, compile)

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
        language: str = "en",
    ) -> Speech | list[Speech]:
        """Speak a text, or several as one batch.

        A text longer than any of the training data is spoken in parts, sentence by sentence, in one voice: the
        prompt's, or that of its first part.

        Args:
            text: one, or a list, for which the other arguments may be lists too.
            prompt: the voice: a recording (any format and sample rate), samples (N,) at the model's rate, or a
                ``Prompt``, which has its text; None: a voice of the model's choosing, which the seed decides.
            prompt_text: what is said in the recording.
            options: of decoding.
            seed: the same one says the same text the same way, whatever else is in the batch (to rounding; lighter
                weights round enough that a frame may become another); None draws one.
            retries: how often an utterance that did not end by itself is tried again with another seed. If none of them
                does, the first is returned. Of a long text it is each part that is tried again.
            language: code, such as "en", by which long texts are split into sentences.

        Raises UserError for a text, a prompt or a seed that cannot be used.
        """
        if retries < 0:
            raise UserError(f"retries={retries} must be 0 or more")
        begun = time.perf_counter()
        texts = [text] if isinstance(text, str) else list(text)
        seeds = _seeds(seed, len(texts))
        prompts = self._read_prompts(prompt, prompt_text, len(texts))
        options = options or DecodingOptions()
        parts = [self._split(text, prompt, language) for text, prompt in zip(texts, prompts)]
        jobs: list[Part] = []
        # Without a prompt the first part of a text decides its voice, so the others wait for it: by number, for which.
        waiting: dict[int, int] = {}
        for of_text, prompt, seed in zip(parts, prompts, seeds):
            first = len(jobs)
            for number, part in enumerate(of_text):
                if prompt is None and number:
                    waiting[first + number] = first
                leads = prompt is None and number == 0 and len(of_text) > 1
                jobs.append(Part(part, prompt, another_seed(seed, "part", number), leads))
        now = [number for number in range(len(jobs)) if number not in waiting]
        spoken: dict[int, Speech] = {}
        for numbers in (now, list(waiting)):
            size = max(len(texts), ROWS)
            for chosen in (numbers[start : start + size] for start in range(0, len(numbers), size)):
                batch = []
                for number in chosen:
                    job = jobs[number]
                    if number in waiting:
                        first = waiting[number]
                        job = job._replace(prompt=self._carry(jobs[first], spoken[first]))
                    batch.append(job)
                spoken.update(zip(chosen, self._speak_surely(batch, options, retries, begun)))
        every = iter(spoken[number] for number in range(len(jobs)))
        speeches = [join([next(every) for _ in of_text], self.spec, seed) for of_text, seed in zip(parts, seeds)]
        return speeches[0] if isinstance(text, str) else speeches

    def stream(
        self,
        text: str,
        prompt: Voice = None,
        prompt_text: str | None = None,
        options: DecodingOptions | None = None,
        seed: int | None = 0,
        language: str = "en",
    ) -> Iterator[Chunk]:
        """Speak a text of any length, and give its sound as it comes, in bounded memory.

        The frames are those of a call with the same arguments. So are the samples, but for Griffin-Lim, which knows
        other phases, and for a voice so loud that a call would have to make it softer, which is clipped here.
        """
        begun = time.perf_counter()
        (seed,) = _seeds(seed, 1)
        (voice,) = self._read_prompts(prompt, prompt_text, 1)
        parts = self._split(text, voice, language)
        return self._stream(parts, voice, options or DecodingOptions(), seed, begun)

    def continuation(
        self,
        text: str | Sequence[str],
        beginning: str | Path | Tensor | np.ndarray | Sequence[str | Path | Tensor | np.ndarray],
        options: DecodingOptions | None = None,
        seed: int | Sequence[int] | None = 0,
    ) -> Speech | list[Speech]:
        """Go on from where a recording breaks off, in its voice (paper §4.3, continuation); several as one batch.

        Args:
            text: of the whole utterance, the words of the recording included.
            beginning: the recording, or samples (N,) at the model's rate, of less than that; a list for several texts.
            options, seed: as in a call.

        Returns what comes after the beginning. Its mel follows on from the beginning's whole steps of r frames: to hear
        both without a seam, vocode them together. Raises UserError as a call does.
        """
        begun = time.perf_counter()
        texts = [text] if isinstance(text, str) else list(text)
        voices = [read_voice(one, self.log_mel, self.network.reduction_factor) for one in _as_list(beginning)]
        if len(voices) != len(texts):
            raise ValueError(f"{len(texts)} texts, but {len(voices)} beginnings")
        jobs = [Part(*job) for job in zip(texts, [ReadPrompt([], mel) for mel in voices], _seeds(seed, len(texts)))]
        speeches = self._speak(jobs, options or DecodingOptions(), begun) if jobs else []
        return speeches[0] if isinstance(text, str) else speeches

    def _stream(
        self, parts: list[str], voice: ReadPrompt | None, options: DecodingOptions, seed: int, begun: float
    ) -> Iterator[Chunk]:
        joints, reasons = Joints(self.spec, len(parts)), []
        for number, part in enumerate(parts):
            job = Part(part, voice, another_seed(seed, "part", number), voice is None and len(parts) > 1)
            vocode, mels = self.vocoder.stream(), []
            for piece in self._decode([self._row(job, options)], options):
                last = piece.ending is not None
                samples = vocode(piece.mel.to(self.device), last).cpu()
                waveform = joints(samples.nan_to_num(0.0).clamp(-1, 1), last)
                mel = joints.frames(piece.mel.clone(), last)
                if voice is None and len(parts) > 1:
                    mels.append(piece.mel)
                reasons += [piece.ending.reason] if piece.ending is not None else []
                elapsed, end = time.perf_counter() - begun, last and number == len(parts) - 1
                ending = (worst(reasons), tuple(reasons) if len(parts) > 1 else ()) if end else (None, ())
                yield Chunk(waveform, self.spec.sample_rate, mel, elapsed, *ending)
            if mels:
                voice = ReadPrompt(self._encode(part), torch.cat(mels))

    def _speak_surely(self, jobs: Sequence[Part], options: DecodingOptions, retries: int, begun: float) -> list[Speech]:
        speeches = self._speak(jobs, options, begun)
        for attempt in range(1, retries + 1):
            again = [number for number, speech in enumerate(speeches) if speech.finish_reason != "stop"]
            if not again:
                break
            other = [
                jobs[number]._replace(seed=another_seed(jobs[number].seed, "attempt", attempt)) for number in again
            ]
            for number, speech in zip(again, self._speak(other, options, begun)):
                if speech.finish_reason == "stop":
                    speeches[number] = speech
        return speeches

    def _speak(self, jobs: Sequence[Part], options: DecodingOptions, begun: float) -> list[Speech]:
        rows = [self._row(job, options) for job in jobs]
        pieces: list[list[Piece]] = [[] for _ in rows]
        first: dict[int, float] = {}
        speeches: dict[int, Speech] = {}
        vocoding = 0.0  # seconds, which the decoding of the others waits
        for piece in self._decode(rows, options):
            row = piece.row
            pieces[row].append(piece)
            first.setdefault(row, time.perf_counter() - begun - vocoding)
            if piece.ending is None:
                continue
            mel, done = torch.cat([part.mel for part in pieces[row]]), time.perf_counter()
            waveform = self.vocoder(mel.to(self.device)).cpu().nan_to_num(0.0)
            took = time.perf_counter() - done
            speeches[row] = Speech(
                waveform=waveform / waveform.abs().max().clamp(min=1),
                sample_rate=self.spec.sample_rate,
                mel=mel,
                stop=piece.ending.stop.clone(),
                finish_reason=piece.ending.reason,
                seed=jobs[row].seed,
                timings=Timings(first[row], done - begun - vocoding, took),
            )
            vocoding += took
        return [speeches[row] for row in range(len(rows))]

    def _decode(self, rows: Sequence[Row], options: DecodingOptions) -> Iterator[Piece]:
        return decode(self.network, rows, options, self.spec.frame_rate, self._fixed)

    def _row(self, job: Part, options: DecodingOptions) -> Row:
        tokens, prompt = self._encode(job.text), job.prompt
        shortest, longest = self.description.length_range
        pace, level = self.description.frames_per_token, self.description.speech_level
        segments, mel = [tokens], torch.zeros(0, self.spec.n_mels)
        given = 0  # steps of the text that are there already
        if prompt is not None:
            mel, level = prompt.mel, speech_level(prompt.mel)
            if prompt.tokens:
                segments = [prompt.tokens, tokens]
                # A prompt with long silences, or with a wrong text, has a pace that nobody speaks at.
                pace = min(max(len(mel) / len(prompt.tokens), pace * shortest), pace * longest)
            else:
                given = len(mel) // self.network.reduction_factor
        self._check_length(sum(map(len, segments)) + self._marks.count, len(mel) // self.network.reduction_factor)
        expected = len(tokens) * pace / self.network.reduction_factor
        least = shortest * SHORTER if options.min_length is None else options.min_length
        most = longest * LONGER if options.max_length is None else options.max_length
        latest = expected * most - given
        if job.leads and self.network.max_positions is not None:
            latest = min(latest, self.network.max_positions[1] // 2)  # and leaves room for them
        return Row(segments, mel, expected * least - given, latest, level, job.seed, self._marks)

    def _encode(self, text: str) -> list[int]:
        if text.strip() and not is_speakable(text):
            raise UserError(f"the text {text[:40]!r} holds nothing to say; give at least one word")
        return self.tokenizer.encode(text)

    def _split(self, text: str, prompt: ReadPrompt | None, language: str) -> list[str]:
        tokens = self._encode(text)
        most = self.description.most_tokens or MOST_TOKENS
        before = self._marks.count + (0 if prompt is None else len(prompt.tokens))
        if self.network.max_positions is not None:
            most = min(most, self.network.max_positions[0] - before)
        if len(tokens) <= most:
            return [text]
        if most < 1:
            self._check_length(before + len(tokens), 0)
        if prompt is None and self.network.max_positions is not None:
            most = min(
                most, (self.network.max_positions[0] - self._marks.count) // 2
            )  # for the first part is the prompt of the others
        parts = split_text(text, lambda part: self._count(part) <= most, language)
        for part in parts:
            self._check_length(before + self._count(part), 0)
        return parts

    def _count(self, part: str) -> int:
        """Its tokens. What cannot be spoken alone, such as a dash, may have none of its own."""
        try:
            return len(self.tokenizer.encode(part))
        except UserError:
            if is_speakable(part):
                raise
            return len(part)

    def _carry(self, job: Part, speech: Speech) -> ReadPrompt:
        """What was just said, as the prompt of what follows."""
        return ReadPrompt(self._encode(job.text), speech.mel)

    def _check_length(self, tokens: int, prompt_steps: int) -> None:
        if self.network.max_positions is None:
            return
        most_tokens, most_steps = self.network.max_positions
        if tokens > most_tokens:
            raise UserError(
                f"text and prompt text have {tokens} tokens, the model takes {most_tokens}; shorten the prompt"
            )
        if prompt_steps >= most_steps:
            raise UserError(f"the prompt has {prompt_steps} mel steps, the model takes {most_steps - 1}; shorten it")

    def _read_prompts(
        self, prompt: Voice | Sequence[Voice], prompt_text: str | Sequence[str | None] | None, count: int
    ) -> list[ReadPrompt | None]:
        """Each once, though many texts may be spoken in one voice."""
        known: dict[tuple[Any, ...], ReadPrompt] = {}
        prompts: list[ReadPrompt | None] = []
        for voice, text in zip(each("prompt", prompt, count), each("prompt_text", prompt_text, count)):
            if voice is None:
                if text is not None:
                    raise UserError("prompt and prompt_text belong together: give the recording, too")
                prompts.append(None)
                continue
            if not isinstance(voice, Prompt):
                voice = Prompt(voice, text or "")
            elif text is not None and text != voice.text:
                raise UserError("the prompt has a text of its own; leave prompt_text out")
            given = isinstance(voice.audio, Tensor | np.ndarray)
            key = (id(voice.audio) if given else str(voice.audio), voice.text)
            if key not in known:
                known[key] = read_prompt(voice, self.tokenizer, self.log_mel, self.network.reduction_factor)
            prompts.append(known[key])
        return prompts


def another_seed(seed: int, what: str, number: int) -> int:
    """The seed of part, attempt or candidate ``number``; of number 0 it is ``seed`` itself."""
    return seed if number == 0 else zlib.crc32(f"{seed} {what} {number}".encode())


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _seeds(seed: int | Sequence[int] | None, count: int) -> list[int]:
    seeds = [secrets.randbits(32) if seed is None else operator.index(seed) for seed in each("seed", seed, count)]
    for seed in seeds:
        check_seed(seed)
    return seeds


def check_seed(seed: int) -> None:
    """Raises UserError for a seed that torch's generators cannot take."""
    if not 0 <= seed < 2**63:
        raise UserError(f"seed={seed} must be 0 or more and below 2^63")


def each(name: str, value: Any, count: int) -> list[Any]:
    """One value for every text, or as many values as texts."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{count} texts, but {len(value)} values of {name}")
    return list(value)
