"""The Hugging Face hub, which is asked only for names that say so: hf://USER/MODEL, with @REVISION to pin one."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from melle.errors import UserError, reason

NAME = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")  # a Path has one slash left
LIKE_A_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(name: str | Path) -> bool:
    """Whether this names a model on the hub rather than a file or folder."""
    return NAME.fullmatch(str(name)) is not None


def hub_name(name: str | Path) -> tuple[str, str | None]:
    """ "user/model" and the revision, if any, of a name for which ``is_hub_name`` is true."""
    found = NAME.fullmatch(str(name))
    if found is None:
        raise UserError(f"{name}: not a name on the hub; write hf://USER/MODEL or hf://USER/MODEL@REVISION")
    return found[1], found[2]


def download(name: str | Path, files: list[str]) -> Path:
    """The folder to which the hub's files of these names were downloaded. Raises UserError where that fails."""
    repository, revision = hub_name(name)
    try:
        return Path(hub().snapshot_download(repository, revision=revision, allow_patterns=files))
    except UserError:
        raise
    except Exception as error:  # of the hub's many kinds
        raise UserError(f"{name}: not to be had from the hub ({reason(error)}); give a file or folder") from None


def upload(folder: str | Path, name: str, files: list[str], private: bool = True) -> str:
    """Upload an exported folder to the hub as ``name``, "user/model"; returns its address."""
    api = hub().HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder), allow_patterns=files, delete_patterns=files)
    except Exception as error:  # of the hub's many kinds
        raise UserError(f"{name}: not uploaded ({reason(error)}); log in with `hf auth login`") from None
    return f"{api.endpoint}/{name}"


def hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError('the hub needs huggingface_hub: python -m pip install -e ".[hub]"') from None
    return huggingface_hub
