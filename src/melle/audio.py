"""Sound in and out: reading and writing files, and the log-mel spectrogram of the paper (appendix A.2)."""

from __future__ import annotations

import logging
import math
import os
import shlex
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio
from torch import Tensor, nn

from melle.audio_formats import COMPRESSED
from melle.errors import DataError, UserError
from melle.files import written_whole
from melle.options import option

logger = logging.getLogger(__name__)

# What soundfile raises for files that are broken, of absurd length, or named like raw samples.
UNREADABLE = (soundfile.LibsndfileError, OSError, MemoryError, TypeError, ValueError)
MAX_PEAK = 8.0  # of floating-point samples: more is another scale, such as that of integers
MAX_RATIO = 2000  # of two rates in lowest terms: the memory of resampling grows with its square
MAX_SAMPLES = 2**48  # more is a header's way of saying that it does not know
WRITTEN = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "RF64")  # others may keep a rate of their own
KNOWN = "give a WAV, FLAC, Ogg or MP3 file"
MAX_LOSS = 4.5  # dB that the mean of all channels may lose against the loudest: unrelated ones lose 3, one alone 6
BLOCK = 2**16  # samples written at once: of many more libsndfile's Vorbis encoder overruns the stack


@dataclass(frozen=True)
class MelSpec:
    """What a mel frame is. The defaults are the paper's, which are SpeechT5's, so that its HiFi-GAN can vocode them.

    Magnitudes (not powers) pass a Slaney filter bank and are written as log10, never below log10(``floor``).
    """

    sample_rate: int = option(16000, "samples per second", metavar="N")
    n_fft: int = option(1024, "samples per window, a Hann window", metavar="N")
    hop_length: int = option(256, "samples from frame to frame", metavar="N")  # 62.5 frames per second at 16 kHz
    n_mels: int = option(80, "bands", metavar="N")
    f_min: float = option(80.0, "Hz, lower end of the bands", metavar="N")
    f_max: float = option(7600.0, "Hz, upper end", metavar="N")
    floor: float = option(1e-10, "smallest magnitude before log10", metavar="N")

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


def within_scale(waveform: Tensor) -> Tensor:
    """The samples (N,), made softer where they would be clipped."""
    return waveform / waveform.abs().max().clamp(min=1)


