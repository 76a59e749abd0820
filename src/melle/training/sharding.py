"""Tensors of which every rank holds a shard (FSDP), and plain ones, by the same names."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """The tensor with all its values; of a sharded one all ranks must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_on_first(tensor: Tensor, first: bool) -> Tensor:
    """As ``whole``; what was sharded is put together in the memory of the ``first`` rank's host only."""
    if not isinstance(tensor, DTensor):
        return tensor
    tensor = tensor.full_tensor()
    return tensor.cpu() if first else tensor.new_empty(0)


def own_part(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, without a copy."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def with_own_part(example: Tensor, part: Tensor) -> Tensor:
    """A tensor sharded as ``example`` is, of which ``part`` is this rank's."""
    if not isinstance(example, DTensor):
        return part
    mesh, placements = example.device_mesh, example.placements
    return DTensor.from_local(part, mesh, placements, shape=example.shape, stride=example.stride())


def sharded_like(tensor: Tensor, example: Tensor) -> Tensor:
    """A whole tensor, which every rank has, cut as ``example`` is; without a copy where that is plain."""
    if not isinstance(example, DTensor):
        return tensor
    tensor = tensor.to(example.device)
    return distribute_tensor(tensor, example.device_mesh, example.placements, src_data_rank=None)


@torch.no_grad()
def assign(target: Tensor, value: Tensor) -> None:
    """Write a whole value into a tensor, sharded or not."""
    own_part(target).copy_(own_part(sharded_like(value, target)))
