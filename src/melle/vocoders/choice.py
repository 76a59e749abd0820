"""Which vocoder to take where none is named."""

from __future__ import annotations

import functools
import importlib.util
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

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
        for at_hand, local_only in ((_is_stored, True), (_hub_answers, False)):
            if at_hand():
                try:
                    return HifiGan(spec, local_only=local_only)
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
    hub = urlsplit(getproxies().get(hub.scheme) or constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or hub.hostname is None:
        return False
    try:
        port = hub.port or (80 if hub.scheme == "http" else 443)
        socket.create_connection((hub.hostname, port), PATIENCE).close()
    except OSError:
        return False
    return True
