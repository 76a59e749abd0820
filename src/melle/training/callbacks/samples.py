"""What training shows of itself besides curves: a few held-out utterances, spoken and pictured at each validation."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lightning
import numpy as np
import torch
from matplotlib.image import imsave
from numpy.typing import NDArray
from torch import Tensor

from melle.audio import LogMel, load_audio, save_audio, within_scale
from melle.checkpoint import LoadedModel, ModelDescription
from melle.data.batch import Batch, Row, collate
from melle.data.index import tokens_of
from melle.data.manifest import Utterance, read_valid
from melle.data.pairs import cross_sentence_pairs
from melle.devices import BrokenDevice, is_broken, is_out_of_memory, seeded
from melle.errors import OutOfMemory, UserError, reason
from melle.evaluation.wer import corpus_rate, count_errors
from melle.files import write_text
from melle.model import Melle
from melle.model.attention_map import attention_map
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.speech import Speech
from melle.synthesis.synthesizer import Synthesizer
from melle.text import EOS, marks_of
from melle.training.callbacks.figures import Spectra, draw, pixels
from melle.vocoders.griffin_lim import GriffinLim

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from melle.evaluation.judges.base import Recogniser
    from melle.training.module import MelleModule


logger = logging.getLogger(__name__)

LACK = "no speech samples: out of memory; lower callbacks.speech.count"


@dataclass(frozen=True)
class Sample:
    """A held-out utterance, ready to be spoken."""

    name: str  # also a file's
    target: Utterance
    voice: Utterance | None  # the prompt
    prompt: Prompt | None
    waveform: Tensor  # (N,), recorded
    batch: Batch  # one row: the prompt's text and mel, if any, and the target's

    @property
    def first_step(self) -> int:
        """Where in the row the target's mel begins."""
        return int(self.batch.segment_steps[0, :-1].sum())


class Transcribed(NamedTuple):
    """What was to be said, and what the recogniser understood; normalised."""

    reference: str
    text: str


