"""MELLE in PyTorch Lightning: ``from melle import Synthesizer, Prompt``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from melle.synthesis.synthesizer import Prompt, Speech, Synthesizer

__all__ = ["Prompt", "Speech", "Synthesizer"]


def __getattr__(name: str):
    """Load the public classes when they are first asked for, so that ``python -m melle --help`` need not."""
    if name in __all__:
        from melle.synthesis import synthesizer

        return getattr(synthesizer, name)
    raise AttributeError(f"module 'melle' has no attribute {name!r}")
