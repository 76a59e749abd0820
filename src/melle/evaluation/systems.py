"""What is scored: the recordings, the recordings through mel and each vocoder, and models speaking the same texts."""

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
from melle.evaluation.ears import DIGITS
from melle.evaluation.protocols import Case
from melle.files import file_stamp
from melle.synthesis.guards import DecodingOptions
from melle.synthesis.prompt import Prompt, read_voice
from melle.synthesis.speech import Speech
from melle.synthesis.synthesizer import Synthesizer, another_seed
from melle.vocoders import Vocoder, make_vocoder

RECORDINGS = "recordings"
PROMPTS = "prompts"


@dataclass(frozen=True)
class Said:
    """What a system said for one case: samples (N,), the first ``begins`` of which were given to it."""

    waveform: Tensor
    begins: int = 0
    finish_reason: str | None = None  # as in ``Speech``; None: nobody decided when to end
    seconds: float = 0.0  # of computing
    values: dict[str, float] = field(default_factory=dict)  # what could be measured only while it was made

    @property
    def own(self) -> Tensor:
        """What the system added to what was given."""
        return self.waveform[self.begins :]


class System(Protocol):
    """A way to say the cases of a protocol."""

    name: str
    run: str | None
    step: int | None
    sample_rate: int  # samples per second of what it says
    sound: Sound  # whose vocoder it speaks through; recordings: the one to whose prompts they are compared

    def identity(self) -> Any:
        """What it says depends on, as plain values: when these change, it has to speak again."""
        ...

    def say(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Said]:
        """Speak the cases, each with its seed."""
        ...


@dataclass(frozen=True)
class Sound:
    """How mel frames become sound by one of an evaluation's vocoders, and where this is computed."""

    name: str  # of the vocoder, as rows name it
    spec: MelSpec  # of the ceilings: the first checkpoint's
    vocoder: dict[str, Any]  # arguments of ``make_vocoder`` besides the mel
    device: torch.device

    def identity(self) -> list[Any]:
        """Changes with the vocoder, and with what is in its files."""
        files = [value for value in self.vocoder.values() if isinstance(value, str) and Path(value).exists()]
        return [self.vocoder, *map(file_stamp, files)]

    def reader(self, spec: MelSpec | None = None) -> Vocoder:
        return make_vocoder(spec=spec or self.spec, **self.vocoder).to(self.device)

    @property
    def prompts(self) -> str:
        """What the prompts through it are called."""
        return f"{PROMPTS} through mel and {self.name}"

    @cached_property
    def round_trip(self) -> tuple[LogMel, Vocoder]:
        """The ceilings' way from sound to mel and back, made once."""
        return LogMel(self.spec).to(self.device), self.reader()


class Recordings:
    """The first ceiling: what the speakers said. With ``prompts`` what was given of them, voices to compare with."""

    run = step = None

    def __init__(self, sound: Sound, prompts: bool = False):
        self.sound, self.prompts = sound, prompts
        self.name = PROMPTS if prompts else RECORDINGS
        self.sample_rate = sound.spec.sample_rate

    def identity(self) -> Any:
        return [self.name, self.sample_rate]

    def say(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Said]:
        return [self._read(case) for case in cases]

    def _read(self, case: Case) -> Said:
        rate = self.sample_rate
        if self.prompts:
            return Said(voice_given(case, rate))
        return Said(load_audio(case.target.audio_path, rate), 0 if case.given is None else round(case.given * rate))


