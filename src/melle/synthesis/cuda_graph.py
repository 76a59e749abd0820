"""Decoding steps as CUDA graphs: at batch 1 launching a step's few hundred kernels takes longer than running them."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from melle.model import DecodingState, Melle
from melle.model.cache import KVCache
from melle.model.noise import StepNoise

CAPTURING = threading.Lock()  # PyTorch captures one graph at a time
WARM_UPS = 2  # steps in which libraries set themselves up, before a graph is captured


class StepRunner:
    """Makes the steps that follow ``Melle.prefill``.

    On a CUDA device the step is captured as a CUDA graph, once for every number of rows.

    Args:
        caches: one of each layer, as ``prefill`` left them.
        fixed: whether steps have fixed shapes (``DecodingState.fix``), which CUDA graphs need and compiled blocks want.
    """

    def __init__(self, network: Melle, caches: list[KVCache], state: DecodingState, temperature: float, fixed: bool):
        self._network, self._caches, self._temperature = network, caches, temperature
        self._state = state.fix(caches) if fixed else state
        self._captures = fixed and state.prefix.device.type == "cuda"
        self._graph: StepGraph | None = None

    def __call__(self, frames: Tensor, noise: StepNoise) -> tuple[Tensor, Tensor]:
        """Read the last frames (B, r, M); returns the next ones and their stop logits (B,), until the next call."""
        if not self._captures:
            return self._network.step(self._caches, self._state, frames, self._temperature, noise)
        if self._graph is None:
            self._graph = StepGraph(self._network, self._caches, self._state, self._temperature, frames, noise)
        return self._graph(frames, noise)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows only, (N,) indices; what the others took up is free again."""
        self._graph = None  # with its memory
        self._state = self._state.select(rows, self._caches)


class StepGraph:
    """A step as a CUDA graph over memory of its own; every replay advances ``state``."""

    def __init__(
        self,
        network: Melle,
        caches: list[KVCache],
        state: DecodingState,
        temperature: float,
        frames: Tensor,
        noise: StepNoise,
    ):
        self._frames, self._noise = frames.clone(), StepNoise(*(part.clone() for part in noise))
        self._device = frames.device  # streams and graphs go by the current one, which may be another
        with torch.cuda.device(self._device):
            self._capture(network, caches, state, temperature)

    def _capture(self, network: Melle, caches: list[KVCache], state: DecodingState, temperature: float) -> None:
        place, current, aside = state.place.clone(), torch.cuda.current_stream(), torch.cuda.Stream()
        due = None if state.window is None else state.window.at.clone()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                network.step(caches, state, self._frames, temperature, self._noise)
                state.place.copy_(place)  # the slot is written again
                if due is not None:
                    state.window.at.copy_(due)
        current.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, such as a loader's, may go on using the device.
            with CAPTURING, torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
                self._results = network.step(caches, state, self._frames, temperature, self._noise)
        finally:
            torch.cuda.set_stream(current)  # which a capture that failed does not give back

    def __call__(self, frames: Tensor, noise: StepNoise) -> tuple[Tensor, Tensor]:
        with torch.cuda.device(self._device):
            self._frames.copy_(frames)
            for own, part in zip(self._noise, noise):
                own.copy_(part)
            self._graph.replay()
        return self._results
