"""What is scored: the recordings, the recordings through mel and each vocoder, and models that speak the same texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from melle.audio import LogMel, MelSpec, load_audio
from melle.errors import UserError
from melle.evaluation.checkpoints import Checkpoint
from melle.evaluation.dependencies import package_versions, source_digest
from melle.evaluation.protocols import Case
from melle.files import file_stamp
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt, read_voice
from melle.synthesis.seeds import another_seed
from melle.synthesis.speech import Speech
from melle.synthesis.synthesizer import Synthesizer
from melle.vocoders import Vocoder, make_vocoder

RECORDINGS = "recordings"
PROMPTS = "prompts"
DIGITS = 6  # decimals kept of a distance
CODE = {  # our own source that changes what a system gives
    "recordings": ("melle.audio", "melle.evaluation.systems"),
    "vocoder": ("melle.vocoders",),
    "model": ("melle.model", "melle.synthesis", "melle.text"),
}


@dataclass(frozen=True)
class Output:
    """Audio of a system for one case: samples (N,), the first ``begins`` of which it was given."""

    waveform: Tensor
    begins: int = 0
    finish_reason: str | None = None  # as in ``Speech``; None: not a model's
    seconds: float = 0.0  # of computing
    values: dict[str, float] = field(default_factory=dict)  # measured while it was made

    @property
    def new(self) -> Tensor:
        """What the system added to what it was given."""
        return self.waveform[self.begins :]


class System(Protocol):
    """A way to speak the cases of a protocol."""

    name: str
    run: str | None  # None: a topline
    step: int | None
    sample_rate: int
    vocoding: Vocoding  # the vocoder that it speaks through; of recordings the one whose prompts they are compared with
    is_random: bool  # whether its output depends on the seed

    def depends_on(self) -> dict[str, Any]:
        """Everything but cases and seeds that its output depends on, as plain values."""
        ...

    def speak(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Output]: ...


@dataclass(frozen=True)
class Vocoding:
    """One of an evaluation's vocoders, by the name that rows show, and where it runs."""

    name: str
    spec: MelSpec  # of the toplines: the first checkpoint's
    settings: dict[str, Any]  # arguments of ``make_vocoder`` besides the mel
    device: torch.device

    def depends_on(self) -> dict[str, Any]:
        files = [value for value in self.settings.values() if isinstance(value, str) and Path(value).exists()]
        return {
            "vocoder": self.settings,
            "vocoder_files": [file_stamp(file) for file in files],
            "vocoder_code": source_digest(*CODE["vocoder"]),
        }

    def build(self, spec: MelSpec | None = None) -> Vocoder:
        return make_vocoder(spec=spec or self.spec, **self.settings).to(self.device)

    @property
    def prompts(self) -> str:
        """Name of the prompts through it."""
        return f"{PROMPTS} through mel and {self.name}"

    @cached_property
    def round_trip(self) -> tuple[LogMel, Vocoder]:
        """The toplines' way from waveform to mel and back, built once."""
        return LogMel(self.spec).to(self.device), self.build()


class Recordings:
    """The first topline: the recordings themselves. With ``prompts`` the prompts, as voices to compare with."""

    run = step = None
    is_random = False

    def __init__(self, vocoding: Vocoding, prompts: bool = False):
        self.vocoding, self.prompts = vocoding, prompts
        self.name = PROMPTS if prompts else RECORDINGS
        self.sample_rate = vocoding.spec.sample_rate

    def depends_on(self) -> dict[str, Any]:
        return {"system": self.name, "sample_rate": self.sample_rate, "code": source_digest(*CODE["recordings"])}

    def speak(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Output]:
        return [self._read(case) for case in cases]

    def _read(self, case: Case) -> Output:
        rate = self.sample_rate
        if self.prompts:
            return Output(voice_given(case, rate))
        return Output(load_audio(case.target.audio_path, rate), 0 if case.given is None else round(case.given * rate))


class Vocoded(Recordings):
    """A further topline: what is left of it in mel frames. No model on this mel and vocoder sounds better.

    Measures "mel_distance" as well: how far the mel of what the vocoder makes is from the one that it was given.
    """

    def __init__(self, vocoding: Vocoding, prompts: bool = False):
        super().__init__(vocoding, prompts)
        self.name = vocoding.prompts if prompts else f"{RECORDINGS} through mel and {vocoding.name}"

    def depends_on(self) -> dict[str, Any]:
        return super().depends_on() | {"mel": self.vocoding.spec.as_dict()} | self.vocoding.depends_on()

    def speak(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Output]:
        log_mel, vocoder = self.vocoding.round_trip
        outputs = []
        for case in cases:
            read, begun = self._read(case), time.perf_counter()
            mel = log_mel(read.waveform.to(self.vocoding.device))
            # The last frame stands at the end of the recording, and so does the audio beyond that is made of it. What
            # is not a number is silence, as in the file.
            waveform = vocoder(mel)[: len(read.waveform)].nan_to_num(0.0).clamp(-1, 1)
            kept = waveform.cpu()
            seconds = time.perf_counter() - begun
            values = {"mel_distance": mel_distance(mel, log_mel(waveform))}
            outputs.append(Output(kept, read.begins, seconds=seconds, values=values))
        return outputs


