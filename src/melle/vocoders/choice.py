"""Which vocoder to take where none is named."""

from __future__ import annotations

import functools
import importlib.util
import socket
from urllib.parse import urlsplit

from melle.audio import MelSpec
from melle.errors import UserError
from melle.vocoders.base import Vocoder
from melle.vocoders.griffin_lim import GriffinLim
from melle.vocoders.hifigan import NAME, HifiGan, reads

PATIENCE = 2.0  # seconds for the hub to answer


def default_vocoder(spec: MelSpec) -> Vocoder:
    """SpeechT5's HiFi-GAN wherever it can be had, else Griffin-Lim.

    It can be had where it is installed, reads the mel, and lies on this disk or on a hub that answers.
    """
    if reads(spec) and importlib.util.find_spec("transformers") is not None:
        stored = _is_stored()
        if stored or _hub_answers():
            try:
                return HifiGan(spec, local_only=stored)
            except UserError:
                pass  # a download that broke off, say
    return GriffinLim(spec)


def _is_stored() -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(NAME, "config.json"), str)


@functools.cache
def _hub_answers() -> bool:
    """Once a process: the hub's own library would try for half a minute."""
    from huggingface_hub import constants

    hub = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or hub.hostname is None:
        return False
    try:
        socket.create_connection((hub.hostname, hub.port or 443), PATIENCE).close()
    except OSError:
        return False
    return True
