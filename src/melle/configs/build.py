"""From Hydra's configuration to objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from melle.errors import UserError

PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path", NoneType: "null"}


def build(cfg: DictConfig, **arguments: Any) -> Any:
    """Hydra's ``instantiate``, with a mistake in the configuration raised as a UserError."""
    try:
        return instantiate(cfg, **arguments)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is missing: give it as {error.full_key}=…") from None
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError):
            raise UserError(str(cause)) from error
        if isinstance(cause, TypeError) and (wrong := wrong_type(cfg)) is not None:
            raise UserError(wrong) from error
        raise


@contextmanager
def errors_of_values() -> Iterator[None]:
    """Within, what a resolver raises is a UserError; OmegaConf wraps it, where a value is looked up."""
    try:
        yield
    except InterpolationResolutionError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__ or cause.__context__
        said = " ".join(str(error.msg or error).split())
        raise UserError(str(cause) if cause is not None else f"{error.full_key}: {said}") from None


def wrong_type(cfg: DictConfig) -> str | None:
    """A sentence on the first value under ``cfg`` that is not of the plain type that what takes it asks for."""
    try:
        target = get_object(cfg._target_)
        hints = get_type_hints(target if is_dataclass(target) else getattr(target, "__init__", target))
    except Exception:  # no target, or annotations that do not hold here: nothing is known
        hints = {}
    for name in cfg:
        value = None if OmegaConf.is_missing(cfg, name) else cfg[name]
        kinds = set(get_args(hints.get(name)) or (hints.get(name),))
        if value is None:
            continue
        if isinstance(value, DictConfig):
            if (wrong := wrong_type(value)) is not None:
                return wrong
            continue
        fitting = kinds | ({int} if float in kinds else set()) | ({str} if Path in kinds else set())
        if kinds <= PLAIN.keys() and type(value) not in fitting:
            words = sorted({PLAIN[kind] for kind in kinds}, key=list(PLAIN.values()).index)
            return f"{cfg._get_full_key(name)}={value}: give {' or '.join(words)}"
    return None
