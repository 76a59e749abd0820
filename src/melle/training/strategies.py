"""How devices share the work: the options of the group ``strategy``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.fsdp import fully_shard
from torch.utils._pytree import tree_map_only

from melle.errors import UserError
from melle.training.sharding import assign, sharded_like, whole, whole_on_first

COMPRESSIONS = {"bf16": default_hooks.bf16_compress_hook, "fp16": default_hooks.fp16_compress_hook}


def automatic(devices: Any, num_nodes: int) -> Strategy | str:
    """One device alone, or DDP over several."""
    one = str(devices) == "1" or (isinstance(devices, list | tuple) and len(devices) == 1)
    return "auto" if one and num_nodes == 1 else ddp()


def ddp(compression: str | None = None) -> DDPStrategy:
    """A copy of the network on every device; gradients are averaged, on request rounded to "bf16" or "fp16" first."""
    if compression is not None and compression not in COMPRESSIONS:
        raise UserError(f"strategy.compression={compression}: choose {', '.join(COMPRESSIONS)} or null")
    return DDPStrategy(
        ddp_comm_hook=None if compression is None else COMPRESSIONS[compression],
        gradient_as_bucket_view=True,  # one copy of the gradients, not two
        broadcast_buffers=False,  # ranks average them with the loss of every step
    )


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2: weights, gradients and optimiser state in shards, one on each device.

    Checkpoints hold whole tensors in the layout of one device, so that any strategy goes on from any other's.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def shard(self, network: nn.Module) -> None:
        """Cut the weights of every block, and of what is around the blocks.

        They travel in float32: in mixed precision autocast rounds them where it does with DDP, and nowhere else.
        """
        mesh = self.device_mesh["data_parallel"]
        for block in network.blocks:
            fully_shard(block, mesh=mesh)  # which also moves it to the device
        # Cut again after every forward pass, or the one after a validation would see weights of before.
        fully_shard(network, mesh=mesh, reshard_after_forward=True)

    def gather(self, network: nn.Module, make: Callable[[], nn.Module]) -> nn.Module | None:
        """A network of ``make`` with the whole weights, in eval mode, on the first rank; None elsewhere."""
        weights = {name: whole(value).cpu() for name, value in network.state_dict().items()}
        if not self.is_global_zero:
            return None
        copy = make()
        copy.load_state_dict(weights)
        return copy.to(self.root_device).eval()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return self._whole(self.lightning_module.state_dict())

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        return self._whole(optimizer.state_dict())

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        own, given = self.lightning_module.state_dict(), checkpoint["state_dict"]
        if strict and own.keys() != given.keys():
            raise UserError(f"the checkpoint has other weights than the model: {sorted(own.keys() ^ given.keys())}")
        for name in own.keys() & given.keys():
            assign(own[name], given[name])

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"]):
            for part, its_state in _parts(optimizer, state):
                _cut(part, its_state)
            optimizer.load_state_dict(state)

    def _whole(self, values: Any) -> Any:
        """Sharded tensors put together; all ranks take part."""
        return tree_map_only(Tensor, lambda tensor: whole_on_first(tensor, self.is_global_zero), values)


def _parts(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> list[tuple[torch.optim.Optimizer, dict]]:
    """The optimisers that one is made of, with their states."""
    parts = getattr(optimizer, "parts", None)
    return [(optimizer, state)] if parts is None else [(part, state[name]) for name, part in parts.items()]


def _cut(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Cut what belongs to each weight as the weight is, before all of it comes to the device."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameters[number].shape:
                values[name] = sharded_like(value, parameters[number])
