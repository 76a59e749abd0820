"""What training shows of itself besides numbers: pictures and sound of what the model says at each validation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning
import matplotlib

matplotlib.use("Agg")  # draw into memory, wherever there is no screen
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from melle.checkpoint import LoadedModel
from melle.data.manifest import read_usable
from melle.data.pairs import cross_sentence_pairs
from melle.errors import UserError
from melle.synthesis.synthesizer import Prompt, Synthesizer
from melle.training.module import MelleModule


class SpeechSamples(lightning.Callback):
    """At every validation, speaks a few held-out texts and logs mel pictures and audio.

    Args:
        manifest: whose texts to speak, each prompted by another utterance of its speaker; where no speaker has two
            utterances, without a prompt.
        count: how many, from as many speakers as there are.

    With ``WeightAveraging`` this callback must come first: then the averaged weights speak, those that are kept.
    """

    def __init__(self, manifest: str | Path, count: int = 4):
        utterances = read_usable(manifest)
        self.samples: list[tuple[str, Prompt | None]]
        try:
            pairs = cross_sentence_pairs(utterances, count)
            self.samples = [
                (pair.target.transcription, Prompt(pair.prompt.audio_path, pair.prompt.transcription)) for pair in pairs
            ]
        except UserError:
            self.samples = [(utterance.transcription, None) for utterance in utterances[:count]]

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: MelleModule) -> None:
        network = module.whole_network()
        writer: Any = getattr(trainer.logger, "experiment", None)
        if (
            not trainer.is_global_zero
            or trainer.sanity_checking
            or not self.samples
            or not hasattr(writer, "add_audio")
        ):
            return
        model = LoadedModel(network, module.description, trainer.global_step)  # in eval mode while it validates
        texts, prompts = zip(*self.samples)
        try:
            speeches = Synthesizer(model, device=module.device)(texts, prompts)
        except UserError as error:  # training is worth more than its samples
            print(f"no speech samples: {error}", file=sys.stderr)
            return
        for number, (text, speech) in enumerate(zip(texts, speeches)):
            name = f"speech/{number}: {text}"
            peak = speech.waveform.abs().max().clamp(min=1e-4)
            writer.add_audio(name, (speech.waveform / peak)[None], trainer.global_step, speech.sample_rate)
            writer.add_figure(name, mel_figure(speech.mel, speech.stop), trainer.global_step)


def mel_figure(mel: Tensor, stop: Tensor) -> plt.Figure:
    """The mel (T, M) as a picture, with the stop probability of each step below it."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 3), height_ratios=(4, 1), layout="constrained")
    top.imshow(mel.T.numpy(), origin="lower", aspect="auto", interpolation="none")
    top.set_ylabel("mel band")
    bottom.plot(torch.linspace(0, len(mel), len(stop)).numpy(), stop.numpy())
    bottom.set(xlim=(0, len(mel)), ylim=(0, 1), xlabel="frame", ylabel="stop")
    return figure
