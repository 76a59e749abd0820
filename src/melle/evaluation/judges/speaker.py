"""Speaker encoders: Resemblyzer's, and x-vectors over WavLM and its kin by transformers."""

from __future__ import annotations

import warnings

import torch
import torchaudio
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.judges.base import (
    SpeakerEncoder,
    audible,
    loading,
    packages_of,
    pad_to,
    receptive_field,
    unit,
)
from melle.evaluation.judges.hf import load_complete
from melle.hub import cached_revision, locate, title_of

RATE = 16000  # samples per second, Resemblyzer's


class Resemblyzer(SpeakerEncoder):
    """Resemblyzer's encoder (256 numbers), whose weights are in its wheel: works offline.

    It computes what ``resemblyzer.VoiceEncoder.embed_utterance`` does, but the mel by torch: librosa, which Resemblyzer
    takes for that, spends a minute or two on compiling itself when it is first used.
    """

    name = "resemblyzer"
    packages = ("resemblyzer", "torchaudio")

    def __init__(self, device: str = "cpu"):
        on = find_device(device, "speaker.resemblyzer.device=")
        self.settings = {"device": on.type}
        with packages_of("speaker", "speaker=resemblyzer (built with a C compiler)"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scipy and pkg_resources, through which it reaches old names
            import resemblyzer  # webrtcvad needs pkg_resources, which setuptools 81 dropped
        self._preprocess = resemblyzer.preprocess_wav
        self._encoder = resemblyzer.VoiceEncoder(on, verbose=False)
        self._mel = torchaudio.transforms.MelSpectrogram(
            RATE, n_fft=400, hop_length=160, n_mels=40, norm="slaney", mel_scale="slaney", pad_mode="constant"
        )

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to a vector (256,) of length 1; the zero vector where there is no sound.

        As Resemblyzer does it: raise the volume to -30 dBFS, cut long silences, average over windows of 1.6 s.
        """
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


class XVector(SpeakerEncoder):
    """Any x-vector model of transformers that takes samples (WavLM, UniSpeech-SAT, wav2vec 2.0, …).

    Args:
        model: "hf://USER/MODEL@REVISION", or local folder, with the model and its feature extractor.
        device: "auto", "cpu", "cuda", …

    Raises UserError where transformers or the model is missing, or where it is of another kind.
    """

    packages = ("transformers", "torch")

    def __init__(self, model: str, device: str = "auto"):
        with packages_of("wavlm", "speaker=wavlm"):
            from transformers import AutoFeatureExtractor, AutoModelForAudioXVector
        option = "speaker.wavlm.model"
        self.device = find_device(device, "speaker.wavlm.device=")
        place, revision = locate(model, option)
        where = {"pretrained_model_name_or_path": place, "revision": revision or "main"}
        with loading(f"{option}={model}", "give an x-vector model's hf://USER/MODEL or local folder"):
            self._extractor = AutoFeatureExtractor.from_pretrained(**where)
            loaded = load_complete(
                AutoModelForAudioXVector,
                where,
                f"{option}={model}",
                "a model that was trained for speaker verification",
            )
        config = loaded.config
        if loaded.main_input_name != "input_values" or not hasattr(config, "conv_kernel"):
            raise UserError(f"{option}={model}: takes no waveforms; give an x-vector model such as WavLM's")
        self._model = loaded.to(self.device)
        # Two frames must come out of the x-vector layers, or their standard deviation is not a number.
        frames = 2 + sum((kernel - 1) * step for kernel, step in zip(config.tdnn_kernel, config.tdnn_dilation))
        self._shortest = receptive_field(list(config.conv_kernel), list(config.conv_stride), frames)
        self.name = title_of(model)
        self.settings = {"model": str(model), "revision": cached_revision(model), "device": self.device.type}

    @torch.inference_mode()
    def embed(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Waveform (N,) to a vector (E,) of length 1; the zero vector where there is no sound.

        Clips shorter than what the model needs for two frames end in silence.
        """
        rate = self._extractor.sampling_rate
        samples = audible(waveform, sample_rate, rate)
        if samples is None:
            return torch.zeros(self._model.config.xvector_output_dim)
        samples = pad_to(samples, self._shortest).numpy()
        values = self._extractor(samples, sampling_rate=rate, return_tensors="pt").input_values  # (1, N)
        return unit(self._model(values.to(self.device)).embeddings[0])
