"""Continuous batching: a batch that goes on while rows join and leave it between two steps."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from melle.model import Melle
from melle.model.cache import DecodingState, KVCache
from melle.model.noise import RowNoise, StepNoise
from melle.model.window import TextWindow
from melle.synthesis.decoding import Frames, guidance_of, make_noise, prefill, prompt_steps, step_bounds
from melle.synthesis.options import DecodingOptions
from melle.synthesis.postnet_streaming import BLOCK, StreamingPostNet, refine_together
from melle.synthesis.request import Request
from melle.synthesis.stopping import REASONS, Stopping

POSITIONS = 512  # of a row, that there is room for at first
COLUMNS = 16  # attention goes over so many positions more than the longest row has, at most
MAX_WINDOW = 1024  # frames: ``max_still`` beyond them is no limit
TENSORS = ("_prefix", "_steps", "_place", "_first", "_due", "_made", "_recent")  # of the running batch, one row each


class RowCache:
    """Keys and values of one layer, of rows that come and go: each is filled from the left to a length of its own.

    The rows are the first ones of memory for ``rows``; whoever leaves is replaced by the last.
    """

    def __init__(self, rows: int, like: KVCache):
        _, heads, _, head_width = like.keys.shape
        # A mask hides what was never written, but it must be numbers. Of zeros only what is reached takes memory.
        self.keys = like.keys.new_zeros(rows, heads, POSITIONS, head_width)
        self.values = torch.zeros_like(self.keys)
        self.place = torch.zeros(0, dtype=torch.long)  # (B,) where each row's next position goes
        self.capacity = 0  # positions that attention goes over
        self._rows = torch.arange(rows, device=self.keys.device)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store one position (B, H, 1, head_width) of every row and return all."""
        count = len(keys)
        self.keys[self._rows[:count], :, self.place] = keys[:, :, 0].to(self.keys.dtype)
        self.values[self._rows[:count], :, self.place] = values[:, :, 0].to(self.values.dtype)
        return self.keys[:count, :, : self.capacity], self.values[:count, :, : self.capacity]

    def reserve(self, positions: int) -> None:
        """Make room for so many positions of every row."""
        while self.keys.shape[2] < positions:
            for name in ("keys", "values"):
                old = getattr(self, name)
                setattr(self, name, torch.cat((old, torch.zeros_like(old)), dim=2))

    def put(self, row: int, keys: Tensor, values: Tensor) -> None:
        """A new row's first positions (H, n, head_width)."""
        self.keys[row, :, : keys.shape[1]] = keys
        self.values[row, :, : keys.shape[1]] = values

    def move(self, source: int, target: int, positions: int) -> None:
        """Put the row ``source``, of so many positions, in the place of ``target``."""
        for part in (self.keys, self.values):
            part[target, :, :positions] = part[source, :, :positions]


@dataclass(eq=False)
class _Row:
    key: int
    noise: RowNoise
    postnet: StreamingPostNet
    filled: list[int]  # positions in the caches, of each of its rows there
    most: int  # steps
    done: int = 0  # frames given away
    stops: list[float] = field(default_factory=list)  # each step's stop probability


