"""The public interface: text and a voice in, speech out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from melle.devices import device_errors
from melle.errors import UserError
from melle.pretrained import fetched, load_pretrained
from melle.synthesis.chunking import Part, encode_text, list_texts, make_parts
from melle.synthesis.crossfade import CrossFade, join_speech, worst_reason
from melle.synthesis.options import BEST_PROMPT, DecodingOptions, derive_seed, each, make_seeds
from melle.synthesis.prompt import Prompt, Recording, Voice, as_prompt, read_beginning, read_prompt
from melle.synthesis.rendering import Renderer
from melle.synthesis.request import Request, make_request
from melle.synthesis.speech import Chunk, Speech, shifted
from melle.synthesis.voices import find_voice

ROWS = 16  # parts of long texts that are spoken at a time


class Synthesizer(Renderer):
    """Speaks with a trained model.

    Examples:
        >>> tts = Synthesizer.from_checkpoint("runs/quickstart/checkpoints/last.ckpt")   # doctest: +SKIP
        >>> speech = tts("four two", prompt="voice.wav", prompt_text="one nine")   # doctest: +SKIP
    """

    source: Path | None = None  # of the model, which may have named voices

    @classmethod
    def from_checkpoint(cls, path: str | Path, *arguments: Any, average: bool = True, **settings: Any) -> Synthesizer:
        """From a .ckpt file that training wrote, or whatever ``from_pretrained`` takes.

        ``average``: of a run with EMA take the averaged weights, else the last ones. Further arguments are the class's:
        ``vocoder``, ``device``, ``weights``, ``compile``, ``normalise``.
        """
        where = fetched(path)
        made = cls(load_pretrained(where, average), *arguments, **settings)
        made.source = where
        return made

    @classmethod
    def from_pretrained(cls, where: str | Path, *arguments: Any, **settings: Any) -> Synthesizer:
        """From a folder that ``python -m melle export`` wrote, or one on the Hugging Face hub ("hf://user/model").

        Further arguments are the class's.
        """
        return cls.from_checkpoint(where, *arguments, **settings)

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
        language: str | None = None,
        words: bool = False,
        voice: str | Sequence[str | None] | None = None,
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
            language: code, such as "en", by which long texts are split into sentences; None: the model's.
            words: find when each word is spoken, by the guided attention of a model that was trained with it.
            voice: in place of a prompt the name of a voice, saved or of the model's own ("emma").

        Raises UserError for a text, a prompt or a seed that cannot be used.
        """
        self._check_words(words)
        if retries < 0:
            raise UserError(f"retries={retries} must be 0 or more")
        started = time.perf_counter()
        texts = list_texts(text)
        seeds, options = make_seeds(seed, len(texts)), options or DecodingOptions()
        prompts = self._read_prompts(prompt, prompt_text, voice, len(texts))
        plans = [
            make_parts(text, prompt, language, options, self.description, self.network)
            for text, prompt in zip(texts, prompts)
        ]
        keys = [(number, part) for number, (parts, _) in enumerate(plans) for part in range(len(parts))]
        # Without a prompt the first part of a text decides its voice, so the others wait for it.
        later = [key for key in keys if prompts[key[0]] is None and key[1]]
        now = [key for key in keys if prompts[key[0]] is not None or not key[1]]
        leads: list[Prompt | None] = [None] * len(texts)
        spoken: dict[tuple[int, int], Speech] = {}
        size = max(len(texts), ROWS)
        for keys in (now, later):
            for batch in (keys[start : start + size] for start in range(0, len(keys), size)):
                requests = [
                    self._request(plans[number][0], part, prompts[number], leads[number], seeds[number], options)
                    for number, part in batch
                ]
                rendered = self.render(requests, options, started, retries, words)
                for (number, part), request, (speech, decoded) in zip(batch, requests, rendered):
                    spoken[number, part] = speech
                    if part == 0:
                        leads[number] = _lead(request, decoded)
        speeches = [
            join_speech([spoken[number, part] for part in range(len(parts))], pauses, self.spec, seed)
            for number, ((parts, pauses), seed) in enumerate(zip(plans, seeds))
        ]
        return speeches[0] if isinstance(text, str) else speeches

    def stream(
        self,
        text: str,
        prompt: Voice = None,
        prompt_text: str | None = None,
        options: DecodingOptions | None = None,
        seed: int | None = 0,
        language: str | None = None,
        words: bool = False,
        voice: str | None = None,
    ) -> Iterator[Chunk]:
        """Speak a text of any length, and give its sound as it comes, in bounded memory.

        The frames are those of a call with the same arguments. So are the samples, but for Griffin-Lim, which knows
        other phases, and for a voice so loud that a call would have to make it softer, which is clipped here.
        """
        self._check_words(words)
        started = time.perf_counter()
        (seed,) = make_seeds(seed, 1)
        (read,) = self._read_prompts(prompt, prompt_text, voice, 1)
        options = options or DecodingOptions()
        parts, pauses = make_parts(text, read, language, options, self.description, self.network)

        def chunks() -> Iterator[Chunk]:
            fade, lead, reasons = CrossFade(self.spec, pauses), None, []
            start = round(pauses[0] * self.spec.frame_rate)  # of the part, in frames
            given = 0  # frames
            for number in range(len(parts)):
                request = self._request(parts, number, read, lead, seed, options)
                for chunk, decoded in self.render_stream(request, options, started, words):
                    waveform, mel = fade(chunk.waveform, chunk.mel.clone(), last=decoded is not None)
                    chunk = replace(chunk, waveform=waveform, mel=mel)
                    given += len(mel)
                    if decoded is not None:
                        lead = lead or _lead(request, decoded)
                        reasons.append(chunk.finish_reason)
                        chunk = replace(
                            chunk, finish_reason=None, words=shifted(chunk.words, start / self.spec.frame_rate)
                        )
                        if len(reasons) == len(parts):
                            every = tuple(reasons) if len(parts) > 1 else ()
                            chunk = replace(chunk, finish_reason=worst_reason(reasons), parts=every)
                    yield chunk
                start = given

        return chunks()

    def continuation(
        self,
        text: str | Sequence[str],
        beginning: Recording | Sequence[Recording],
        options: DecodingOptions | None = None,
        seed: int | Sequence[int] | None = 0,
    ) -> Speech | list[Speech]:
        """Go on from where a recording breaks off, in its voice (paper §4.3, continuation); several as one batch.

        Args:
            text: of the whole utterance, the words of the recording included.
            beginning: the recording, or samples (N,) at the model's rate, of less than that; a list for several texts.
            options, seed: as in a call, but at the beginning's own speed and pace.

        Returns what comes after the beginning. Its mel follows on from the beginning's whole steps of r frames: to hear
        both without a seam, vocode them together. Raises UserError as a call does.
        """
        started = time.perf_counter()
        texts = list_texts(text)
        recordings = list(beginning) if isinstance(beginning, list | tuple) else [beginning]
        if len(recordings) != len(texts):
            raise ValueError(f"{len(texts)} texts, but {len(recordings)} beginnings")
        options = replace(options or DecodingOptions(), speed=1.0, pace=1.0)
        requests = []
        for text_, recording, seed_ in zip(texts, recordings, make_seeds(seed, len(texts))):
            with _reading_prompt():
                prompt = read_beginning(recording, self.description, self.log_mel)
            part = Part(text_, 0.0, encode_text(text_, self.tokenizer))
            requests.append(self._request([part], 0, prompt, None, seed_, options))
        speeches = [speech for speech, _ in self.render(requests, options, started)] if requests else []
        return speeches[0] if isinstance(text, str) else speeches

    def read_prompt(self, prompt: Voice, prompt_text: str | None = None) -> Prompt:
        """A prompt that is read, for many calls in one voice. Warns of what makes a bad one; raises UserError."""
        (read,) = self._read_prompts(prompt, prompt_text, None, 1)
        if read is None:
            raise UserError("there is no prompt to read: give a recording and what is said in it")
        return read

    def _request(
        self,
        parts: Sequence[Part],
        number: int,
        prompt: Prompt | None,
        lead: Prompt | None,
        seed: int,
        options: DecodingOptions,
    ) -> Request:
        """For a part of a text. ``lead``: what its first part said, where there is no prompt: it has the pace."""
        part, seed = parts[number], derive_seed(seed, "part", number)
        voice, options = prompt, options.with_defaults(self.description.decoding)
        if prompt is None and lead is not None:
            voice, options = lead, replace(options, pace=1.0)
        leads = voice is None and len(parts) > 1
        return make_request(part.text, part.tokens, voice, seed, options, self.description, self.network, leads)

    def _check_words(self, words: bool) -> None:
        if words and not self.network.guided_layers:
            raise UserError("the times of words come from guided attention, and this model was trained without it")

    def _read_prompts(
        self,
        prompt: Voice | Sequence[Voice],
        prompt_text: str | Sequence[str | None] | None,
        voice: str | Sequence[str | None] | None,
        count: int,
    ) -> list[Prompt | None]:
        """One for each text; each is read once, though many texts may be spoken in one voice."""
        known: dict[tuple[Any, ...], Prompt] = {}

        def read(prompt: Prompt) -> Prompt:
            key = (str(prompt.audio) if isinstance(prompt.audio, str | Path) else id(prompt.audio), prompt.text)
            if key not in known:
                with _reading_prompt():
                    known[key] = read_prompt(prompt, self.description, self.log_mel)
            return known[key]

        prompts = []
        given = (("prompt", prompt), ("prompt_text", prompt_text), ("voice", voice))
        for recording, text, name in zip(*(each(what, values, count) for what, values in given)):
            if name is not None:
                if recording is not None or text is not None:
                    raise UserError("voice= and prompt= both name the voice to speak in; give one of them")
                recording, text = find_voice(self.source, name)
            one = as_prompt(recording, text)
            prompts.append(one if one is None or one.mel is not None else read(one))
        return prompts


def _reading_prompt() -> AbstractContextManager[None]:
    return device_errors(torch.device("cpu"), "reading the prompt", f"cut out {BEST_PROMPT}")


def _lead(request: Request, mel: Tensor) -> Prompt:
    """What was just said, as the prompt of what follows."""
    return Prompt(None, request.text, request.tokens, mel)
