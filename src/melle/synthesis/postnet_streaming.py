"""The post-net over frames that are still coming: in blocks, each with all that the post-net can see around it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from melle.model import Melle

BLOCK = 16  # frames


class StreamingPostNet:
    """Holds the frames y' of B rows, and gives y'' of a row block by block, as soon as its surroundings are there.

    Blocks lie at the same places whether their row is streamed or not, so that both get the same numbers.

    Args:
        prompt: (B, T, M) log10 mel, ``lengths`` (B,) frames; the new frames follow its end.
        capacity: most new frames of a row.
    """

    def __init__(self, network: Melle, prompt: Tensor, lengths: Tensor, capacity: int):
        self.network = network
        self.context = 0 if network.postnet is None else network.postnet.context
        self.count = 0  # new frames so far
        before = self.context
        self._frames = prompt.new_empty(len(prompt), before + capacity + BLOCK + self.context, network.n_mels)
        self._known = lengths.clamp(max=before)  # how much of its prompt a row has before its new frames
        if before:
            index = (lengths[:, None] - before + torch.arange(before, device=lengths.device)).clamp(min=0)
            padded = torch.nn.functional.pad(network.normalise(prompt), (0, 0, 0, 1))  # where there is no prompt at all
            index = index.clamp(max=padded.shape[1] - 1)
            self._frames[:, :before] = padded.gather(1, index[:, :, None].expand(-1, -1, network.n_mels))

    def append(self, frames: Tensor) -> None:
        """The next frames (B, n, M), in the network's scale."""
        start = self.context + self.count
        self._frames[:, start : start + frames.shape[1]] = frames
        self.count += frames.shape[1]

    def raw(self, frames: int) -> Tensor:
        """At most the last ``frames`` new ones, not refined: (B, n, M) log10 mel."""
        end = self.context + self.count
        return self.network.denormalise(self._frames[:, max(self.context, end - frames) : end])

    def ready(self, done: int) -> bool:
        """Whether the block at ``done`` has all that it needs to its right."""
        return self.count >= done + BLOCK + self.context

    def refine(self, rows: Tensor, done: int, length: int | None = None) -> Tensor:
        """The block at ``done`` of some rows (N,): (N, at most BLOCK, M) log10 mel on the CPU.

        ``length``: these rows have so many frames in all, and the block ends there at the latest.
        """
        end = self.count if length is None else length
        refined = self.network.refine(*self.window(rows, done, end))
        kept = refined[:, self.context : self.context + min(BLOCK, end - done)]
        return self.network.denormalise(kept).cpu()

    def window(self, rows: Tensor, done: int, end: int) -> tuple[Tensor, Tensor]:
        """All that the block at ``done`` depends on, (N, n, M), and which of it there is, (N, n)."""
        size = BLOCK + 2 * self.context
        window = self._frames[rows, done : done + size]
        place = torch.arange(size, device=window.device) + done - self.context  # new frames count from 0
        valid = (place >= -self._known[rows, None]) & (place < end)
        # What is beyond the end was never written, and may be anything.
        return window.masked_fill(~valid[..., None], 0.0), valid

    def select(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self._frames, self._known = self._frames[rows], self._known[rows]


def refine_together(blocks: Sequence[tuple[StreamingPostNet, int]]) -> Tensor:
    """Whole blocks of several post-nets of one row each, (N, BLOCK, M): each at its own place, as ``refine`` does."""
    first = blocks[0][0]
    row = torch.tensor([0], device=first.network.bos.device)
    windows = [postnet.window(row, done, postnet.count) for postnet, done in blocks]
    refined = first.network.refine(*(torch.cat(part) for part in zip(*windows)))
    return first.network.denormalise(refined[:, first.context : first.context + BLOCK]).cpu()
