"""The network, usable alone: ``from melle.model import Melle``."""

from melle.model.cache import DecodingState
from melle.model.melle import Melle
from melle.model.output import MelleOutput

__all__ = ["DecodingState", "Melle", "MelleOutput"]
