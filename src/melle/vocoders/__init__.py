"""From log10 mel back to a waveform: one interface, several ways."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from melle.audio import MelSpec
from melle.errors import UserError
from melle.vocoders.base import Vocoder

__all__ = ["Vocoder", "make_vocoder"]

_KINDS = {  # by name, so that no kind's packages are imported before it is used
    "griffin_lim": "melle.vocoders.griffin_lim.GriffinLim",
    "hifigan": "melle.vocoders.hifigan.HifiGan",
    "neural": "melle.vocoders.neural.NeuralVocoder",
}


def make_vocoder(name: str, spec: MelSpec, **options: Any) -> Vocoder:
    """The vocoder of this name for a model's mel. Raises UserError where it cannot read it, or cannot be had."""
    if name not in _KINDS:
        raise UserError(f"vocoder={name}: choose one of {', '.join(_KINDS)}")
    module, kind = _KINDS[name].rsplit(".", 1)
    kind = getattr(import_module(module), kind)
    taken = list(inspect.signature(kind).parameters.values())[1:]  # after the mel's
    for option in options:
        if option not in [parameter.name for parameter in taken]:
            raise UserError(f"vocoder={name} has no {option}: leave it out, or choose another vocoder")
    for parameter in taken:
        if parameter.default is parameter.empty and not options.get(parameter.name):
            raise UserError(f"vocoder={name} needs its {parameter.name}: give the path of one")
    return kind(spec, **options)
