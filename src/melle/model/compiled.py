"""torch.compile: what it needs, and how often it was at work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from melle.model.melle import Melle


def compile_blocks(network: Melle, backend: str = "inductor") -> None:
    """Compile every block in place; all share their graphs, whatever a batch's shape.

    For ``forward``, and for the steps of a state that is fixed. RuntimeError where there is no C++ compiler, which the
    backend "inductor" needs. The names of the weights stay.
    """
    if backend == "inductor":
        require_compiler()
    for block in network.blocks:
        block.compile(dynamic=True, backend=backend)


def require_compiler() -> None:
    """RuntimeError where there is no C++ compiler, which would else come to light deep inside a training step."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError:
        raise RuntimeError(
            "torch.compile needs a C++ compiler, and there is none: install g++, or name one in the variable CXX"
        ) from None


def compiled_graphs() -> tuple[int, int]:
    """Graphs compiled so far in this process, and how many of them were recompilations of code compiled before."""
    frames = sys.modules.get("torch._dynamo.convert_frame")
    if frames is None:  # nothing was ever compiled, and the import takes seconds
        return 0, 0
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"], sum(count - 1 for count in frames.FRAME_COMPILE_COUNTER.values())
