"""From Hydra's configuration to objects."""

from __future__ import annotations

import zlib
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from melle.errors import UserError


def sweep_suffix() -> str:
    """What tells the jobs of a sweep (``-m``) apart, such as "-model.norm=rms,seed=1"; empty outside of a sweep.

    Overrides that all jobs share are a number at its end, which also keeps it short enough for a file system.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return ""
    hydra = HydraConfig.get()
    named = hydra.job.override_dirname  # what varies: ``melle.training.sweeps`` excludes the rest
    everything = ",".join(sorted(text for text in hydra.overrides.task if not text.startswith(("name=", "run_dir="))))
    if named != everything or len(named) > 120:
        named = f"{named[:100]}-{zlib.crc32(everything.encode()):08x}"
    return "-" + named.replace("/", ".")


OmegaConf.register_new_resolver("sweep_suffix", sweep_suffix, replace=True)


def build(cfg: DictConfig, **arguments: Any) -> Any:
    """Hydra's ``instantiate``, with a mistake in the configuration told as a UserError."""
    try:
        return instantiate(cfg, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError):
            raise UserError(str(cause)) from error
        raise
