"""A GPU that there is not: tensors with shape, type and device but no values, to find what a real one stumbles over.

Operations between devices raise, as on a GPU; so do questions for values (``item``, ``nonzero``, masks as indices),
which make a GPU's program wait, and transfers, which do the same where they do not come from pinned memory.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

GPU = torch.device("cuda:0")


class Moved(Exception):
    """Something went from one device to the other."""


class Watch(TorchDispatchMode):
    """Counts operations that are no views, and raises ``Moved`` at transfers."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.lenient = False  # whether transfers are allowed

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.namespace == "aten" and func not in FREE:
            self.counts[str(func.overloadpacket).removeprefix("aten.")] += 1
        devices = {t.device.type for t in tree_iter((args, kwargs)) if isinstance(t, Tensor) and t.ndim}
        devices |= {t.device.type for t in tree_iter(result) if isinstance(t, Tensor)} if devices else set()
        if func is torch.ops.aten._to_copy.default:  # also that of a single number
            devices = {args[0].device.type, result.device.type}
        if len(devices) > 1 and not self.lenient:
            raise Moved(f"{func} between {' and '.join(sorted(devices))}")
        return result


FREE = {torch.ops.aten.detach.default, torch.ops.aten._unsafe_view.default, torch.ops.aten.empty_like.default}
FREE |= {torch.ops.aten.empty.memory_format, torch.ops.aten.new_empty.default, torch.ops.aten.lift_fresh.default}


@contextlib.contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Inside, tensors on ``GPU`` can be made and reckoned with, and autocast is to be had there."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)
    with FakeTensorMode(allow_non_fake_inputs=False), Watch() as watch:
        yield watch


def on_gpu(tensor: Tensor) -> Tensor:
    """A tensor there of the same shape and type."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)


def put_on_gpu(module: torch.nn.Module) -> None:
    """Replace the weights and buffers of a module by such tensors."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            part._parameters[name] = torch.nn.Parameter(on_gpu(value), value.requires_grad)
        for name, value in part.named_buffers(recurse=False):
            part._buffers[name] = on_gpu(value)


@torch.no_grad()
def backward(loss: Tensor) -> None:
    """``loss.backward()``, whose own engine asks the driver of the GPU, which there is not."""
    order, seen, stack = [], set(), [(loss.grad_fn, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions if following is not None]
    waiting = {loss.grad_fn: {0: torch.ones_like(loss)}}
    for node in reversed(order):
        if node not in waiting:
            continue
        own, known = waiting.pop(node), node._input_metadata
        gradients = [None if n not in own else _fitted(own[n], known[n]) for n in range(len(known))]
        if hasattr(node, "variable"):
            leaf, gradient = node.variable, gradients[0]
            leaf.grad = gradient.detach() if leaf.grad is None else leaf.grad + gradient
            continue
        results = (node if callable(node) else node.apply)(*gradients)
        results = results if isinstance(results, tuple) else (results,)
        for gradient, (following, number) in zip(results, node.next_functions):
            if following is not None and gradient is not None:
                sums = waiting.setdefault(following, {})
                sums[number] = sums[number] + gradient if number in sums else gradient


def _fitted(gradient: Tensor, known) -> Tensor:
    assert gradient.device == known.device, f"a gradient on {gradient.device} of a value on {known.device}"
    return gradient.sum_to_size(known.shape).to(known.dtype)
