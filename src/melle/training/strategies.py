"""How devices share the work: the options of the group ``strategy``."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from melle.devices import count_devices
from melle.errors import UserError

COMPRESSIONS = {"bf16": default_hooks.bf16_compress_hook, "fp16": default_hooks.fp16_compress_hook}


def automatic(accelerator: str, devices: Any, num_nodes: int) -> Strategy | str:
    """One device alone, or DDP over several."""
    return "auto" if count_devices(accelerator, devices) == 1 and num_nodes == 1 else ddp()


def ddp(compression: str | None = None) -> DDPStrategy:
    """A copy of the network on every device; gradients are averaged, on request rounded to "bf16" or "fp16" first."""
    if compression is not None and compression not in COMPRESSIONS:
        raise UserError(f"strategy.compression={compression}: choose {', '.join(COMPRESSIONS)} or null")
    return DDPStrategy(
        ddp_comm_hook=None if compression is None else COMPRESSIONS[compression],
        gradient_as_bucket_view=True,  # one copy of the gradients, not two
    )
