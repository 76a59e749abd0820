"""The network, usable alone: ``from melle.model import Melle``."""

from melle.model.melle import DecodingState, Melle, MelleOutput

__all__ = ["DecodingState", "Melle", "MelleOutput"]
