"""A command line of train.py or evaluate.py as Hydra's grammar wants it."""

from __future__ import annotations

from collections.abc import Collection

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

# Groups that null and ~group empty, and by what: Hydra takes no null where several options may be chosen.
NO_CHOICE = {"callbacks": "[]", "logger": "[]", "augment": "[]", "protocol": "[]", "vocoder": "[]", "experiment": "[]"}
NO_CHOICE |= {"asr": "none", "speaker": "none", "quality": "none", "vad": "none"}
TEXTS = ("name", "run_dir", "output")  # whatever is given is a name
PATHS = ("checkpoint", "init_from", "resume", "data.train", "data.val", "data.test", "data.features", "data.index")


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
