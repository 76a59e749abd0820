"""Which vocoder to take where none is named."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from melle.audio import MelSpec
from melle.errors import UserError
from melle.vocoders.base import Vocoder

logger = logging.getLogger(__name__)


def default_vocoder(spec: MelSpec, own: Path | None = None) -> Vocoder:
    """The model's ``own`` where it was exported with one; else SpeechT5's HiFi-GAN where it is installed and on this
    disk; else Griffin-Lim. The network is not asked: the same machine gives the same sound.
    """
    from melle.vocoders.griffin_lim import GriffinLim
    from melle.vocoders.hifigan import HifiGan, reads

    if own is not None:
        from melle.vocoders.vocos.vocoder import Vocos

        return Vocos(spec, own)
    if reads(spec) and is_cached():
        try:
            return HifiGan(spec, local_only=True)
        except UserError as error:  # a download that broke off, say
            logger.warning("Griffin-Lim is taken: %s", error)
    return GriffinLim(spec)


def is_cached() -> bool:
    """Whether SpeechT5's HiFi-GAN is installed and was downloaded before."""
    if importlib.util.find_spec("transformers") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    from melle.vocoders.hifigan import NAME, REVISION

    return isinstance(try_to_load_from_cache(NAME, "config.json", revision=REVISION), str)
