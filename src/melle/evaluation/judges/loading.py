"""What all judges load by: optional packages, models of other libraries, and one sentence where either fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from melle.errors import Unavailable, UserError, reason
from melle.hub import ask_hub, hub, is_hub_name, is_offline, locate

# Weights that no score depends on, and those of weight normalisation, which older files hold by other names: some
# releases of transformers read these and report them as missing all the same.
UNNEEDED = ("masked_spec_embed", "pos_conv_embed", "objective.", "classifier.")


@contextmanager
def packages_of(extra: str, what: str) -> Iterator[None]:
    """For imports: where one fails, ``Unavailable`` names the command that installs the extra."""
    try:
        yield
    except ImportError as error:
        message = f'{what} needs a package ({reason(error)}): python -m pip install -e ".[{extra}]"'
        raise Unavailable(message) from None


@contextmanager
def loading(option: str, hint: str) -> Iterator[None]:
    """For models: whatever another library raises becomes one sentence, ``Unavailable`` where there is no network."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many kinds: broken JSON and weights, other models, the hub's
        kind = Unavailable if is_offline(error) else UserError
        raise kind(f"{option}: cannot be loaded ({reason(error)}); {hint}") from None


def from_pretrained(model: str) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` of transformers' classes for a local folder or a model of the hub.

    Of the hub, what is on this disk alone where it is out of reach: transformers would ask again and again.
    Raises UserError for what is neither, and ``Unavailable`` for what is then not on this disk.
    """
    place, revision = locate(model, "model")
    where = {"pretrained_model_name_or_path": place, "revision": revision or "main"}
    if not is_hub_name(model) or (fault := ask_hub()) is None:
        return where
    if not isinstance(hub().try_to_load_from_cache(place, "config.json", revision=revision), str):
        raise Unavailable(
            f"model={model}: not downloaded before, and the hub is out of reach ({reason(fault)}); "
            "give a local folder by model=FOLDER"
        )
    return where | {"local_files_only": True}


def load_complete(kind: Any, where: dict[str, Any], option: str, needed: str) -> Any:
    """A model of an auto class of transformers, which would fill in missing weights at random: UserError instead."""
    network, found = kind.from_pretrained(**where, output_loading_info=True)
    missing = [key for key in found["missing_keys"] if not any(part in key for part in UNNEEDED)]
    if missing:
        raise UserError(f"{option}: has no {min(missing)}; give {needed}")
    return network.eval()
