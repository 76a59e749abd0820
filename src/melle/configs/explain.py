"""A mistake in the command line of train.py or evaluate.py as one sentence that names the nearest key or option."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from melle.console import nearest
from melle.entry_points import as_installed
from melle.errors import UserError

FULL = "HYDRA_FULL_ERROR"  # in the environment: Hydra raises, where it would print its own advice and exit
NO_NULL = "Config group override must be a string or a list"
RENAMED = {"max_skipped": "max_nonfinite_steps"}  # keys of earlier versions


@contextmanager
def explained(conf: Path, config: str) -> Iterator[None]:
    """Print what Hydra raises as one sentence, and exit with status 2.

    Args:
        conf: folder of the configurations.
        config: name of the script and of its configuration, "train" or "evaluate".
    """
    before = os.environ.get(FULL)
    os.environ[FULL] = "1"
    try:
        yield
    except (CompactHydraException, UserError, ValueError) as error:
        if before == "1" or (isinstance(error, ValueError) and not str(error).startswith(NO_NULL)):
            raise
        said = explain(error, sys.argv[1:], conf, config)
        print(f"error: {as_installed(said)}", file=sys.stderr)
        sys.exit(2)
    finally:
        os.environ.pop(FULL)
        if before is not None:
            os.environ[FULL] = before


def explain(error: Exception, arguments: list[str], conf: Path, config: str) -> str:
    """What is wrong with ``arguments``, and what to write in place of it."""
    message = " ".join(str(error).split())
    if message.startswith(NO_NULL):
        given = [argument for argument in arguments if argument.endswith(("=null", "=[null]"))]
        return f"{' '.join(given)}: this group cannot be left out; choose one of its options"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as KEY=VALUE; put a value with special characters into quotes"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(error.missing_cfg_file.removesuffix(".yaml"), error.options, conf)
    if found := re.match(r"Could not append to config\. An item is already at '(.+?)'", message):
        return f"+{found[1]}: this key is there already; leave out the +"
    if found := re.match(r"Could not (?:override|delete from config\.) '(.+?)'", message):
        return _no_key(found[1], arguments, conf, config)
    return message


def _no_option(name: str, options: list[str] | None, conf: Path) -> str:
    group, _, option = name.rpartition("/")
    known = sorted(options or (file.stem for file in (conf / group).glob("*.yaml")))
    near = nearest(option, known)
    hint = f"did you mean {near}? There are" if near else "there are"
    return f"{group}={option}: no such option; {hint} {', '.join(known)}".removeprefix("=")


def _no_key(key: str, arguments: list[str], conf: Path, config: str) -> str:
    given = next((argument for argument in arguments if _key(argument) == key), key)
    if key in RENAMED:
        return f"{given}: this key is called {RENAMED[key]} now"
    cfg = _composed([argument for argument in arguments if _key(argument) != key], conf, config)
    known = [*_keys(cfg), *(str(folder.relative_to(conf)) for folder in conf.rglob("*") if folder.is_dir())]
    more = _parameters(cfg, key.rpartition(".")[0])
    if key in more:
        return f"{given}: not listed in conf/, though there is such a setting; write +{given.lstrip('+~')}"
    last = key.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == last]  # the key alone, or of another part
    best = nearest(key, near, 0.0) if near else nearest(key, [*known, *more])
    if best is None:
        return f"{given}: no such key; `python {config}.py --cfg job` prints those that there are"
    return f"{given}: no such key; did you mean {'' if best in known else '+'}{best}?"


def _key(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+~")


def _composed(arguments: list[str], conf: Path, config: str) -> DictConfig:
    """The configuration of the overrides among ``arguments``; without them, where there is another mistake."""
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        try:
            return compose(config, overrides)
        except Exception:  # sweeps, and whatever else is mistyped
            return compose(config)


def _keys(cfg: Any, prefix: str = "") -> Iterator[str]:
    plain = OmegaConf.to_container(cfg, resolve=False) if OmegaConf.is_config(cfg) else cfg
    for name, value in plain.items() if isinstance(plain, dict) else ():
        yield f"{prefix}{name}"
        yield from _keys(value, f"{prefix}{name}.")


def _parameters(cfg: DictConfig, parent: str) -> list[str]:
    """Keys under ``parent`` that the class which it describes takes, listed or not."""
    target = OmegaConf.select(cfg, f"{parent}._target_", default=None) if parent else None
    try:
        return [f"{parent}.{name}" for name in signature(get_object(target)).parameters] if target else []
    except Exception:  # what cannot be imported has no parameters that could be suggested
        return []
