"""From Hydra's configuration to objects."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from melle.errors import UserError


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
