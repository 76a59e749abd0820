"""What is scored: the recordings, the recordings through mel and each vocoder, and models that speak the same texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melle.audio import LogMel, MelSpec, load_audio
from melle.errors import OutOfMemory, UserError
from melle.evaluation.checkpoints import Checkpoint
from melle.evaluation.protocols import Case
from melle.evaluation.records import package_versions, source_digest
from melle.files import file_stamp
from melle.hub import cached_revision, is_hub_name
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt, read_beginning
from melle.synthesis.synthesizer import Synthesizer
from melle.vocoders import Vocoder, make_vocoder

RECORDINGS, PROMPTS = "recordings", "prompts"
DIGITS = 6  # decimals kept of a distance
CODE = {  # our own source that changes what a system gives
    "recordings": ("melle.audio", "melle.evaluation.systems"),
    "vocoder": ("melle.vocoders",),
    "model": (
        *("melle.model", "melle.synthesis", "melle.text"),
        *("melle.checkpoint", "melle.data.batch", "melle.data.silence"),  # loading, prompts
    ),
}
PACKAGES = {  # others' that do so; a tokenizer needs but some of them
    "hifigan": ("transformers",),
    "model": (*("torch", "num2words", "sentencex", "tokenizers", "transformers", "phonemizer", "espeakng-loader"),),
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


class NamedVocoder:
    """One of an evaluation's vocoders, by the ``name`` that rows show: ``settings`` are ``make_vocoder``'s arguments.

    ``spec`` is the mel of the toplines.
    """

    def __init__(self, name: str, spec: MelSpec, settings: dict[str, Any], device: torch.device):
        self.name, self.spec, self.settings, self.device = name, spec, settings, device
        self._built: dict[MelSpec, Vocoder] = {}

    def depends_on(self) -> dict[str, Any]:
        names = [value for value in self.settings.values() if isinstance(value, str)]
        return {
            "vocoder": self.settings,
            "vocoder_files": [file_stamp(name) for name in names if Path(name).exists()],
            "vocoder_revisions": [cached_revision(name) for name in names if is_hub_name(name)],
            "vocoder_packages": package_versions("torch", *PACKAGES.get(self.settings.get("name"), ())),
            "vocoder_code": source_digest(*CODE["vocoder"]),
            "device": self.device.type,
        }

    def build(self, spec: MelSpec) -> Vocoder:
        """The vocoder for this mel, made once. Raises UserError where it cannot be had."""
        if spec not in self._built:
            self._built[spec] = make_vocoder(spec=spec, **self.settings).to(self.device)
        return self._built[spec]


class Topline:
    """The recordings, or with ``prompts`` the prompts, as voices to compare with.

    ``vocoded``: what is left of them in mel frames. No model on this mel and vocoder sounds better. Measures
    "mel_distance" as well: how far the mel of what the vocoder makes is from the one that it was given.
    """

    run = step = None
    is_random = False  # whether the output depends on the seed

    def __init__(self, named_vocoder: NamedVocoder, prompts: bool = False, vocoded: bool = False):
        self.named_vocoder, self.prompts, self.saves_audio = named_vocoder, prompts, vocoded
        kind = PROMPTS if prompts else RECORDINGS
        self.name = f"{kind} through mel and {named_vocoder.name}" if vocoded else kind
        self.sample_rate = named_vocoder.spec.sample_rate

    def depends_on(self) -> dict[str, Any]:
        """Everything but cases and seeds that the output depends on, as plain values."""
        own = {"system": self.name, "sample_rate": self.sample_rate, "code": source_digest(*CODE["recordings"])}
        return own | (
            {"mel": self.named_vocoder.spec.as_dict()} | self.named_vocoder.depends_on() if self.saves_audio else {}
        )

    def speak(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Output]:
        outputs = []
        for case in cases:
            if self.prompts:
                output = Output(case.voice(self.sample_rate))
            else:
                begins = 0 if case.given is None else round(case.given * self.sample_rate)
                output = Output(load_audio(case.target.audio_path, self.sample_rate), begins)
            outputs.append(self._vocoded(output) if self.saves_audio else output)
        return outputs

    def _vocoded(self, output: Output) -> Output:
        device, begun = self.named_vocoder.device, time.perf_counter()
        log_mel, vocoder = self._log_mel.to(device), self.named_vocoder.build(self.named_vocoder.spec)
        mel = log_mel(output.waveform.to(device))
        # The last frame stands at the end of the recording, and so does the audio beyond that is made of it. What is
        # not a number is silence, as in the file.
        made = vocoder(mel)[: len(output.waveform)].nan_to_num(0.0).clamp(-1, 1)
        waveform, seconds = made.cpu(), time.perf_counter() - begun
        values = {"mel_distance": mel_distance(mel, log_mel(made))}
        return replace(output, waveform=waveform, seconds=seconds, values=values)

    @cached_property
    def _log_mel(self) -> LogMel:
        return LogMel(self.named_vocoder.spec)


class Model:
    """A checkpoint, loaded when it first speaks."""

    is_random = saves_audio = True
    prompts = False

    def __init__(
        self, checkpoint: Checkpoint, named_vocoder: NamedVocoder, options: DecodingOptions, weights: str = "float32"
    ):
        self.checkpoint, self.named_vocoder, self.weights = checkpoint, named_vocoder, weights
        self.options = checkpoint.options(options)
        self.name, self.run, self.step = checkpoint.name, checkpoint.run, checkpoint.step
        self.sample_rate = checkpoint.mel.sample_rate

    def depends_on(self) -> dict[str, Any]:
        return {
            "checkpoint": self.checkpoint.identity(),
            "decoding": vars(self.options),
            "weights": self.weights,
            "packages": package_versions(*PACKAGES["model"]),
            "code": source_digest(*CODE["recordings"], *CODE["model"]),
        } | self.named_vocoder.depends_on()

    @cached_property
    def synthesizer(self) -> Synthesizer:
        vocoder, device = self.named_vocoder.build(self.checkpoint.mel), self.named_vocoder.device
        try:
            return Synthesizer.from_checkpoint(self.checkpoint.file, vocoder, device, weights=self.weights)
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
            if isinstance(error, OutOfMemory):
                raise
            if len(cases) == 1:
                raise UserError(f"{self.name} cannot speak {cases[0].target.id}: {error}") from None
            for case, seed in zip(cases, seeds):
                self.speak([case], [seed])  # until the one that it is about
            raise

    def _speak(self, tts: Synthesizer, cases: Sequence[Case], seeds: Sequence[int]) -> list[Output]:
        texts, begun = [case.target.transcription for case in cases], time.perf_counter()
        if cases and cases[0].given is not None:
            beginnings = [case.voice(self.sample_rate) for case in cases]
            speeches = tts.continuation(texts, beginnings, self.options, list(seeds))
            outputs = [_with_beginning(tts, *pair) for pair in zip(beginnings, speeches)]
        else:
            prompts = [case.prompt and Prompt(case.prompt.audio_path, case.prompt.transcription) for case in cases]
            speeches = tts(texts, prompts, options=self.options, seed=list(seeds))
            outputs = [Output(speech.waveform, 0, speech.finish_reason) for speech in speeches]
        seconds = (time.perf_counter() - begun) / max(len(cases), 1)
        return [replace(output, seconds=seconds) for output in outputs]


System = Topline | Model


def _with_beginning(tts: Synthesizer, beginning: Tensor, speech: Any) -> Output:
    """Both through the vocoder as one, so that no seam is audible between them."""
    mel = read_beginning(beginning, tts.description, tts.log_mel).mel
    waveform = tts.vocoder(torch.cat([mel, speech.mel]).to(tts.device)).cpu().nan_to_num(0.0)
    waveform = waveform / waveform.abs().max().clamp(min=1)
    return Output(waveform, len(mel) * tts.spec.hop_length, speech.finish_reason)


def mel_distance(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of log10 mels (T, M); frames beyond the end of the shorter one do not count."""
    frames = min(len(one), len(other))
    return round(float((one[:frames] - other[:frames]).abs().mean()), DIGITS)