def resample(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """Samples (…, N) at ``rate`` Hz to (…, ceil(N · new_rate / rate)) at ``new_rate``; unchanged where both agree."""
    return waveform if rate == new_rate else _resampler(rate, new_rate, waveform.device)(waveform).contiguous()


@lru_cache(maxsize=8)  # its filters take several times as long as a second of sound
def _resampler(rate: int, new_rate: int, device: torch.device) -> nn.Module:
    return torchaudio.transforms.Resample(rate, new_rate).to(device)


def load_audio(
    path: str | Path, sample_rate: int, most_seconds: float | None = None, always_warn: bool = False
) -> Tensor:
    """Read a sound file: mono float32 samples (N,) at ``sample_rate``. See ``read_channels`` and ``mix_channels``.

    Raises DataError where ``read_channels`` does, or where the rate cannot be resampled.
    """
    samples, rate = read_channels(path, most_seconds)
    return mono_at(sample_rate, samples, rate, path, always_warn)


def mono_at(sample_rate: int, samples: Tensor, rate: int, name: str | Path, always_warn: bool = False) -> Tensor:
    """Samples (N, channels) at ``rate`` to mono (M,) at ``sample_rate``. Raises DataError for a rate that cannot be."""
    if max(rate, sample_rate) // math.gcd(rate, sample_rate) > MAX_RATIO:
        raise DataError("odd rate", f"{name}: {rate} samples per second; convert it to {sample_rate}")
    return resample(mix_channels(samples, name, always_warn), rate, sample_rate)


def read_channels(path: str | Path, most_seconds: float | None = None) -> tuple[Tensor, int]:
    """Samples (N, channels) in float32, and their rate in Hz, of any format that libsndfile or FFmpeg knows.

    Raises DataError where the file is missing, unreadable, empty, longer than ``most_seconds``, or holds values that
    are not numbers or far beyond full scale (1).
    """
    _check_file(path)
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            _check_planned(path, file.frames / rate, most_seconds)
            samples = file.read(dtype="float32", always_2d=True)
    except UNREADABLE as error:
        samples, rate = _decode_by_ffmpeg(path, error)
        _check_planned(path, len(samples) / rate, most_seconds)
    return checked_samples(samples, path), rate


def checked_samples(samples: np.ndarray, name: str | Path) -> Tensor:
    """Samples (N, channels) as a tensor. Raises DataError for those that ``read_channels`` refuses."""
    if not samples.size:
        raise DataError("no sound", f"{name}: holds no sound; remove it from the manifest or record it again")
    if not np.isfinite(samples).all():
        raise DataError("not finite", f"{name}: holds values that are not numbers; write the file anew")
    peak = max(samples.max(), -samples.min())
    if peak > MAX_PEAK:
        raise DataError("too loud", f"{name}: samples up to {peak:.4g} where 1 is full scale; scale it down")
    return torch.from_numpy(samples)


def mix_channels(samples: Tensor, name: str | Path, always_warn: bool = False) -> Tensor:
    """Samples (N, channels) to their mean (N,), or the loudest channel where the mean loses much, which is logged.

    Channels of opposite phase cancel, and a voice in one channel alone loses 6 dB.

    Args:
        name: what the log calls the recording.
        always_warn: else only the first such recording of a process is a warning.
    """
    mean = samples.mean(dim=1)
    powers = samples.square().mean(dim=0)
    loudest = int(powers.argmax())
    if float(mean.square().mean()) >= float(powers[loudest]) * 10 ** (-MAX_LOSS / 10):
        return mean
    _log_channel(name, loudest, always_warn)
    return samples[:, loudest].contiguous()


_warned_of_channels = False


def _log_channel(name: str | Path, channel: int, always_warn: bool) -> None:
    global _warned_of_channels
    level = logging.WARNING if always_warn or not _warned_of_channels else logging.INFO
    logger.log(level, "%s: its channels cancel, or some are silent; channel %d alone is taken", name, channel + 1)
    _warned_of_channels = True


def _check_planned(path: str | Path, seconds: float, most_seconds: float | None) -> None:
    if most_seconds is not None and seconds > most_seconds:
        raise DataError(
            "wrong duration",
            f"{path}: {seconds:.2f} s where {most_seconds:.2f} s are planned at most; correct its duration in the "
            "manifest (python -m melle check does), or, if the recording was replaced, remove the folder that "
            "data.index names",
        )


def _decode_by_ffmpeg(path: str | Path, error: object) -> tuple[np.ndarray, int]:
    """Samples (N, channels) and rate in Hz, by FFmpeg where it is installed; else DataError for libsndfile's error."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise _unreadable(path, error)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"  # a file, as a pipe cannot be given its length afterwards
        # No playlist may make it open an address or another file.
        command = [program, "-v", "error", "-nostdin", "-protocol_whitelist", "file", "-i", f"file:{path}"]
        try:
            subprocess.run([*command, "-vn", "-c:a", "pcm_f32le", str(sound)], check=True, capture_output=True)
            return soundfile.read(str(sound), dtype="float32", always_2d=True)
        except (subprocess.CalledProcessError, *UNREADABLE):
            raise _unreadable(path, error) from None


def audio_duration(path: str | Path) -> float:
    """Seconds, by the file's header. Raises DataError where the file is missing, unreadable or empty."""
    _check_file(path)
    try:
        header = soundfile.info(str(path))
        frames, rate = header.frames, header.samplerate
    except UNREADABLE as error:
        samples, rate = _decode_by_ffmpeg(path, error)
        frames = len(samples)
    if frames > MAX_SAMPLES:
        raise _unreadable(path, "it does not say how long it is")
    if frames <= 0:
        raise DataError("no sound", f"{path}: holds no sound; remove it from the manifest or record it again")
    return frames / rate


def _check_file(path: str | Path) -> None:
    """Raise DataError for what is no file; opening a pipe, say, would wait for ever."""
    if not os.path.isfile(path):
        if not os.path.exists(path):
            raise DataError("missing", f"{path}: no such file; {KNOWN}")
        raise DataError("not a file", f"{path}: not a file; {KNOWN}")
    if not os.access(path, os.R_OK):
        raise DataError("no permission", f"{path}: no permission to read it; change its permissions")


def _unreadable(path: str | Path, reason: object) -> DataError:
    convert = shlex.join(["ffmpeg", "-i", str(path), str(Path(path).with_suffix(".wav"))])
    hint = KNOWN
    if Path(path).suffix.lower() in COMPRESSED:
        hint = f"install FFmpeg, or convert it where that is installed: {convert}"
        if shutil.which("ffmpeg") is not None:
            hint = f"{KNOWN}, as FFmpeg cannot read it either"
    return DataError("unreadable", f"{path}: not readable as audio ({reason}); {hint}")


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
            endings = ", ".join(f".{kind.lower()}" for kind in WRITTEN)
            raise UserError(f"{path}: unknown sound format {self.path.suffix!r}; end the name in one of {endings}")
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
        for block in samples.split(BLOCK):
            self._file.write(block.numpy())
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
