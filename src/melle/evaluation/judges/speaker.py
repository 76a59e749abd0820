"""Speaker encoders: Resemblyzer's, and x-vectors over WavLM and its kin by transformers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
import torchaudio
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.judges.base import SpeakerEncoder, audible, pad_to, receptive_field, unit
from melle.evaluation.judges.loading import from_pretrained, load_complete, loading, packages_of
from melle.hub import cached_revision, title_of

RATE = 16000  # samples per second, Resemblyzer's


@dataclass(eq=False)
class Resemblyzer(SpeakerEncoder):
    """Resemblyzer's encoder (256 numbers), whose weights are in its wheel: works offline.

    It computes what ``resemblyzer.VoiceEncoder.embed_utterance`` does, but the mel by torch: librosa, which Resemblyzer
    takes for that, spends a minute or two on compiling itself when it is first used.
    """

    name = "resemblyzer"
    packages = ("resemblyzer", "torchaudio")
    device: str = "auto"  # "auto", "cpu", "cuda", …

    def __post_init__(self) -> None:
        self.device = find_device(self.device, "device=")
        with packages_of("speaker", "speaker=resemblyzer (built with a C compiler)"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scipy and pkg_resources, through which it reaches old names
            import resemblyzer  # webrtcvad needs pkg_resources, which setuptools 81 dropped
        self._preprocess = resemblyzer.preprocess_wav
        self._encoder = resemblyzer.VoiceEncoder(self.device, verbose=False)
        self._mel = torchaudio.transforms.MelSpectrogram(
            RATE, n_fft=400, hop_length=160, n_mels=40, norm="slaney", mel_scale="slaney", pad_mode="constant"
        )

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """As Resemblyzer does it: raise the volume to -30 dBFS, cut long silences, average over windows of 1.6 s."""
        encoder = self._encoder
        samples = audible(waveform, sample_rate, RATE)
        if samples is None:
            return torch.zeros(encoder.linear.out_features)
        samples = samples.clamp(-1, 1)
        voiced = torch.from_numpy(self._preprocess(samples.numpy()))
        samples = (voiced if len(voiced) else samples).float()
        in_samples, in_frames = encoder.compute_partial_slices(len(samples), rate=1.3, min_coverage=0.75)
        mel = self._mel(pad_to(samples, in_samples[-1].stop)).T  # (frames, 40), powers
        windows = torch.stack([mel[part] for part in in_frames])
        return unit(encoder(windows.to(encoder.device)).cpu().mean(0))


@dataclass(eq=False)
class XVector(SpeakerEncoder):
    """Any x-vector model of transformers that takes samples (WavLM, UniSpeech-SAT, wav2vec 2.0, …)."""

    packages = ("transformers", "torch")
    model: str  # "hf://USER/MODEL@REVISION", or local folder, with the model and its feature extractor
    device: str = "auto"  # "auto", "cpu", "cuda", …

    def __post_init__(self) -> None:
        with packages_of("wavlm", "speaker=wavlm"):
            from transformers import AutoFeatureExtractor, AutoModelForAudioXVector
        option, where = f"model={self.model}", from_pretrained(self.model)
        self.device = find_device(self.device, "device=")
        with loading(option, "give an x-vector model's hf://USER/MODEL or local folder"):
            self._extractor = AutoFeatureExtractor.from_pretrained(**where)
            needed = "a model that was trained for speaker verification"
            loaded = load_complete(AutoModelForAudioXVector, where, option, needed)
        config = loaded.config
        if loaded.main_input_name != "input_values" or not hasattr(config, "conv_kernel"):
            raise UserError(f"{option}: takes no waveforms; give an x-vector model such as WavLM's")
        self._model = loaded.to(self.device)
        self.name, self.revision = title_of(self.model), cached_revision(self.model)
        # Two frames must come out of the x-vector layers, or their standard deviation is not a number.
        frames = 2 + sum((kernel - 1) * step for kernel, step in zip(config.tdnn_kernel, config.tdnn_dilation))
        self._shortest = receptive_field(list(config.conv_kernel), list(config.conv_stride), frames)

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Clips shorter than what the model needs for two frames end in silence."""
        rate = self._extractor.sampling_rate
        samples = audible(waveform, sample_rate, rate)
        if samples is None:
            return torch.zeros(self._model.config.xvector_output_dim)
        samples = pad_to(samples, self._shortest).numpy()
        values = self._extractor(samples, sampling_rate=rate, return_tensors="pt").input_values  # (1, N)
        return unit(self._model(values.to(self.device)).embeddings[0])
