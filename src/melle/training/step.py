"""One optimiser step over all its batches and all ranks: its loss per frame, its gradients, and whether it is taken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from melle.losses import LossTerms
from melle.training.sharding import whole

# Sums are divided by this before the backward pass, so that half precision holds them, and gradients are multiplied by
# it afterwards: a power of two, which loses nothing.
SCALE = 4096.0


@contextmanager
def unchanged_buffers(network: nn.Module) -> Iterator[None]:
    """Afterwards running statistics are as before."""
    before = [buffer.clone() for buffer in network.buffers()]
    yield
    for buffer, value in zip(network.buffers(), before):
        buffer.data.copy_(value)  # behind autograd's back: the backward pass takes the batch's own statistics


def copy_all(targets: list[Tensor], values: list[Tensor]) -> None:
    """Copy each value to its target, in one operation for each type of number."""
    for dtype in {target.dtype for target in targets}:
        pairs = [(target, value) for target, value in zip(targets, values) if target.dtype == dtype]
        torch._foreach_copy_([target for target, _ in pairs], [value for _, value in pairs])


class StepResult(NamedTuple):
    """What a step came to; the same on all ranks."""

    terms: LossTerms  # per frame, as numbers
    gradient_norm: float  # before clipping
    finite: bool  # else the step is skipped
    stop: bool  # a rank asks for training to end
    requeue: bool  # and for the job to be queued again
    faults: bool  # a rank has found utterances that cannot be used


class GradientStep:
    """Collects the batches of an optimiser step, then makes their gradients those of its loss per frame.

    The loss is the sum over the frames of all batches and ranks, divided by their number; so one rank that accumulates
    four batches, four ranks, and one rank with the four batches as one give the same gradients.

    Args:
        network: whose gradients, and whose buffers (running statistics), which ranks average.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.stop = self.requeue = False  # set to ask all ranks for an end after this step
        self.faults = 0  # utterances of this step's batches that cannot be used
        self._terms: list[LossTerms] = []
        self._ids: list[list[str]] = []
        self._before: list[Tensor] = []

    @property
    def batches(self) -> int:
        """How many it has so far."""
        return len(self._terms)

    def begin(self) -> None:
        """Before the first batch of a step: remember the running statistics, which a skipped step must not change."""
        if self._terms:
            return
        buffers = list(self.network.buffers())
        if self._before:
            copy_all(self._before, buffers)
        else:
            self._before = [buffer.clone() for buffer in buffers]

    def add(self, terms: LossTerms, ids: Iterable[Iterable[str]], accumulated: int) -> Tensor:
        """What to propagate backwards for a batch, where the trainer divides by the batches ``accumulated``."""
        self._terms.append(LossTerms(*(term.detach() for term in terms)))
        self._ids.append([name for row in ids for name in row])
        return terms.total * (accumulated / SCALE)

    def finish(self, clip: float | None) -> StepResult:
        """Once gradients are there: bring them to the loss per frame and clip them to the norm ``clip``, or drop them.

        Gradients are expected as the mean over ranks, as DDP and FSDP leave them.
        """
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        sums = torch.stack([torch.stack(terms) for terms in self._terms]).sum(dim=0)
        asked = [sums.new_full((1,), float(value)) for value in (self.stop, self.requeue, self.faults)]
        sums, ranks = self._over_ranks(torch.cat((sums, *asked)))
        *sums, stop, requeue, faults, norm = torch.cat(
            (sums, norm.reshape(1).to(sums))
        ).tolist()  # the one wait for the device
        frames = sums[-1]
        factor = SCALE * ranks / frames if frames else 0.0
        norm *= factor
        finite = math.isfinite(norm) and math.isfinite(sums[0])
        if finite and frames:
            if clip:
                factor *= min(1.0, clip / (norm + 1e-6))
            torch._foreach_mul_(gradients, factor)
        else:
            for parameter in parameters:
                parameter.grad = None  # which optimisers pass over
            copy_all(list(self.network.buffers()), self._before)
        terms = LossTerms(*(term / max(frames, 1.0) for term in sums[:-1]), frames)
        return StepResult(terms, norm, finite, stop > 0, requeue > 0, faults > 0)

    def suspects(self, result: StepResult) -> list[str]:
        """The utterances in this rank's batches whose loss is not finite; all of them where every rank's loss is."""
        bad = [ids for ids, terms in zip(self._ids, self._terms) if not torch.isfinite(terms.total)]
        return [name for ids in (self._ids if math.isfinite(result.terms.total) else bad) for name in ids]

    def end(self) -> None:
        """Forget the batches."""
        self._terms, self._ids, self.faults = [], [], 0

    def _over_ranks(self, sums: Tensor) -> tuple[Tensor, int]:
        """The sums over all ranks, and how many there are. Running statistics become their mean on the way."""
        if not (dist.is_available() and dist.is_initialized()):
            return sums, 1
        ranks = dist.get_world_size()
        buffers = [b for b in self.network.buffers() if torch.is_floating_point(b)]
        together = torch.cat((sums, *(b.flatten().to(sums) for b in buffers)))
        dist.all_reduce(together)
        sums, *means = together.split([len(sums), *(b.numel() for b in buffers)])
        for buffer, mean in zip(buffers, means):
            buffer.copy_(mean.view_as(buffer) / ranks)
        return sums, ranks
