"""The Hugging Face hub, which is asked only for names that say so: hf://USER/MODEL, with @REVISION to pin one."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from types import ModuleType

from melle.errors import Unavailable, UserError, reason

NAME = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")  # a Path has one slash left
REACHED_WITHIN = 10.0  # seconds
COMMIT = re.compile("[0-9a-f]{40}")  # a revision that does not move
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


def locate(model: str | Path, option: str) -> tuple[str, str | None]:
    """Path, or name on the hub, and revision of a model, as ``from_pretrained`` of other libraries takes them.

    Raises UserError, which names ``option``, for what is neither there nor called hf://USER/MODEL: a mistyped path is
    no question to the hub.
    """
    if is_hub_name(model):
        return hub_name(model)
    path = Path(model).expanduser()
    if not path.exists():
        hint = f"; on the Hugging Face hub it would be hf://{model}" if LIKE_A_NAME.fullmatch(str(model)) else ""
        raise UserError(f"{option}={model}: no such file or folder{hint}")
    return str(path), None


def title_of(model: str | Path) -> str:
    """The last part of a path or of a name on the hub, without the revision."""
    return Path(hub_name(model)[0] if is_hub_name(model) else model).name


def cached_revision(model: str | Path) -> str | None:
    """Commit of a model of the hub that was downloaded; None for what is not the hub's."""
    if not is_hub_name(model):
        return None
    repository, revision = hub_name(model)
    path = hub().try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else revision


def is_offline(error: BaseException | None) -> bool:
    """Whether an exception, or one of its causes, comes from there being no network."""
    while error is not None:
        if isinstance(error, socket.gaierror | ConnectionError | TimeoutError):
            return True
        if type(error).__name__ in ("LocalEntryNotFoundError", "OfflineModeIsEnabled"):  # of huggingface_hub
            return True
        error = error.__cause__ or error.__context__
    return False


def download(name: str | Path, files: list[str], what: str | None = None, hint: str = "give a file or folder") -> Path:
    """The folder to which the hub's files of these names were downloaded.

    The hub is not asked for a commit of which this disk has all of ``files``. Raises UserError where a download fails,
    which begins with ``what``, by default the name, and ends with ``hint``.
    """
    repository, revision = hub_name(name)
    if COMMIT.fullmatch(revision or "") and (folder := _on_this_disk(repository, revision, files)) is not None:
        return folder
    what, fault = what or str(name), ask_hub()
    try:
        own = {"revision": revision, "allow_patterns": files, "local_files_only": fault is not None}
        return Path(hub().snapshot_download(repository, **own))
    except UserError:
        raise
    except Exception as error:  # of the hub's many kinds
        if fault is not None:
            raise Unavailable(
                f"{what}: not downloaded before, and the hub is out of reach ({reason(fault)}); {hint}"
            ) from None
        kind = Unavailable if is_offline(error) else UserError
        raise kind(f"{what}: not to be had from the hub ({reason(error)}); {hint}") from None


def _on_this_disk(repository: str, revision: str, files: list[str]) -> Path | None:
    """The folder of a commit that was downloaded; None where one of ``files`` is missing, as if it broke off."""
    try:
        folder = Path(hub().snapshot_download(repository, revision=revision, local_files_only=True))
    except UserError:
        raise
    except Exception:  # not there, in the many ways of the hub's releases
        return None
    return folder if all(any(folder.glob(pattern)) for pattern in files) else None


def ask_hub() -> Exception | None:
    """Why the hub is out of reach; None where it is not. Asked once, where downloads ask for half a minute."""
    try:
        hub().utils.get_session().head(hub().HfApi().endpoint, timeout=REACHED_WITHIN)
    except UserError:
        raise
    except Exception as error:  # of the many kinds of its client, by which proxies and certificates are found
        return error
    return None


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
        raise Unavailable('the hub needs huggingface_hub: python -m pip install -e ".[hub]"') from None
    return huggingface_hub