class Model:
    """A checkpoint, loaded when it first speaks."""

    is_random = True

    def __init__(self, checkpoint: Checkpoint, vocoding: Vocoding, options: DecodingOptions, weights: str = "float32"):
        self.checkpoint, self.vocoding, self.options, self.weights = checkpoint, vocoding, options, weights
        self.name, self.run, self.step = checkpoint.name, checkpoint.run, checkpoint.step
        self.sample_rate = checkpoint.mel.sample_rate

    def depends_on(self) -> dict[str, Any]:
        return {
            "checkpoint": self.checkpoint.identity(),
            "decoding": vars(self.options),
            "weights": self.weights,
            "packages": package_versions("torch"),
            "code": source_digest(*CODE["recordings"], *CODE["model"]),
        } | self.vocoding.depends_on()

    @cached_property
    def synthesizer(self) -> Synthesizer:
        vocoder = self.vocoding.build(self.checkpoint.mel)
        try:
            return Synthesizer.from_checkpoint(
                self.checkpoint.file, vocoder, self.vocoding.device, weights=self.weights
            )
        finally:  # whatever went well or wrong, it must be the file that the table names
            self.checkpoint.check()

    def unload(self) -> None:
        """Free the memory until it speaks again."""
        self.__dict__.pop("synthesizer", None)

    def speak(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Output]:
        tts = self.synthesizer  # loaded before the time counts
        try:
            return self._speak(tts, cases, seeds)
        except UserError as error:
            if len(cases) == 1:
                raise UserError(f"{self.name} cannot speak {cases[0].target.id}: {error}") from None
            for case, seed in zip(cases, seeds):
                self.speak([case], [seed])  # until the one that it is about
            raise

    def _speak(self, tts: Synthesizer, cases: Sequence[Case], seeds: Sequence[int]) -> list[Output]:
        texts = [case.target.transcription for case in cases]
        begun = time.perf_counter()
        if cases and cases[0].given is not None:
            beginnings = [voice_given(case, self.sample_rate) for case in cases]
            speeches = tts.continuation(texts, beginnings, self.options, list(seeds))
            outputs = [self._with_beginning(*pair) for pair in zip(beginnings, speeches)]
        else:
            prompts = [case.prompt and Prompt(case.prompt.audio_path, case.prompt.transcription) for case in cases]
            speeches = tts(texts, prompts, options=self.options, seed=list(seeds))
            outputs = [Output(speech.waveform, 0, speech.finish_reason) for speech in speeches]
        seconds = (time.perf_counter() - begun) / max(len(cases), 1)
        return [replace(output, seconds=seconds) for output in outputs]

    def _with_beginning(self, beginning: Tensor, speech: Speech) -> Output:
        """Both through the vocoder as one, so that no seam is audible between them."""
        tts = self.synthesizer
        mel = read_voice(beginning, tts.log_mel, tts.network.reduction_factor)
        waveform = tts.vocoder(torch.cat([mel, speech.mel]).to(tts.device)).cpu().nan_to_num(0.0)
        waveform = waveform / waveform.abs().max().clamp(min=1)
        return Output(waveform, len(mel) * tts.spec.hop_length, speech.finish_reason)


def mel_distance(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of log10 mels (T, M); frames beyond the end of the shorter one do not count."""
    frames = min(len(one), len(other))
    return round(float((one[:frames] - other[:frames]).abs().mean()), DIGITS)


def voice_given(case: Case, sample_rate: int) -> Tensor:
    """The samples (N,) whose voice a system is given: the prompt, or the beginning of the recording."""
    if case.prompt is not None:
        return load_audio(case.prompt.audio_path, sample_rate)
    if case.given is None:
        raise ValueError(f"no voice is given for {case.target.id}")
    return load_audio(case.target.audio_path, sample_rate)[: round(case.given * sample_rate)]


def voice_key(case: Case) -> tuple[Path, float | None] | None:
    """Tells the voices that are given apart, however their paths are spelled; None: none is."""
    if case.prompt is not None:
        return case.prompt.audio_path.resolve(), None
    return None if case.given is None else (case.target.audio_path.resolve(), case.given)


def distinct_voices(cases: Sequence[Case]) -> list[Case]:
    """Every voice that is given, once, as a case of its own: several targets may share a prompt."""
    found = {key: case for case in reversed(cases) if (key := voice_key(case)) is not None}
    return [case if case.prompt is None else Case(case.prompt, case.prompt) for case in reversed(found.values())]


def sample_seeds(count: int, sample: int, seed: int) -> list[int]:
    """A seed for each case, of which sample number 0 has consecutive ones; no two samples share one but by chance."""
    return [another_seed(seed + number, "sample", sample) for number in range(count)]