class Vocoded(Recordings):
    """A further ceiling: what is left of it in mel frames. No model on this mel and vocoder sounds better.

    Measures "mel_distance" as well: how far the mel of what the vocoder makes is from the one it was given.
    """

    def __init__(self, sound: Sound, prompts: bool = False):
        super().__init__(sound, prompts)
        self.name = sound.prompts if prompts else f"{RECORDINGS} through mel and {sound.name}"

    def identity(self) -> Any:
        return [self.name, self.sound.spec.as_dict(), self.sound.identity()]

    def say(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Said]:
        log_mel, vocoder = self.sound.round_trip
        said = []
        for case in cases:
            read, begun = self._read(case), time.perf_counter()
            mel = log_mel(read.waveform.to(self.sound.device))
            # The last frame stands at the end of the recording, and so the sound that is made of it beyond. What is no
            # number is silence, as in the file.
            waveform = vocoder(mel)[: len(read.waveform)].nan_to_num(0.0).clamp(-1, 1)
            kept = waveform.cpu()
            seconds = time.perf_counter() - begun
            values = {"mel_distance": mel_distance(mel, log_mel(waveform))}
            said.append(Said(kept, read.begins, seconds=seconds, values=values))
        return said


class Model:
    """A checkpoint, loaded when it first speaks."""

    def __init__(self, checkpoint: Checkpoint, sound: Sound, options: DecodingOptions, weights: str = "float32"):
        self.checkpoint, self.sound, self.options, self.weights = checkpoint, sound, options, weights
        self.name, self.run, self.step = checkpoint.name, checkpoint.run, checkpoint.step
        self.sample_rate = checkpoint.mel.sample_rate

    def identity(self) -> Any:
        return [self.checkpoint.identity(), self.sound.identity(), vars(self.options), self.weights]

    @cached_property
    def synthesizer(self) -> Synthesizer:
        vocoder = self.sound.reader(self.checkpoint.mel)
        try:
            return Synthesizer.from_checkpoint(self.checkpoint.file, vocoder, self.sound.device, weights=self.weights)
        finally:  # whatever went well or wrong, it must be the file that the table names
            self.checkpoint.check()

    def rest(self) -> None:
        """Give the memory back until it speaks again."""
        self.__dict__.pop("synthesizer", None)

    def say(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Said]:
        tts = self.synthesizer  # loaded before the time counts
        try:
            return self._say(tts, cases, seeds)
        except UserError as error:
            if len(cases) == 1:
                raise UserError(f"{self.name} cannot speak {cases[0].target.id}: {error}") from None
            for case, seed in zip(cases, seeds):
                self.say([case], [seed])  # until the one that it is about
            raise

    def _say(self, tts: Synthesizer, cases: Sequence[Case], seeds: Sequence[int]) -> list[Said]:
        texts = [case.target.transcription for case in cases]
        begun = time.perf_counter()
        if cases and cases[0].given is not None:
            beginnings = [voice_given(case, self.sample_rate) for case in cases]
            speeches = tts.continuation(texts, beginnings, self.options, list(seeds))
            said = [self._with_beginning(*pair) for pair in zip(beginnings, speeches)]
        else:
            prompts = [case.prompt and Prompt(case.prompt.audio_path, case.prompt.transcription) for case in cases]
            speeches = tts(texts, prompts, options=self.options, seed=list(seeds))
            said = [Said(speech.waveform, 0, speech.finish_reason) for speech in speeches]
        seconds = (time.perf_counter() - begun) / max(len(cases), 1)
        return [replace(one, seconds=seconds) for one in said]

    def _with_beginning(self, beginning: Tensor, speech: Speech) -> Said:
        """Both through the vocoder as one, so that no seam is heard between them."""
        tts = self.synthesizer
        mel = read_voice(beginning, tts.log_mel, tts.network.reduction_factor)
        waveform = tts.vocoder(torch.cat([mel, speech.mel]).to(tts.device)).cpu().nan_to_num(0.0)
        waveform = waveform / waveform.abs().max().clamp(min=1)
        return Said(waveform, len(mel) * tts.spec.hop_length, speech.finish_reason)


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


def seeds_of(count: int, sample: int, seed: int) -> list[int]:
    """A seed for each case, of which sample number 0 has consecutive ones; no two samples share one but by chance."""
    return [another_seed(seed + number, "sample", sample) for number in range(count)]
