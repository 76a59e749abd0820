"""From requests to speech: frames are decoded, made as fast as asked for, and vocoded, as a batch or as they come."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from melle.audio import LogMel, within_scale
from melle.checkpoint import LoadedModel
from melle.devices import device_errors, find_device
from melle.errors import UserError
from melle.model.compiled import compile_blocks
from melle.model.prompt_correction import PromptCorrection, predicted_frames
from melle.synthesis.decoding import Frames, decode
from melle.synthesis.options import USUAL, DecodingOptions, derive_seed
from melle.synthesis.quantize import check_weights, quantize
from melle.synthesis.request import Request, prenet_dropout, teacher_forced
from melle.synthesis.speech import Chunk, Speech, Timings, Word
from melle.synthesis.word_times import ends_early, find_words
from melle.text import normalising
from melle.vocoders import Vocoder, default_vocoder

LIGHTER = "take lighter weights (--weights bfloat16) or another device (--device cpu)"  # advice
UNHEARD = 0.2  # of a prompt's frames: the first ones, predicted when little of the voice had been heard
Decoder = Callable[[Sequence[Request], DecodingOptions], Iterator[Frames]]


class Renderer:
    """Holds a network and a vocoder on a device, and speaks requests with them."""

    def __init__(
        self,
        model: LoadedModel,
        vocoder: Vocoder | None = None,
        device: str | torch.device = "auto",
        weights: str = "float32",
        compile: bool = False,
        normalise: bool | None = None,
    ):
        """
        Args:
            vocoder: None takes the model's own where it was exported with one, else ``default_vocoder``.
            device: "auto" takes a CUDA device where there is one.
            weights: "float32", "bfloat16", "float16" or, on a CPU, "int8" (see ``synthesis.quantize``). With lighter
                ones the model itself stays as it is.
            compile: compile the network's blocks in place (``torch.compile``); the first texts then wait for that. On
                a CUDA device steps are CUDA graphs with it and without it.
            normalise: read figures and abbreviations as words first ("$5" as "five dollars"), or not; None: as in the
                model's training.
        """
        self.device = find_device(device, "device=")
        check_weights(weights, self.device, compile)
        network = model.network if weights == "float32" else copy.deepcopy(model.network)
        with device_errors(self.device, "loading the model", LIGHTER):
            self.network = quantize(network.to(self.device), weights)
        self._fixed = True if compile else None  # shapes of steps: what is best for the device
        self._key = object()  # of what prompts keep for this model
        self.decoder: Decoder | None = None  # decodes in place of ``decode``, as the server's shared batch does
        if compile:
            try:
                compile_blocks(self.network)
            except RuntimeError as error:
                raise UserError(f"compile: {error}") from None
        self.tokenizer = normalising(model.description.tokenizer, normalise)
        self.description = replace(model.description, tokenizer=self.tokenizer)
        self.spec = model.description.mel
        self.log_mel = LogMel(self.spec)
        self.vocoder = (default_vocoder(self.spec, model.vocoder) if vocoder is None else vocoder).to(self.device)

    def render(
        self,
        requests: Sequence[Request],
        options: DecodingOptions,
        started: float,
        retries: int = 0,
        words: bool = False,
    ) -> list[tuple[Speech, Tensor]]:
        """Speak requests as one batch, and those that do not end by themselves again with other seeds.

        ``started``: when the call did, by ``time.perf_counter``. Returns each one's speech, and its frames (T, M) in
        log10 as they were decoded, before correction and stretching.
        """
        rendered = self._render(requests, options, started)
        for attempt in range(1, retries + 1):
            failed = [number for number, (speech, _) in enumerate(rendered) if speech.finish_reason != "stop"]
            if not failed:
                break
            seeds = [derive_seed(requests[number].seed, "attempt", attempt) for number in failed]
            again = [replace(requests[number], seed=seed) for number, seed in zip(failed, seeds)]
            for number, other in zip(failed, self._render(again, options, started)):
                if other[0].finish_reason == "stop":
                    rendered[number] = other
        if words:
            for number, (speech, decoded) in enumerate(rendered):
                said = replace(requests[number], seed=speech.seed)
                rendered[number] = replace(speech, words=self.words_of(said, decoded, options)), decoded
        return rendered

    def render_stream(
        self, request: Request, options: DecodingOptions, started: float, words: bool = False
    ) -> Iterator[tuple[Chunk, Tensor | None]]:
        """Speak one request, and give frames and samples as soon as they are final; with the last, all frames (T, M)
        as they were decoded."""
        vocode, stretch, mels = self.vocoder.stream(), Stretch(options.speed), []
        correct = None
        for frames in self._decode([request], options):
            last = frames.finish_reason is not None
            correct = correct or self._correction(request, options)  # only now: it would keep a shared batch waiting
            mel = stretch(correct(frames.mel), last)
            with self._vocoding(len(mel)):
                samples = vocode(mel.to(self.device), last).cpu()
            mels.append(frames.mel)
            chunk = Chunk(
                samples.nan_to_num(0.0).clamp(-1, 1), self.spec.sample_rate, mel, time.perf_counter() - started
            )
            if not last:
                yield chunk, None
                continue
            decoded = torch.cat(mels)
            reason = self._ending(frames.finish_reason, request, decoded)
            found = self.words_of(request, decoded, options) if words else ()
            yield replace(chunk, finish_reason=reason, words=found), decoded

    def words_of(self, request: Request, decoded: Tensor, options: DecodingOptions) -> tuple[Word, ...]:
        """When the words of what was decoded for a request are spoken, by guided attention."""
        with self._decoding([request]):
            return find_words(self.network, self.tokenizer, request, decoded, self.spec.frame_rate, options.speed)

    def _render(
        self, requests: Sequence[Request], options: DecodingOptions, started: float
    ) -> list[tuple[Speech, Tensor]]:
        mels: list[list[Tensor]] = [[] for _ in requests]
        first: dict[int, float] = {}
        rendered: dict[int, tuple[Speech, Tensor]] = {}
        vocoding = 0.0  # seconds, which the decoding of the others waits
        for row, mel, reason, stop in self._decode(requests, options):
            mels[row].append(mel)
            first.setdefault(row, time.perf_counter() - started - vocoding)
            if reason is None:
                continue
            decoded = torch.cat(mels[row])
            corrected, done = self._correction(requests[row], options)(decoded), time.perf_counter()
            reason = self._ending(reason, requests[row], decoded)
            mel = Stretch(options.speed)(corrected, last=True)
            with self._vocoding(len(mel)):
                waveform = self.vocoder(mel.to(self.device)).cpu().nan_to_num(0.0)
            took = time.perf_counter() - done
            speech = Speech(
                waveform=within_scale(waveform),
                sample_rate=self.spec.sample_rate,
                mel=mel,
                stop=stop.clone(),
                finish_reason=reason,
                seed=requests[row].seed,
                timings=Timings(first[row], done - started - vocoding, took),
            )
            rendered[row] = speech, decoded
            vocoding += took
        return [rendered[row] for row in range(len(requests))]

    def _ending(self, reason: str, request: Request, decoded: Tensor) -> str:
        """Why speech ended: a stop before the end of the text is "unfinished"."""
        if reason == "stop" and self.network.guided_layers:
            with self._decoding([request]):
                return "unfinished" if ends_early(self.network, request, decoded) else reason
        return reason

    def _decode(self, requests: Sequence[Request], options: DecodingOptions) -> Iterator[Frames]:
        options = options.with_defaults(self.description.decoding)
        for name, how in self.description.unsupported().items():
            if (value := getattr(options, name)) != USUAL[name]:
                raise UserError(f"{name}={value:g}: this model was trained {how}; give {USUAL[name]:g}")
        with self._decoding(requests):
            if self.decoder is not None:
                yield from self.decoder(requests, options)
            else:
                yield from decode(self.network, requests, options, self.spec.frame_rate, self._fixed)

    def _correction(self, request: Request, options: DecodingOptions) -> Callable[[Tensor], Tensor]:
        """What frames of a request go through after they were decoded, ``PromptCorrection`` where it is asked for.

        Only where the prompt is a recording with a text: what the model itself has said before has nothing to teach.
        """
        share, prompt = options.with_defaults(self.description.decoding).prompt_correction, request.prompt
        if not share or prompt is None or prompt.audio is None or not prompt.tokens:
            return lambda mel: mel
        true = prompt.mel[: len(prompt.mel) - prompt.pause]
        # The same whatever is said in a voice, so that it can be kept: without the request's own text, pace and seed.
        alone = replace(request, tokens=prompt.tokens, prompt=None, pace=1.0, seed=0)
        read = hashlib.sha256(repr(prompt.tokens).encode() + true.numpy().tobytes()).digest()
        key = self._key, read, prenet_dropout(self.network, alone)
        made = prompt.known.get(key)
        if made is None:
            with self._decoding([alone]):
                predicted = predicted_frames(self.network, teacher_forced(self.network, alone, true))[0].cpu()
            heard = int(UNHEARD * len(true))
            made = prompt.known[key] = PromptCorrection(predicted[heard:], true[heard:])
        return partial(made, share=share)

    def _decoding(self, requests: Sequence[Request]) -> AbstractContextManager[None]:
        tokens = max(sum(map(len, request.segments)) for request in requests)
        what = f"decoding {len(requests)} texts at a time, up to {tokens} tokens with their prompts',"
        advice = "give fewer at a time (--batch-size), a shorter prompt, or lighter weights (--weights bfloat16)"
        return device_errors(self.device, what, advice)

    def _vocoding(self, frames: int) -> AbstractContextManager[None]:
        seconds = frames / self.spec.frame_rate
        return device_errors(self.device, f"the vocoder makes {seconds:.1f} s of sound", LIGHTER)


class Stretch:
    """Frames that come piece by piece, ``speed`` times as fast, by linear interpolation in log10 between two of them.

    A band of a mel frame is a frequency, whatever the time: the vocoder then speaks faster at the same pitch. At speed
    1 frames pass as they are.
    """

    def __init__(self, speed: float):
        self.speed = speed
        self._left: Tensor | None = None  # frames from which the next one is taken
        # Counts from the beginning: places that were added up would round otherwise than those of the whole.
        self._before, self._made = 0, 0  # frames read before those that are left; made

    def __call__(self, mel: Tensor, last: bool) -> Tensor:
        """The next frames (T', M), given the next (T, M); ``last``: there are no more."""
        if self.speed == 1:
            return mel
        if self._left is not None:
            mel = torch.cat((self._left, mel))
        if not len(mel):
            return mel
        # All places up to the last frame that is known; at the end that frame stands for what would follow.
        end = self._before + len(mel) - (0 if last else 1)
        stop = max(self._made, math.ceil(end / self.speed))
        places = self.speed * torch.arange(self._made, stop, dtype=torch.float64) - self._before
        low = places.floor().long().clamp(max=len(mel) - 1)
        high = (low + 1).clamp(max=len(mel) - 1)
        made = torch.lerp(mel[low], mel[high], (places - low).to(mel.dtype)[:, None])
        drop = min(int(self.speed * stop - self._before), len(mel) - 1)  # one stays for what rounding may ask for
        self._left, self._before, self._made = mel[drop:], self._before + drop, stop
        return made
