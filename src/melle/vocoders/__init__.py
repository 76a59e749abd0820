"""From log10 mel back to a waveform: one interface, several ways."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from melle.audio import MelSpec
from melle.errors import UserError
from melle.vocoders.base import Vocoder
from melle.vocoders.default import default_vocoder

__all__ = ["Vocoder", "default_vocoder", "make_vocoder"]

TARGETS = {  # of conf/vocoder, by name, so that no kind's packages are imported before it is used
    "griffin_lim": "melle.vocoders.griffin_lim.GriffinLim",
    "hifigan": "melle.vocoders.hifigan.HifiGan",
    "vocos": "melle.vocoders.vocos.vocoder.Vocos",
}
EARLIER = {"neural": "vocos"}  # names of earlier versions


def make_vocoder(name: str | None = None, spec: MelSpec | None = None, **options: Any) -> Vocoder:
    """A vocoder for a model's mel, by name or by the ``_target_`` among ``options``, which are else its settings.

    Raises UserError where there is none such, where it has no such option, cannot read the mel, or cannot be had.
    """
    target = options.pop("_target_", None)
    name = EARLIER.get(name or "", name)
    if target is None:
        if name not in TARGETS:
            raise UserError(f"vocoder={name}: choose one of {', '.join(TARGETS)}")
        target = TARGETS[name]
    elif target not in TARGETS.values():
        raise UserError(f"vocoder: {target} is none of {', '.join(TARGETS.values())}")
    module, kind = target.rsplit(".", 1)
    kind = getattr(import_module(module), kind)
    name = next(key for key, value in TARGETS.items() if value == target)
    taken = list(inspect.signature(kind).parameters.values())[1:]  # after the mel's
    for option in options:
        if option not in [parameter.name for parameter in taken]:
            raise UserError(f"vocoder={name} has no {option}: leave it out, or choose another vocoder")
    for parameter in taken:
        if parameter.default is parameter.empty and not options.get(parameter.name):
            given = f"--vocoder-{parameter.name} or vocoder.{name}.{parameter.name}"
            raise UserError(f"vocoder={name} needs its {parameter.name}: give the path of one by {given}")
    return kind(spec or MelSpec(), **options)
