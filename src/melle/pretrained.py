"""Models to hand on: a folder of plain files, on a disk or on the Hugging Face hub, without anything of training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from melle.checkpoint import FORMAT, LoadedModel, ModelDescription, load_description, load_model, load_step
from melle.errors import UserError, reason
from melle.files import check_writable, write_text, write_weights
from melle.hub import LIKE_A_NAME, download, is_hub_name, upload
from melle.model import Melle
from melle.vocoders.vocos import vocoder as vocos

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
HINT = "give a folder that `python -m melle export` wrote, or a .ckpt file that train.py wrote"
ENDINGS = (".ckpt", ".pt", ".pth")
FILES = [WEIGHTS, CONFIG, TOKENIZER, vocos.WEIGHTS, vocos.CONFIG, "voices/*"]


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
        for name in (vocos.CONFIG, vocos.WEIGHTS):
            (folder / name).unlink(missing_ok=True)
    else:
        reader = vocos.Vocos(model.description.mel, vocoder)  # which raises if it cannot speak for this model
        vocos.save_vocoder(folder, reader.description, reader.network.state_dict())
    config = model.description.as_dict() | {"step": model.step}
    tokenizer = config.pop("tokenizer")
    weights = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in model.network.state_dict().items()
    }
    write_weights(folder / WEIGHTS, weights)
    for name, values in ((TOKENIZER, tokenizer), (CONFIG, config)):
        write_text(folder / name, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def load_pretrained(where: str | Path, average: bool = True) -> LoadedModel:
    """From a folder of ``save_pretrained``, a name on the hub ("hf://user/model"), or a checkpoint that training wrote.

    ``average`` as in ``load_model``. Raises UserError for anything else.
    """
    where = fetched(where)
    return _load_folder(where) if where.is_dir() else load_model(where, average)


def read_description(where: str | Path) -> tuple[ModelDescription, int]:
    """What ``load_pretrained`` would load, and after how many steps it was written; the weights stay unread."""
    where = fetched(where)
    if not where.is_dir():
        return load_description(where), load_step(where)
    description, step = _describe_folder(where)
    if not (where / WEIGHTS).is_file():
        raise UserError(f"{where}: has no {WEIGHTS}; {HINT}")
    return description, step


def fetched(where: str | Path) -> Path:
    """The file or folder itself; of a name on the hub ("hf://user/model") the folder that it is downloaded to."""
    if is_hub_name(where):
        return download(where, FILES)
    if not Path(where).exists() and LIKE_A_NAME.fullmatch(str(where)) and Path(where).suffix not in ENDINGS:
        raise UserError(f"{where}: no such file or folder; a model on the Hugging Face hub is named hf://{where}")
    return Path(where)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run's folder, or of its folder of checkpoints."""
    places = (folder / "checkpoints" / "last.ckpt", folder / "last.ckpt")
    return next((path for path in places if path.is_file()), None)


def push(folder: str | Path, name: str, private: bool = True) -> str:
    """Upload an exported folder to the hub as ``name``, "user/model"; returns its address."""
    return upload(folder, name.removeprefix("hf://"), FILES, private)


def _load_folder(folder: Path) -> LoadedModel:
    description, step = _describe_folder(folder)
    with _user_errors(folder):
        network = Melle(**description.network)
        network.load_state_dict(load_file(folder / WEIGHTS))
    vocoder = folder if (folder / vocos.CONFIG).exists() else None
    return LoadedModel(network.eval(), description, step, vocoder)


def _describe_folder(folder: Path) -> tuple[ModelDescription, int]:
    """The description, and the steps trained."""
    if not (folder / CONFIG).is_file() and (last := last_checkpoint(folder)) is not None:
        raise UserError(f"{folder}: the folder of a run; give its checkpoint, {last}")
    with _user_errors(folder):
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tokenizer = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise UserError(f"{folder}: written by another version (format {config['format']}); export it again")
        return ModelDescription.from_dict(config | {"tokenizer": tokenizer}), int(config.get("step", 0))


@contextmanager
def _user_errors(folder: Path) -> Iterator[None]:
    """What goes wrong within is a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{folder}: has no {Path(error.filename or WEIGHTS).name}; {HINT}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, OSError) as error:
        raise UserError(f"{folder}: damaged, or of something else ({reason(error)}); {HINT}") from None
