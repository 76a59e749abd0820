"""The public interface: text and a voice in, speech out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from melle.audio import LogMel, load_audio
from melle.checkpoint import LoadedModel, load_model
from melle.data.batch import join_text, pad_texts, whole_steps
from melle.errors import UserError
from melle.seeding import seeded
from melle.synthesis.decoding import DecodingOptions, decode
from melle.synthesis.vocoder import GriffinLim


@dataclass(frozen=True)
class Prompt:
    """A voice to continue in: a recording, as a file or as samples (N,) at the model's rate, and what is said in it."""

    audio: str | Path | Tensor
    text: str


@dataclass(frozen=True)
class Speech:
    """One utterance: samples (N,), log10 mel (T, M), stop probability of each step, and why it ended."""

    waveform: Tensor
    sample_rate: int
    mel: Tensor
    stop: Tensor
    finish_reason: str  # "stop": the model ended it; "length": the guard did

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate


class Synthesizer:
    """Speaks with a trained model.

    >>> tts = Synthesizer.from_checkpoint("runs/quickstart/checkpoints/last.ckpt")   # doctest: +SKIP
    >>> speech = tts(["four two"], [Prompt("voice.wav", "one nine")])[0]   # doctest: +SKIP
    """

    def __init__(self, model: LoadedModel, vocoder: nn.Module | None = None, device: str | torch.device = "cpu"):
        self.device = torch.device(device)
        self.network = model.network.to(self.device)
        self.tokenizer = model.description.tokenizer
        self.spec = model.description.mel
        self.frames_per_token = model.description.frames_per_token
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

    def __call__(
        self,
        texts: Sequence[str],
        prompts: Sequence[Prompt | None] | None = None,
        options: DecodingOptions | None = None,
        seed: int | None = 0,
    ) -> list[Speech]:
        """Speak all texts as one batch. Raises UserError for a text or prompt that cannot be used.

        ``seed`` makes the result reproducible for the same batch; None draws anew each time.
        """
        prompts = prompts if prompts is not None else [None] * len(texts)
        if len(prompts) != len(texts):
            raise ValueError(f"{len(texts)} texts, but {len(prompts)} prompts")
        options = options or DecodingOptions()
        r = self.network.reduction_factor
        mels, rows, expected = [], [], []
        for text, prompt in zip(texts, prompts):
            tokens = self.tokenizer.encode(text)
            pace = self.frames_per_token / r
            segments, mel = [tokens], torch.zeros(0, self.spec.n_mels)
            if prompt is not None:
                segments, mel = self._read_prompt(prompt, tokens)
                pace = len(mel) / r / len(segments[0])
            mels.append(mel)
            rows.append(join_text(segments))
            self._check_length(len(rows[-1][0]), len(mel) // r)
            expected.append(len(tokens) * pace)
        text, text_lengths, text_segments = pad_texts(rows)
        with seeded(seed, self.device):
            decoded = decode(
                self.network,
                text.to(self.device),
                text_lengths.to(self.device),
                text_segments.to(self.device),
                pad_sequence(mels, batch_first=True).to(self.device),
                torch.tensor([len(mel) for mel in mels], device=self.device),
                torch.tensor(expected, device=self.device),
                options,
            )
        return [
            Speech(
                self.vocoder(row.mel.to(self.device)).cpu(), self.spec.sample_rate, row.mel, row.stop, row.finish_reason
            )
            for row in decoded
        ]

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

    def _read_prompt(self, prompt: Prompt, tokens: list[int]) -> tuple[list[list[int]], Tensor]:
        if not prompt.text or not prompt.text.strip():
            raise UserError("a prompt needs its transcript: say with --prompt-text what is spoken in the recording")
        audio = prompt.audio
        if not isinstance(audio, Tensor):
            audio = load_audio(audio, self.spec.sample_rate)
        mel = whole_steps(self.log_mel(audio), self.network.reduction_factor)
        if not len(mel):
            raise UserError("the prompt is shorter than one step of the model; give a second or more of speech")
        return [self.tokenizer.encode(prompt.text), tokens], mel
