"""MELLE in PyTorch Lightning: ``from melle import Synthesizer, Prompt``."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from melle.synthesis.best_of import best_of
    from melle.synthesis.options import DecodingOptions
    from melle.synthesis.prompt import Prompt
    from melle.synthesis.speech import Speech
    from melle.synthesis.synthesizer import Synthesizer
    from melle.synthesis.voices import find_voice

__all__ = ["DecodingOptions", "Prompt", "Speech", "Synthesizer", "best_of", "find_voice"]

_HOMES = {
    "DecodingOptions": "options",
    "Prompt": "prompt",
    "Speech": "speech",
    "Synthesizer": "synthesizer",
    "best_of": "best_of",
    "find_voice": "voices",
}


def __getattr__(name: str):
    """Load the public classes when they are first asked for, so that ``python -m melle --help`` need not."""
    if name == "__version__":
        return _version()
    if name in _HOMES:
        return getattr(import_module(f"melle.synthesis.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'melle' has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("melle-lightning")
    except PackageNotFoundError:
        return "not installed"