class RunningBatch:
    """Decodes rows of different ages together; a row says the same as in ``decode``, whoever joins or leaves.

    Every row has its own place in the caches (``RowCache``), so that none has to wait for another. On a GPU steps are
    not captured as CUDA graphs: their number of rows changes too often.

    Args:
        options: of all rows; what belongs to a request alone, such as its length, is in the request.
        most_rows: that are decoded at a time.
    """

    def __init__(self, network: Melle, options: DecodingOptions, frame_rate: float, most_rows: int):
        self.network, self.options, self.most_rows = network, options.with_defaults(), most_rows
        self._frame_rate, self._device = frame_rate, network.bos.device
        self._rows: list[_Row] = []
        self._guidance = guidance_of(self.options)
        self._each = self._guidance.rows  # G rows of the caches, one right after the other
        self._caches = [RowCache(most_rows * self._each, cache) for cache in network.make_caches(1, 1)]
        nothing = torch.zeros(0, dtype=torch.long, device=self._device)
        self._prefix = self._steps = self._place = nothing.view(0, self._each)  # (B, G) as in ``DecodingState``
        self._first, self._due = nothing, nothing.float()  # (B,) as in ``TextWindow``
        self._stopping = self._make_stopping([], (nothing, nothing))
        self._window = self._stopping.window if self._stopping.window <= MAX_WINDOW else network.reduction_factor
        self._made = torch.zeros(0, network.reduction_factor, network.n_mels, device=self._device)
        self._recent = torch.zeros(0, self._window, network.n_mels, device=self._device)  # raw frames, in log10

    def __len__(self) -> int:
        return len(self._rows)

    @torch.inference_mode()
    def join(self, requests: Mapping[int, Request]) -> list[Frames]:
        """Take up requests by keys of the caller's; returns frames as ``step`` does."""
        if len(self._rows) + len(requests) > self.most_rows:
            raise ValueError(f"{len(self._rows)} rows and {len(requests)} more, of {self.most_rows} at most")
        network, new = self.network, list(requests.values())
        bounds = step_bounds(network, new)
        noise = [make_noise(network, [one]) for one in new]
        keep = [own.prompt([steps])[0] for own, steps in zip(noise, prompt_steps(network, new))]
        first = StepNoise(
            pad_sequence(keep, batch_first=True, padding_value=1.0), torch.cat([own.next().latent for own in noise])
        )
        caches, state, made, logits, *prompt = prefill(network, new, self.options, first)
        self._guidance = state.guidance
        prefix, steps = (part.view(-1, self._each) for part in (state.prefix, state.steps))
        rows = []
        for key, own, most, filled, *given in zip(
            requests, noise, bounds[1].tolist(), prefix.tolist(), *(part.split(1) for part in prompt)
        ):
            postnet = StreamingPostNet(network, *given, most * network.reduction_factor)
            rows.append(_Row(key, own, postnet, filled, most))
        for cache, read in zip(self._caches, caches):
            cache.reserve(max(max(row.filled) + row.most for row in rows))
            for number, filled in enumerate(state.prefix.tolist()):
                place = len(self._rows) * self._each + number
                cache.put(place, read.keys[number, :, :filled], read.values[number, :, :filled])
        # Frames that a row does not have yet are no numbers, which are not still.
        recent = made.new_full((len(new), self._window, network.n_mels), torch.nan)
        stopping = self._make_stopping(new, bounds)
        recent = self._note(rows, stopping, recent, made, logits)
        self._rows += rows
        self._stopping.extend(stopping)
        none = prefix[:, 0]
        window = state.window or TextWindow(none, none, none.float(), math.inf)  # of no use
        own = (prefix, steps, prefix, window.first, window.at, made, recent)
        for name, part in zip(TENSORS, own):
            setattr(self, name, torch.cat((getattr(self, name), part)))
        return self._give()

    @torch.inference_mode()
    def step(self) -> list[Frames]:
        """One step of all rows. Returns frames that are final, by the keys of their rows; who has ended has left."""
        if not self._rows:
            return []
        parts = [row.noise.next() for row in self._rows]
        noise = StepNoise(*(torch.cat(part) for part in zip(*parts)))
        longest = max(max(row.filled) for row in self._rows) + 1
        prefix, steps, place = (part.view(-1) for part in (self._prefix, self._steps, self._place))
        for cache in self._caches:
            cache.place, cache.capacity = place, min(-(-longest // COLUMNS) * COLUMNS, cache.keys.shape[2])
        state = DecodingState(prefix, prefix[:, None], steps, even=False, place=place, guidance=self._guidance)
        if self.network.guided_layers and self.options.attention_window < math.inf:
            end = (self._prefix - 1 - self._steps)[:, 0]
            state = state._replace(window=TextWindow(self._first, end, self._due, self.options.attention_window))
        self._made, logits = self.network.step(self._caches, state, self._made, self.options.temperature, noise)
        for row in self._rows:
            row.filled = [count + 1 for count in row.filled]
        self._recent = self._note(self._rows, self._stopping, self._recent, self._made, logits)
        return self._give()

    @torch.inference_mode()
    def leave(self, keys: Collection[int]) -> None:
        """Rows that nobody waits for any longer; keys of no row are passed over."""
        for place in reversed(range(len(self._rows))):
            if self._rows[place].key in keys:
                self._remove(place)

    def _make_stopping(self, requests: Sequence[Request], bounds: tuple[Tensor, Tensor]) -> Stopping:
        level = torch.tensor([request.level for request in requests], device=self._device)
        first, last = (bound.to(self._device) for bound in bounds)
        return Stopping(self.options, first, last, level, self._frame_rate, self.network.reduction_factor)

    def _note(self, rows: list[_Row], stopping: Stopping, recent: Tensor, made: Tensor, logits: Tensor) -> Tensor:
        """Take what a step made of some rows, and see which end; returns their last raw frames (B, window, M)."""
        stop = logits.sigmoid()
        for row, frames, probability in zip(rows, made.split(1), stop.tolist()):
            row.postnet.append(frames)
            row.stops.append(probability)
        recent = torch.cat((recent[:, made.shape[1] :], self.network.denormalise(made)), dim=1)
        stopping.update(torch.tensor([len(row.stops) for row in rows], device=self._device), stop, recent)
        return recent

    def _give(self) -> list[Frames]:
        """The frames that are final; the rows that have ended leave."""
        given = []
        steps, reasons = self._stopping.steps.tolist(), self._stopping.reason.tolist()
        for place in reversed(range(len(self._rows))):
            if steps[place]:
                row, end = self._rows[place], steps[place] * self.network.reduction_factor
                at = torch.tensor([0], device=self._device)
                mel = torch.cat([row.postnet.refine(at, start, end)[0] for start in range(row.done, end, BLOCK)])
                given.append(Frames(row.key, mel, REASONS[reasons[place]], torch.tensor(row.stops)))
                self._remove(place)
        while ready := [row for row in self._rows if row.postnet.ready(row.done)]:
            for row, mel in zip(ready, refine_together([(row.postnet, row.done) for row in ready])):
                given.append(Frames(row.key, mel))
                row.done += BLOCK
        return given

    def _remove(self, place: int) -> None:
        """The last row takes the place of one that leaves."""
        last = len(self._rows) - 1
        for cache in self._caches:
            for number, filled in enumerate(self._rows[last].filled):
                cache.move(last * self._each + number, place * self._each + number, filled)
        order = [*range(last)]
        if place < last:
            order[place] = last
        self._rows = [self._rows[number] for number in order]
        index = torch.tensor(order, dtype=torch.long, device=self._device)
        self._stopping.select(index)
        for name in TENSORS:
            setattr(self, name, getattr(self, name)[index])
