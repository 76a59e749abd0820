"""The network, usable alone: ``from melle.network import Melle``."""

from melle.network.melle import DecodingState, Melle, MelleOutput

__all__ = ["DecodingState", "Melle", "MelleOutput"]