class SpeechSamples(lightning.Callback):
    """At every validation, speaks a few held-out texts: pictures, sound and scores to all loggers, and to files.

    An utterance is predicted from its own true frames (teacher-forced) and spoken freely, both after the same prompt
    and with the same random numbers every time. Scores: ``samples/duration_error``, mean of |spoken - recorded| /
    recorded seconds; ``samples/eos_rate``, share that the model ended by itself; ``samples/wer``, word error rate.

    Args:
        manifest: whose texts to speak, each prompted by another utterance of its speaker; where no speaker has two
            utterances, without a prompt.
        count: how many, from as many speakers as there are.
        folder: gets a folder for every validation, with sound, pictures and ``samples.jsonl``; None for no files.
        asr: a recogniser for the word error rate, or None.

    """

    def __init__(
        self, manifest: str | Path, count: int = 4, folder: str | Path | None = None, asr: Recogniser | None = None
    ):
        self.folder = None if folder is None else Path(folder)
        self.asr = asr
        self.manifest, self.count = manifest, count
        names = ("duration_error", "eos_rate", *(["wer"] if self.asr is not None else []))
        self.METRICS = tuple(f"samples/{name}" for name in names) if count else ()  # what can be monitored
        self._samples: list[Sample] | None = None  # read at the first validation
        self._recordings_logged = False  # whether the recordings were given to the loggers
        self._warned: set[str] = set()

    @cached_property
    def chosen(self) -> list[tuple[Utterance, Utterance | None]]:
        """Each utterance with the one that prompts it. Raises UserError where the manifest cannot be read."""
        utterances = read_valid(self.manifest)
        try:
            return [(pair.target, pair.prompt) for pair in cross_sentence_pairs(utterances, self.count)]
        except UserError:
            return [(utterance, None) for utterance in utterances[: self.count]]

    def setup(self, trainer: lightning.Trainer, module: MelleModule, stage: str) -> None:
        self.chosen  # noqa: B018  (what is wrong with the manifest is said before training)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: MelleModule) -> None:
        if trainer.sanity_checking:
            return
        scores = self._try(trainer, module) if trainer.is_global_zero and self.chosen else {}
        for name, value in trainer.strategy.broadcast(scores).items():  # any rank may be asked which is best
            module.log(f"samples/{name}", value)

    def _try(self, trainer: lightning.Trainer, module: MelleModule) -> dict[str, float]:
        try:
            return self._show(trainer, module, module.network)
        except BrokenDevice:  # and so is training
            raise
        except OutOfMemory:
            self._warn(LACK)
        except UserError as error:
            self._warn(f"no speech samples: {error}")
        except Exception as error:  # training is worth more than its samples, and other ranks would wait for this one
            if is_out_of_memory(error):  # first, for a device that lacks memory may say so as a broken one does
                self._warn(LACK)
            elif is_broken(module.device, error):
                raise
            else:
                self._warn(f"no speech samples: {reason(error)}")
        return {}

    def _show(self, trainer: lightning.Trainer, module: MelleModule, network: Melle) -> dict[str, float]:
        if self._samples is None:
            self._samples = self._read(module.description, network)
        samples, device, step = self._samples, module.device, trainer.global_step
        if not samples:
            return {}
        options = DecodingOptions()
        # These shapes come once in a validation: compiling for them would take longer than they do.
        with torch.compiler.set_stance("force_eager"):
            synthesizer = Synthesizer(
                LoadedModel(network, module.description, step), GriffinLim(module.description.mel), device
            )
            texts = [sample.target.transcription for sample in samples]
            speeches = synthesizer(texts, [sample.prompt for sample in samples], options=options)
            spectra = [
                _spectra(network, module.description, sample, speech, options.stop_threshold, device)
                for sample, speech in zip(samples, speeches)
            ]
        images = [pixels(draw(item)) for item in spectra]
        transcripts = self._transcribe(samples, speeches)
        rate = module.description.mel.sample_rate
        for logger in trainer.loggers:
            for sample, speech, image in zip(samples, speeches, images):
                tag, text = f"samples/{sample.name}", sample.target.transcription
                log_image(logger, tag, image, text, step)
                log_audio(logger, tag, speech.waveform, rate, text, step)
                if not self._recordings_logged:
                    log_audio(logger, f"{tag} recording", within_scale(sample.waveform), rate, text, step)
        if self.folder is not None:
            if not self._recordings_logged:
                for sample in samples:
                    save_audio(self.folder / "recordings" / f"{sample.name}.wav", sample.waveform, rate)
            _write(self.folder / f"step_{step:06d}", samples, speeches, images, transcripts)
        self._recordings_logged = True
        return _scores(samples, speeches, transcripts)

    def _read(self, description: ModelDescription, network: Melle) -> list[Sample]:
        """The samples that can be used; what is wrong with others is a warning."""
        samples = []
        for number, (target, voice) in enumerate(self.chosen):
            try:
                samples.append(_read_sample(number, target, voice, description, network))
            except UserError as error:
                self._warn(f"no speech sample of utterance {target.id}: {error}")
        return samples

    def _transcribe(self, samples: Sequence[Sample], speeches: Sequence[Speech]) -> list[Transcribed] | None:
        """What the recogniser understands."""
        if self.asr is None:
            return None
        try:
            count_errors("", "")  # needs a package: better to say so before transcribing
            said = self.asr.transcribe([speech.waveform for speech in speeches], speeches[0].sample_rate)
            texts = [sample.target.transcription for sample in samples]
            return [Transcribed(*map(self.asr.normalise, (text, one.text))) for text, one in zip(texts, said)]
        except UserError as error:
            self._warn(f"no word error rate of the speech samples: {error}")
            return None

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)


def log_image(logger: Logger, tag: str, image: NDArray[np.uint8], caption: str, step: int) -> None:
    """Give (height, width, RGB) to TensorBoard or to a logger with ``log_image``, such as W&B's; others take none."""
    if hasattr(logger, "log_image"):
        logger.log_image(tag, [image], step=step, caption=[caption])
    elif hasattr(logger.experiment, "add_image"):
        logger.experiment.add_image(tag, image, step, dataformats="HWC")


def log_audio(logger: Logger, tag: str, waveform: Tensor, rate: int, caption: str, step: int) -> None:
    """Give samples (N,) to TensorBoard or to a logger with ``log_audio``, such as W&B's; others take none."""
    if hasattr(logger, "log_audio"):
        logger.log_audio(tag, [waveform.numpy()], step=step, sample_rate=[rate], caption=[caption])
    elif hasattr(logger.experiment, "add_audio"):
        logger.experiment.add_audio(tag, waveform[None], step, sample_rate=rate)


