"""Griffin-Lim: phases by iteration, without any weights."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor

from melle.audio import MelSpec
from melle.vocoders.base import Stream, Vocoder

MOMENTUM = 0.99  # of the fast Griffin-Lim algorithm (Perraudin, Balazs and Søndergaard 2013)


class GriffinLim(Vocoder):
    """Phase reconstruction without any weights: works offline, sounds a little metallic.

    Mel magnitudes go back to linear ones by the filter bank's pseudo-inverse, then the phase is iterated from zero,
    which makes the result a function of the mel alone. Strictly every sample depends on every frame; the stream's
    phases therefore are others than the whole's.
    """

    title = "Griffin-Lim"
    context = 8  # frames that a stream waits for; twice what a window reaches

    def __init__(self, spec: MelSpec, iterations: int = 32):
        super().__init__(spec)
        self.iterations = iterations
        self.register_buffer("window", torch.hann_window(spec.n_fft), persistent=False)
        self.register_buffer("inverse", torch.linalg.pinv(spec.filters()), persistent=False)

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        # T · hop_length samples have T + 1 frames, and the library mirrors half a window at both ends.
        least = self.spec.n_fft // (2 * self.spec.hop_length) + 2
        more = mel[-1:].expand(max(1, least - len(mel)), -1)
        samples = torchaudio.functional.griffinlim(
            self.magnitudes(torch.cat((mel, more))),
            window=self.window,
            n_fft=self.spec.n_fft,
            hop_length=self.spec.hop_length,
            win_length=self.spec.n_fft,
            power=1.0,
            n_iter=self.iterations,
            momentum=MOMENTUM,
            length=(len(mel) + len(more) - 1) * self.spec.hop_length,
            rand_init=False,
        )
        return samples[: len(mel) * self.spec.hop_length]

    def magnitudes(self, mel: Tensor) -> Tensor:
        """(T, M) log10 mel to linear magnitudes (n_fft / 2 + 1, T)."""
        return (10.0 ** mel.to(self.inverse) @ self.inverse).clamp(min=0).T

    def stream(self) -> Stream:
        return GriffinLimStream(self)


class GriffinLimStream:
    """Phases that continue those of the samples already given away (after RTISI-LA, Zhu, Beauregard and Wyse 2007)."""

    def __init__(self, vocoder: GriffinLim):
        self._vocoder = vocoder
        self._magnitudes = torch.zeros(vocoder.spec.n_fft // 2 + 1, 0)
        self._given = torch.zeros(0)  # the samples before the first frame to come, as far as its window reaches

    @torch.inference_mode()
    def __call__(self, mel: Tensor, last: bool) -> Tensor:
        vocoder, hop = self._vocoder, self._vocoder.spec.hop_length
        new = vocoder.magnitudes(mel)
        self._magnitudes = torch.cat((self._magnitudes.to(new), new), dim=1)
        self._given = self._given.to(new)
        before = len(self._given) // hop  # frames that are known already
        ready = self._magnitudes.shape[1] - before - (0 if last else vocoder.context)
        if ready <= 0:
            return new.new_zeros(0)
        if last:  # T · hop_length samples have T + 1 frames
            self._magnitudes = torch.cat((self._magnitudes, self._magnitudes[:, -1:]), dim=1)
        samples = self._continue(before)[: ready * hop]
        reach = -(-vocoder.spec.n_fft // hop)
        self._given = torch.cat((self._given, samples))[-reach * hop :]
        kept = len(self._given) // hop
        self._magnitudes = self._magnitudes[:, before + ready - kept :]
        return samples

    def _continue(self, before: int) -> Tensor:
        """All samples after the given ones, whose frames are the first ``before``."""
        spec, window, known = self._vocoder.spec, self._vocoder.window, len(self._given)
        frames = self._magnitudes.shape[1]
        signal = torch.zeros(frames * spec.hop_length).to(self._given)
        signal[:known] = self._given
        before_last = None
        for _ in range(self._vocoder.iterations):
            spectrum = torch.stft(
                signal, spec.n_fft, spec.hop_length, window=window, pad_mode="constant", return_complex=True
            )[:, :frames]
            faster = spectrum if before_last is None else spectrum - MOMENTUM / (1 + MOMENTUM) * before_last
            before_last = spectrum
            phases = torch.nn.functional.normalize(torch.view_as_real(faster), dim=-1)
            # Where there is no phase yet it is zero, as at the beginning of an utterance.
            phases[..., 0] += (phases == 0).all(dim=-1)
            spectrum = torch.view_as_complex(phases) * self._magnitudes
            signal = torch.istft(spectrum, spec.n_fft, spec.hop_length, window=window, length=len(signal))
            signal[:known] = self._given
        return signal[known:]
