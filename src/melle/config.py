"""From Hydra's configuration to objects."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from melle.errors import UserError, reason

# Groups that null and ~group empty, and by what: Hydra takes no null where several options may be chosen.
NO_CHOICE = {"callbacks": "[]", "logger": "[]", "protocol": "[]", "vocoder": "[]", "experiment": "[]"}
NO_CHOICE |= {"asr": "none", "speaker": "none", "quality": "none", "vad": "none"}
TEXTS = ("name", "run_dir", "output")  # whatever is given is a name
PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path", NoneType: "null"}
PATHS = ("checkpoint", "init_from", "resume", "data.train", "data.val", "data.test", "data.features", "data.index")


def sweep_suffix() -> str:
    """What tells the jobs of a sweep (``-m``) apart, such as "-model.norm-rms_seed-1"; empty outside of a sweep.

    Overrides that all jobs share are a number at its end, which also keeps it short enough for a file system. What
    Hydra or a shell would read as more than a name is a hyphen.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return ""
    hydra = HydraConfig.get()
    named = hydra.job.override_dirname  # what varies: ``melle.sweeps`` excludes the rest
    everything = ",".join(sorted(text for text in hydra.overrides.task if not text.startswith(("name=", "run_dir="))))
    if named != everything or len(named) > 120:
        named = f"{named[:100]}-{zlib.crc32(everything.encode()):08x}"
    return "-" + re.sub(r"[^\w.+-]+", "-", named.replace("/", ".").replace(",", "_"))


def corpus_folder(corpus: DictConfig | None) -> str:
    """Where the corpus that ``data.corpus`` describes lies, or would lie; of null what a message can show."""
    if corpus is None:
        return "(data.corpus is null)"
    if not OmegaConf.is_dict(corpus):
        raise UserError(f"data.corpus={corpus}: give settings of the corpus, such as data.corpus.hours=1, or null")
    try:
        return str(build(corpus).path)
    except TypeError as error:
        raise UserError(_wrong_type(corpus) or f"data.corpus: {reason(error)}") from error


OmegaConf.register_new_resolver("sweep_suffix", sweep_suffix, replace=True)
OmegaConf.register_new_resolver("corpus_folder", corpus_folder, replace=True)


def readable_arguments(arguments: list[str], lists: Collection[str], default: str | None = None) -> list[str]:
    """A command line as Hydra's grammar wants it.

    A plain ``key=value`` that the grammar cannot read (accents, "#", "~", "(", "'" or "=" in a path) gets quotes, and
    so does a path with commas outside of a sweep; in a sweep each of its values gets its own. ``name=1e5`` and
    ``name=null`` stay names, and ``run_dir=2024`` a path.

    Args:
        lists: keys that take several values: "a,b" is "[a,b]" outside of a sweep.
        default: what is added where neither a model nor an experiment is chosen, such as "experiment=quickstart".
    """
    sweep = bool({"-m", "--multirun"} & set(arguments))
    readable = [_readable(argument, lists, sweep) for argument in arguments]
    keys = {argument.partition("=")[0].lstrip("+~") for argument in arguments}
    chosen = keys & {"model", "experiment", "task", "-cn", "--config-name", "-cp", "--config-path"}
    if chosen or default is None:
        return readable
    before = ["", *readable]
    overrides = [
        n
        for n, argument in enumerate(readable, 1)
        if not argument.startswith("-") and ("=" in argument or not before[n - 1].startswith("-"))
    ]
    place = overrides[-1] if overrides else len(readable)  # among the others, as argparse wants them
    return [*readable[:place], default, *readable[place:]]


def _readable(argument: str, lists: Collection[str], sweep: bool) -> str:
    key, sign, value = argument.partition("=")
    if key.startswith("~") and key[1:] in NO_CHOICE and not sign:
        return f"{key[1:]}={NO_CHOICE[key[1:]]}"
    if not sign or key.startswith("-"):
        return argument
    if key in lists and "," in value and value[0] not in "[{'\"" and not sweep:
        return f"{key}=[{value}]"
    if value[:1] in ("[", "{", "'", '"') or "${" in value:
        return argument
    override = _parse(argument)
    if override is not None and override.is_sweep_override():
        if not sweep:
            return _quoted(key, value) if "/" in value else argument
        if not override.is_choice_sweep() or not override.value().simple_form:
            return argument  # choice(…), range(…) and the like
    parts = [_readable_value(key, part) for part in value.split(",")] if sweep else [_readable_value(key, value)]
    changed = f"{key}={','.join(parts)}"
    return argument if _parse(changed) is None else changed


def _readable_value(key: str, value: str) -> str:
    """One value with quotes where the grammar cannot read it, or would read more than a name in a name."""
    if key in NO_CHOICE and value in ("null", "none"):
        return NO_CHOICE[key]
    override = _parse(f"{key}={value}")
    quoted = QuotedString(value, Quote.single).with_quotes()
    if override is None:
        return quoted
    if override.is_sweep_override() or isinstance(found := override.value(), str):
        return value
    plain = key.lstrip("+")
    number = isinstance(found, int | float) and not isinstance(found, bool)
    return quoted if plain in TEXTS or (plain in PATHS and number) else value


def _quoted(key: str, value: str) -> str:
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def _parse(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


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
        if isinstance(cause, TypeError) and (wrong := _wrong_type(cfg)) is not None:
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


def _wrong_type(cfg: DictConfig) -> str | None:
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
            if (wrong := _wrong_type(value)) is not None:
                return wrong
            continue
        fitting = kinds | ({int} if float in kinds else set()) | ({str} if Path in kinds else set())
        if kinds <= PLAIN.keys() and type(value) not in fitting:
            words = sorted({PLAIN[kind] for kind in kinds}, key=list(PLAIN.values()).index)
            return f"{cfg._get_full_key(name)}={value}: give {' or '.join(words)}"
    return None