def _read_sample(
    number: int, target: Utterance, voice: Utterance | None, description: ModelDescription, network: Melle
) -> Sample:
    log_mel, rate = LogMel(description.mel), description.mel.sample_rate
    spoken = [target] if voice is None else [voice, target]
    for utterance in spoken:
        tokens_of(utterance.transcription, utterance.language, description.tokenizer)  # of another language, say
    waveforms = [load_audio(utterance.audio_path, rate) for utterance in spoken]
    row = Row(
        tokens=[
            description.tokenizer.encode(utterance.transcription, follows=number > 0)
            for number, utterance in enumerate(spoken)
        ],
        mels=[log_mel(waveform) for waveform in waveforms],
        ids=[utterance.id for utterance in spoken],
    )
    batch = collate([row], network.reduction_factor, description.mel.n_mels, marks_of(description.tokenizer))
    if network.max_positions is not None:
        sizes = (batch.text.shape[1], batch.mel.shape[1] // network.reduction_factor)
        if any(size > most for size, most in zip(sizes, network.max_positions)):
            raise UserError(
                f"with its prompt it has {sizes[0]} tokens and {sizes[1]} mel steps, the model takes "
                f"{network.max_positions[0]} and {network.max_positions[1]}"
            )
    return Sample(
        name=f"{number}-{re.sub(r'[^A-Za-z0-9._-]+', '_', target.id)[:80]}",
        target=target,
        voice=voice,
        prompt=None if voice is None else Prompt(voice.audio_path, voice.transcription),
        waveform=waveforms[-1],
        batch=batch,
    )


@torch.no_grad()
def _spectra(
    network: Melle,
    description: ModelDescription,
    sample: Sample,
    speech: Speech,
    threshold: float,
    device: torch.device,
) -> Spectra:
    inputs = sample.batch.to(device).inputs()
    with seeded(0, device):
        output = network(**inputs)
    with seeded(0, device):  # the same pass again
        attention = attention_map(network, **inputs)
    own_frames = slice(sample.first_step * network.reduction_factor, int(sample.batch.mel_lengths[0]))
    segments = sample.batch.text_segments[0]
    own_tokens = segments == segments[-1]
    marks = marks_of(description.tokenizer)
    return Spectra(
        title=sample.target.transcription,
        recording=sample.batch.mel[0, own_frames],
        forced=network.denormalise(output.refined)[0, own_frames].float().cpu(),
        speech=speech.mel,
        stop=speech.stop,
        threshold=threshold,
        attention=attention[:, :, sample.first_step :].cpu()[..., own_tokens],
        tokens=[
            {EOS: "<EOS>", marks.bos: "<BOS>"}.get(token) or description.tokenizer.decode([token]) or "␣"
            for token in sample.batch.text[0, own_tokens].tolist()
        ],
        frame_rate=description.mel.frame_rate,
    )


def _scores(
    samples: Sequence[Sample], speeches: Sequence[Speech], transcripts: Sequence[Transcribed] | None
) -> dict[str, float]:
    recorded = [len(sample.waveform) / speech.sample_rate for sample, speech in zip(samples, speeches)]
    errors = [abs(speech.seconds - seconds) / seconds for speech, seconds in zip(speeches, recorded)]
    scores = {
        "duration_error": sum(errors) / len(errors),
        "eos_rate": sum(speech.finish_reason in ("stop", "unfinished") for speech in speeches) / len(speeches),
    }
    if transcripts is not None:
        scores["wer"] = corpus_rate([count_errors(*both) for both in transcripts]).rate
    return scores


def _write(
    folder: Path,
    samples: Sequence[Sample],
    speeches: Sequence[Speech],
    images: Sequence[NDArray[np.uint8]],
    transcripts: Sequence[Transcribed] | None,
) -> None:
    """NAME.wav and NAME.png of every sample, and a line about each in ``samples.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (sample, speech, image) in enumerate(zip(samples, speeches, images)):
        save_audio(folder / f"{sample.name}.wav", speech.waveform, speech.sample_rate)
        imsave(folder / f"{sample.name}.png", image)
        line = {
            "name": sample.name,
            "id": sample.target.id,
            "text": sample.target.transcription,
            "prompt": None if sample.voice is None else str(sample.voice.audio_path),
            "prompt_text": None if sample.voice is None else sample.voice.transcription,
            "finish_reason": speech.finish_reason,
            "seconds": round(speech.seconds, 3),
            "recording_seconds": round(len(sample.waveform) / speech.sample_rate, 3),
            "transcript": None if transcripts is None else transcripts[number].text,
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(folder / "samples.jsonl", "".join(lines))
