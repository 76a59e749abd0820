"""Archives of published corpora: downloaded, resumed, and unpacked so that a folder appears whole or not at all."""

from __future__ import annotations

import bz2
import errno
import gzip
import http.client
import logging
import lzma
import shutil
import tarfile
import time
import urllib.error
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from melle.errors import UserError
from melle.locks import making

WAITS = (1, 2, 4, 8)  # seconds before another attempt, where the network or the server fails
PASSING = (408, 429, 500, 502, 503, 504)  # what a server answers that may answer otherwise soon
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
OPENERS = {".gz": gzip.open, ".bz2": bz2.open}

logger = logging.getLogger(__name__)


class LeadsOut(tarfile.TarError):
    """A member that would be written outside the folder, or is no file and no folder."""


REFUSED = (LeadsOut, getattr(tarfile, "FilterError", LeadsOut))  # Python has filters from 3.10.12 and 3.11.4 on


def provide(
    root: Path, url: str, folder: str, download: bool = False, bare: bool = False, file: str | None = None
) -> Path | None:
    """``root / folder``: as it is there, else unpacked from the archive in ``root``, else downloaded; None where not.

    Args:
        url: of the archive.  file: its name in ``root``, where that is not the last part of the address.
        folder: as the archive names it. ``root`` may also be the folder above it that the archive has.
        bare: the archive holds what belongs into ``folder``, without the folder itself.
    """
    archive = root / (file or url.rsplit("/", 1)[-1])
    if place := _unpacked(root, folder):
        return place
    if not archive.is_file() and not download:
        return None
    with making(root / folder.replace("/", "-"), "unpacking it"):
        if place := _unpacked(root, folder):  # by now
            return place
        if not archive.is_file():
            fetch(url, archive)
        return unpack(archive, root, folder, bare)


def _unpacked(root: Path, folder: str) -> Path | None:
    return next((place for place in (root / folder, root / Path(folder).name) if place.is_dir()), None)


def require_lhotse(extra: str = "corpora") -> None:
    """Raise UserError where the library is not installed that knows the corpora and reads and writes shards."""
    try:
        import lhotse  # noqa: F401
    except ImportError:
        raise UserError(f'this needs lhotse; install it with: python -m pip install -e ".[{extra}]"') from None


def fetch(url: str, path: Path) -> None:
    """Download to ``path`` by lhotse, which goes on where an earlier attempt stopped (``path.partial``)."""
    require_lhotse()
    from lhotse.utils import resumable_download

    partial = path.with_name(path.name + ".partial")
    for wait in (*WAITS, None):
        try:
            resumable_download(url, partial)
            break
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in PASSING:
                raise UserError(f"{url}: {reason}; name another server by --mirror") from None
        except ValueError as error:
            raise UserError(f"{url}: not an address ({error}); give --mirror https://…") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise UserError(f"{partial}: cannot be written ({reason}); make room or use --root") from None
        if wait is None:
            raise UserError(
                f"{url}: cannot be reached ({reason}); run the command again when you are online, and the download "
                f"goes on where it stopped, or put {path.name} into {path.parent}"
            )
        logger.warning("%s: %s; trying again in %d s", path.name, reason, wait)
        time.sleep(wait)
    partial.replace(path)


def unpack(archive: Path, root: Path, folder: str, bare: bool = False) -> Path:
    """Unpack a tar or zip archive so that ``root / folder`` appears whole or not at all, checked by its checksums."""
    scratch = root / f"{folder.replace('/', '-')}.unpacking"
    made = scratch / folder
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        target = made if bare else scratch
        target.mkdir(parents=True)
        _extract(archive, target)
        if bare and (made / made.name).is_dir():  # packed anew by someone, with the folder
            made = made / made.name
        if not made.is_dir():
            raise UserError(f"{archive}: holds no {folder}; is it another archive of the same name? Remove it")
        (root / folder).parent.mkdir(parents=True, exist_ok=True)
        for beside in made.parent.iterdir():  # such as the list of speakers
            if made.parent != scratch and beside != made and not (root / folder).with_name(beside.name).exists():
                beside.rename((root / folder).with_name(beside.name))
        return made.rename(root / folder)
    except DAMAGED as error:
        if isinstance(error, REFUSED):
            raise UserError(f"{archive}: has a file that would be written elsewhere ({error}); do not use it") from None
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{archive}: cannot be unpacked into {root} ({error.strerror}); use --root") from None
        if isinstance(error, EOFError) or "end of data" in str(error):
            archive.replace(archive.with_name(archive.name + ".partial"))
            raise UserError(f"{archive}: ends too early; the same with --download gets the rest") from None
        raise UserError(f"{archive}: damaged ({error}); remove it and add --download, or copy it again") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as content:  # whose ``extract`` leads no path out of the folder
            for member in tqdm(content.infolist(), desc=f"Unpacking {archive.name}", unit=" files"):
                content.extract(member, folder)
        return
    size = archive.stat().st_size
    with (
        archive.open("rb") as raw,
        tqdm.wrapattr(raw, "read", desc=f"Unpacking {archive.name}", total=size, unit="B", unit_scale=True) as watched,
        OPENERS[archive.suffix](watched) as content,
        tarfile.open(fileobj=content, mode="r|") as tar,
    ):
        _extract_members(tar, folder)
        while content.read(1 << 20):  # the checksum of a compressed file comes at its end
            pass


def _extract_members(tar: tarfile.TarFile, folder: Path) -> None:
    """Raises one of ``REFUSED`` for a path or a link that leads out of the folder."""
    if hasattr(tarfile, "data_filter"):
        tar.extractall(folder, filter="data")
        return
    root = folder.resolve()
    for member in tar:
        inside = (root / member.name).resolve().is_relative_to(root)
        if not inside or not (member.isfile() or member.isdir()):
            raise LeadsOut(f"{member.name!r} is no file or folder inside")
        tar.extract(member, folder, set_attrs=False)
