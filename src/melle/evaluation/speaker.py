"""Speaker similarity: whether a voice is the prompt's."""

from __future__ import annotations

import warnings
from typing import Protocol

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor

from melle.errors import UserError
from melle.evaluation.sound import heard

RATE = 16000  # samples per second, Resemblyzer's


class SpeakerEncoder(Protocol):
    """What scoring asks of a speaker encoder."""

    name: str
    settings: dict  # what else its scores depend on

    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to an embedding (E,) of its voice."""
        ...


class ResemblyzerSpeaker:
    """Resemblyzer's encoder (256 numbers), whose weights are in its wheel: works offline.

    It computes what ``resemblyzer.VoiceEncoder.embed_utterance`` does, but the mel by torch: librosa, which Resemblyzer
    takes for that, spends a minute or two on compiling itself when it is first used.
    """

    name = "resemblyzer"

    def __init__(self, device: str = "cpu"):
        self.settings: dict = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of scipy and pkg_resources, through which it reaches old names
                import resemblyzer
        except ImportError as error:  # webrtcvad needs pkg_resources, which setuptools 81 dropped
            raise UserError(
                f'speaker similarity needs resemblyzer ({error}): python -m pip install -e ".[speaker]"'
                " (a C compiler is needed)"
            ) from None
        self._preprocess = resemblyzer.preprocess_wav
        self._encoder = resemblyzer.VoiceEncoder(device, verbose=False)
        self._mel = torchaudio.transforms.MelSpectrogram(
            RATE, n_fft=400, hop_length=160, n_mels=40, norm="slaney", mel_scale="slaney", pad_mode="constant"
        )

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to a vector (256,) of length 1; the zero vector where there is no sound.

        As Resemblyzer does it: raise the volume to -30 dBFS, cut long silences, average over windows of 1.6 s.
        """
        encoder = self._encoder
        samples = heard(waveform, sample_rate, RATE)
        if samples is None:
            return torch.zeros(encoder.linear.out_features)
        samples = samples.clamp(-1, 1)
        voiced = torch.from_numpy(self._preprocess(samples.numpy()))
        samples = (voiced if len(voiced) else samples).float()
        in_samples, in_frames = encoder.compute_partial_slices(len(samples), rate=1.3, min_coverage=0.75)
        mel = self._mel(F.pad(samples, (0, max(0, in_samples[-1].stop - len(samples))))).T  # (frames, 40), powers
        windows = torch.stack([mel[part] for part in in_frames])
        embedding = encoder(windows.to(encoder.device)).cpu().mean(0)
        return torch.nan_to_num(F.normalize(embedding, dim=0))


def similarities(embeddings: Tensor, voices: Tensor) -> Tensor:
    """Cosine of every embedding (A, E) with every voice (B, E): (A, B)."""
    return F.normalize(embeddings, dim=1) @ F.normalize(voices, dim=1).T
