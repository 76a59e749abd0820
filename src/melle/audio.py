"""Sound in and out: reading and writing files, and the log-mel spectrogram of the paper (appendix A.2)."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio
from torch import Tensor, nn

from melle.errors import DataError, UserError
from melle.files import written_whole

# What soundfile raises for files that are broken, of absurd length, or named like raw samples.
UNREADABLE = (soundfile.LibsndfileError, OSError, MemoryError, TypeError, ValueError)
MOST_PEAK = 8.0  # of floating-point samples: more is another scale, such as that of integers
MOST_RATIO = 2000  # of two rates in lowest terms: the memory of resampling grows with its square
MOST_SAMPLES = 2**48  # more is a header's way of saying that it does not know
WRITTEN = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "RF64")  # others may keep a rate of their own
PIECE = 2**16  # samples written at once: of many more libsndfile's Vorbis encoder overruns the stack


@dataclass(frozen=True)
class MelSpec:
    """What a mel frame is. The defaults are the paper's, which are SpeechT5's, so that its HiFi-GAN can vocode them.

    Magnitudes (not powers) pass a Slaney filter bank and are written as log10, never below log10(``floor``).
    """

    sample_rate: int = 16000  # samples per second
    n_fft: int = 1024  # samples, also the length of the Hann window
    hop_length: int = 256  # samples: 62.5 frames per second at 16 kHz
    n_mels: int = 80  # bands
    f_min: float = 80.0  # Hz
    f_max: float = 7600.0  # Hz
    floor: float = 1e-10  # smallest magnitude before the logarithm

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    def as_dict(self) -> dict:
        return asdict(self)

    def filters(self) -> Tensor:
        """The mel filter bank, (n_fft // 2 + 1, n_mels)."""
        return torchaudio.functional.melscale_fbanks(
            n_freqs=self.n_fft // 2 + 1,
            f_min=self.f_min,
            f_max=self.f_max,
            n_mels=self.n_mels,
            sample_rate=self.sample_rate,
            norm="slaney",
            mel_scale="slaney",
        )


class LogMel(nn.Module):
    """Waveform (N samples) to log10 mel spectrogram (T frames, M bands), T = 1 + N // hop_length (paper A.2)."""

    def __init__(self, spec: MelSpec | None = None):
        super().__init__()
        self.spec = spec or MelSpec()
        self.register_buffer("window", torch.hann_window(self.spec.n_fft), persistent=False)
        self.register_buffer("filters", self.spec.filters(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        if waveform.ndim != 1 or waveform.numel() == 0:
            raise ValueError(f"expected a non-empty mono waveform (N,), got shape {tuple(waveform.shape)}")
        spec = self.spec
        spectrum = torch.stft(
            _reflect(waveform, spec.n_fft // 2),
            n_fft=spec.n_fft,
            hop_length=spec.hop_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        mel = spectrum.abs().T @ self.filters
        return mel.clamp(min=spec.floor).log10()


def loudness(mel: Tensor) -> Tensor:
    """(…, T, M) log10 mel: every frame's loudest band, (…, T)."""
    return mel.amax(dim=-1)


def speech_level(mel: Tensor) -> float:
    """How loud the loud frames of an utterance (T, M) are, in log10: nineteen of twenty frames are softer."""
    return float(loudness(mel).quantile(0.95))


def load_audio(path: str | Path, sample_rate: int, most_seconds: float | None = None) -> Tensor:
    """Read a sound file of any format and rate that libsndfile knows: mono float32 samples (N,) at ``sample_rate``.

    Raises DataError where the file is missing, unreadable, empty, longer than ``most_seconds``, of a rate that cannot
    be resampled, or holds values that are not numbers or far beyond full scale (1).
    """
    _check_file(path)
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            if most_seconds is not None and file.frames > most_seconds * rate:
                raise DataError(
                    "wrong duration",
                    f"{path}: {file.frames / rate:.2f} s where {most_seconds:.2f} s are planned at most; mend its "
                    "duration in the manifest (python -m melle check does), or, if the recording was replaced, remove "
                    "the folder that data.index names",
                )
            samples = file.read(dtype="float32", always_2d=True)
    except UNREADABLE as error:
        raise _unreadable(path, error) from None
    if not samples.size:
        raise DataError("no sound", f"{path}: holds no sound; remove it from the manifest or record it again")
    if not np.isfinite(samples).all():
        raise DataError("not finite", f"{path}: holds values that are not numbers; write the file anew")
    peak = max(samples.max(), -samples.min())
    if peak > MOST_PEAK:
        raise DataError("too loud", f"{path}: samples up to {peak:.4g} where 1 is full scale; scale it down")
    if max(rate, sample_rate) // math.gcd(rate, sample_rate) > MOST_RATIO:
        raise DataError("odd rate", f"{path}: {rate} samples per second; convert it to {sample_rate}")
    waveform = torch.from_numpy(samples.mean(axis=1))
    if rate != sample_rate:
        waveform = torchaudio.functional.resample(waveform, rate, sample_rate)
    return waveform.contiguous()


def audio_duration(path: str | Path) -> float:
    """Seconds, by the file's header. Raises DataError where the file is missing, unreadable or empty."""
    _check_file(path)
    try:
        header = soundfile.info(str(path))
    except UNREADABLE as error:
        raise _unreadable(path, error) from None
    if header.frames > MOST_SAMPLES:
        raise _unreadable(path, "it does not say how long it is")
    if header.frames <= 0:
        raise DataError("no sound", f"{path}: holds no sound; remove it from the manifest or record it again")
    return header.duration


def _check_file(path: str | Path) -> None:
    """Raise DataError for what is no file; opening a pipe, say, would wait for ever."""
    hint = "give a WAV, FLAC, Ogg or MP3 file"
    if not os.path.isfile(path):
        if not os.path.exists(path):
            raise DataError("missing", f"{path}: no such file; {hint}")
        raise DataError("not a file", f"{path}: not a file; {hint}")
    if not os.access(path, os.R_OK):
        raise DataError("no permission", f"{path}: no permission to read it; mend its permissions")


def _unreadable(path: str | Path, reason: object) -> DataError:
    return DataError("unreadable", f"{path}: not readable as audio ({reason}); give a WAV, FLAC, Ogg or MP3 file")


def save_audio(path: str | Path, waveform: Tensor, sample_rate: int) -> None:
    """Write mono samples (N,) as 16-bit audio, the format taken from the path's ending, whole or not at all."""
    with AudioWriter(path, sample_rate) as file:
        file.write(waveform)


class AudioWriter:
    """Writes mono samples as they come, as 16-bit audio in the format of the path's ending.

    The file gets its name at the end of the ``with`` block; an exception leaves no file behind.
    """

    def __init__(self, path: str | Path, sample_rate: int):
        self.path, self._rate = Path(path), sample_rate
        self._kind = self.path.suffix.lstrip(".").upper()
        if self._kind not in WRITTEN or self._kind not in soundfile.available_formats():
            raise UserError(f"{path}: unknown sound format {self.path.suffix!r}; end the name in .wav or .flac")
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Written so far."""
        return self._samples / self._rate

    def __enter__(self) -> AudioWriter:
        self._stack = ExitStack()
        partial = self._stack.enter_context(written_whole(self.path, sync=False))
        subtype = "PCM_16" if "PCM_16" in soundfile.available_subtypes(self._kind) else None
        self._file = self._stack.enter_context(
            soundfile.SoundFile(str(partial), "w", self._rate, 1, subtype=subtype, format=self._kind)
        )
        return self

    def write(self, waveform: Tensor) -> None:
        """The next samples (N,), clipped at full scale; what is no number is silence."""
        samples = waveform.detach().cpu().float().nan_to_num(0.0).clamp(-1, 1)
        for piece in samples.split(PIECE):
            self._file.write(piece.numpy())
        self._samples += len(waveform)

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def _reflect(waveform: Tensor, pad: int) -> Tensor:
    """Mirror ``pad`` samples at both ends, as often as a waveform shorter than the padding needs."""
    length = waveform.numel()
    if length > pad:
        return nn.functional.pad(waveform[None], (pad, pad), mode="reflect")[0]
    period = max(2 * (length - 1), 1)
    index = torch.arange(-pad, length + pad, device=waveform.device).remainder(period)
    return waveform[torch.minimum(index, period - index) if length > 1 else torch.zeros_like(index)]
