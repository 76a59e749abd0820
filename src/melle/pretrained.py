"""Models to hand on: a folder of plain files, on a disk or on the Hugging Face hub, without anything of training."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from melle.checkpoint import FORMAT, LoadedModel, ModelDescription, load_description, load_model, load_step
from melle.errors import UserError, reason
from melle.files import check_writable, write_weights, written_whole
from melle.model import Melle
from melle.vocoders import neural

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
HINT = "give a folder that `python -m melle export` wrote, or a .ckpt file that train.py wrote"
FILES = [WEIGHTS, CONFIG, TOKENIZER, neural.WEIGHTS, neural.CONFIG]


def save_pretrained(
    model: LoadedModel,
    folder: str | Path,
    dtype: torch.dtype = torch.float32,
    vocoder: str | Path | None = None,
) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``tokenizer.json`` to ``folder``.

    Args:
        dtype: of the weights in the file; float16 or bfloat16 halve it, and round.
        vocoder: a checkpoint of our own vocoder to go with it, as ``vocoder.safetensors`` and ``vocoder.json``.
    """
    folder = Path(folder)
    check_writable(folder, folder=True)
    if vocoder is None:  # one of an earlier export is not this model's
        for name in (neural.CONFIG, neural.WEIGHTS):
            (folder / name).unlink(missing_ok=True)
    else:
        reader = neural.NeuralVocoder(model.description.mel, vocoder)  # which tells if it cannot speak for this model
        neural.save_vocoder(folder, reader.description, reader.network.state_dict())
    config = model.description.as_dict() | {"step": model.step}
    tokenizer = config.pop("tokenizer")
    weights = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in model.network.state_dict().items()
    }
    write_weights(folder / WEIGHTS, weights)
    for name, values in ((TOKENIZER, tokenizer), (CONFIG, config)):
        with written_whole(folder / name) as partial:
            partial.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_pretrained(where: str | Path, average: bool = True) -> LoadedModel:
    """From a folder that ``save_pretrained`` wrote, a hub id such as "user/model", or a checkpoint that training wrote.

    ``average`` as in ``load_model``. Raises UserError for anything else.
    """
    where = fetched(where)
    return _load_folder(where) if where.is_dir() else load_model(where, average)


def look_into(where: str | Path) -> tuple[ModelDescription, int]:
    """What ``load_pretrained`` would load, and after how many steps it was written; the weights stay unread."""
    where = fetched(where)
    if not where.is_dir():
        return load_description(where), load_step(where)
    description, step = _describe_folder(where)
    if not (where / WEIGHTS).is_file():
        raise UserError(f"{where}: has no {WEIGHTS}; {HINT}")
    return description, step


def fetched(where: str | Path) -> Path:
    """The file or folder itself; of a hub id the folder that it is downloaded to."""
    if not Path(where).exists() and is_hub_id(str(where)):
        return _download(str(where))
    return Path(where)


def is_hub_id(name: str) -> bool:
    """Whether this may be the name of a model on the hub rather than a path."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and Path(name).suffix not in (".ckpt", ".pt", ".pth")


def push(folder: str | Path, name: str, private: bool = True) -> str:
    """Upload an exported folder to the hub as ``name``, "user/model"; returns its address."""
    api = _hub().HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder), allow_patterns=FILES, delete_patterns=FILES)
    except Exception as error:  # of the hub's many kinds
        raise UserError(f"{name}: not uploaded ({reason(error)}); log in with `hf auth login`") from None
    return f"{api.endpoint}/{name}"


def _load_folder(folder: Path) -> LoadedModel:
    description, step = _describe_folder(folder)
    with _mistakes_told(folder):
        network = Melle(**description.network)
        network.load_state_dict(load_file(folder / WEIGHTS))
    vocoder = folder if (folder / neural.CONFIG).exists() else None
    return LoadedModel(network.eval(), description, step, vocoder)


def _describe_folder(folder: Path) -> tuple[ModelDescription, int]:
    """The description, and the steps trained."""
    with _mistakes_told(folder):
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tokenizer = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise UserError(f"{folder}: written by another version (format {config['format']}); export it again")
        return ModelDescription.from_dict(config | {"tokenizer": tokenizer}), int(config.get("step", 0))


@contextmanager
def _mistakes_told(folder: Path) -> Iterator[None]:
    """What goes wrong within is a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{folder}: has no {Path(error.filename or WEIGHTS).name}; {HINT}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, OSError) as error:
        raise UserError(f"{folder}: damaged, or of something else ({reason(error)}); {HINT}") from None


def _download(name: str) -> Path:
    hub = _hub()
    try:
        return Path(hub.snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # of the hub's many kinds
        raise UserError(
            f"{name}: no such file or folder, and not to be had from the hub ({reason(error)}); "
            "give a .ckpt file, an exported folder or a hub id"
        ) from None


def _hub():
    try:
        import huggingface_hub
    except ImportError:
        raise UserError('the hub needs huggingface_hub: python -m pip install -e ".[hub]"') from None
    return huggingface_hub
