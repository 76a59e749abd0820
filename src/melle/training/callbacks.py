"""What training shows of itself besides numbers: pictures and sound of what the model says at each validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import matplotlib

matplotlib.use("Agg")  # draw into memory, wherever there is no screen
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from melle.checkpoint import LoadedModel
from melle.data.manifest import Utterance, read_manifest
from melle.errors import UserError
from melle.synthesis.synthesizer import Prompt, Speech, Synthesizer
from melle.training.module import MelleModule


class SpeechSamples(lightning.Callback):
    """After every validation, speaks a few held-out texts in held-out voices and logs mel pictures and audio.

    Args:
        manifest: whose utterances to speak; each is prompted by another one of its speaker.
        count: how many.
    """

    def __init__(self, manifest: str | Path, count: int = 4):
        self.pairs = prompt_pairs(read_manifest(manifest), count)

    def on_validation_end(self, trainer: lightning.Trainer, module: MelleModule) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking or not self.pairs:
            return
        training = module.network.training
        model = LoadedModel(module.network.eval(), module.description, trainer.global_step)
        try:
            speeches = speak_pairs(Synthesizer(model, device=module.device), self.pairs)
        finally:
            module.network.train(training)
        writer: Any = getattr(trainer.logger, "experiment", None)
        if not hasattr(writer, "add_audio"):
            return
        for number, (speech, (target, _)) in enumerate(zip(speeches, self.pairs)):
            name = f"speech/{number}: {target.transcription}"
            peak = speech.waveform.abs().max().clamp(min=1e-4)
            writer.add_audio(name, (speech.waveform / peak)[None], trainer.global_step, speech.sample_rate)
            writer.add_figure(name, mel_figure(speech.mel, speech.stop), trainer.global_step)


def prompt_pairs(utterances: list[Utterance], count: int) -> list[tuple[Utterance, Utterance]]:
    """Up to ``count`` (target, prompt) pairs, each within a speaker, spread over the speakers."""
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker or utterance.id, []).append(utterance)
    pairs = []
    for own in by_speaker.values():
        prompt = max(own, key=lambda u: len(u.transcription))
        target = next((u for u in own if u.transcription != prompt.transcription), None)
        if target is not None:
            pairs.append((target, prompt))
    return pairs[:: max(1, len(pairs) // count)][:count] if count > 0 else []


def speak_pairs(synthesizer: Synthesizer, pairs: list[tuple[Utterance, Utterance]]) -> list[Speech]:
    """The targets' texts, each in its prompt's voice; a prompt that cannot be read is a UserError that names it."""
    texts = [target.transcription for target, _ in pairs]
    prompts = [Prompt(prompt.audio_path, prompt.transcription) for _, prompt in pairs]
    try:
        return synthesizer(texts, prompts)
    except UserError as error:
        raise UserError(f"speech samples: {error}") from None


def mel_figure(mel: Tensor, stop: Tensor) -> plt.Figure:
    """The mel (T, M) as a picture, with the stop probability of each step below it."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 3), height_ratios=(4, 1), layout="constrained")
    top.imshow(mel.T.numpy(), origin="lower", aspect="auto", interpolation="none")
    top.set_ylabel("mel band")
    bottom.plot(torch.linspace(0, len(mel), len(stop)).numpy(), stop.numpy())
    bottom.set(xlim=(0, len(mel)), ylim=(0, 1), xlabel="frame", ylabel="stop")
    return figure
