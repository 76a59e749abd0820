"""Where the parts of a corpus come from: unpacked already, an archive that lies there, or the server.

A part's folder appears whole or not at all, so that its presence says that nothing is left to do for it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from melle.data.corpora.download import alone, fetch
from melle.errors import UserError

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
REFUSED = getattr(tarfile, "FilterError", ())  # older Pythons know it from their last updates on
OPENERS = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".tar": nullcontext}


@dataclass(frozen=True)
class Archive:
    """A file of a corpus's publisher. ``folder`` is where its content stands, below the root."""

    url: str
    folder: str
    mark: str = ""  # something in ``folder`` by which it is known
    name: str = ""  # the file's, where the address does not end by it
    bare: bool = False  # the archive holds what is in ``folder``, without the folder itself
    md5: str | None = None
    sha256: str | None = None

    @property
    def file(self) -> str:
        return self.name or self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Source:
    """Where to look. ``archives``: folder of local archives, None for the root. ``mirror``: another server's folder."""

    root: Path
    archives: Path | None = None
    download: bool = False
    mirror: str | None = None

    def provide(self, archive: Archive) -> Path | None:
        """The folder of what the archive holds; unpacks and downloads where that is needed. None: it is not there."""
        if place := self._unpacked(archive):
            return place
        local = (folder / archive.file for folder in (self.archives, self.root) if folder is not None)
        file = next((path for path in local if path.is_file()), None)
        if file is None:
            if not self.download:
                return None
            url = f"{self.mirror.rstrip('/')}/{archive.file}" if self.mirror else archive.url
            file = fetch(url, (self.archives or self.root) / archive.file, archive.md5, archive.sha256)
        with alone(self.root / archive.folder.replace("/", "-"), "unpacking it"):
            return self._unpacked(archive) or unpack(file, self.root, archive.folder, archive.bare)

    def _unpacked(self, archive: Archive) -> Path | None:
        own = Path(archive.folder)
        # The root may also be the corpus's folder itself, or the folder of its parts.
        for place in (self.root / own, self.root / own.name, *([self.root] if archive.mark else [])):
            if place.is_dir() and (place / archive.mark).exists():
                return place
        return None


def unpack(archive: Path, root: Path, folder: str, bare: bool = False) -> Path:
    """Unpack a tar or zip archive so that ``root / folder`` appears whole or not at all. What is there stays.

    Two processes may not unpack the same folder at once.
    """
    target = root / folder
    scratch = root / (folder.replace("/", "-") + ".partial")
    made = scratch / folder
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{target}: not complete; remove it, so that it can be unpacked anew")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        (made if bare else scratch).mkdir(parents=True)
        _extract(archive, made if bare else scratch)
        if bare and (made / made.name).is_dir():  # packed anew by someone, with the folder
            made = made / made.name
        if not made.is_dir():
            raise UserError(
                f"{archive}: holds no {folder}; is it another archive of the same name? Remove or rename it"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent != root:
            for beside in made.parent.iterdir():  # such as the list of speakers
                if beside != made and not (target.parent / beside.name).exists():
                    beside.rename(target.parent / beside.name)
        made.rename(target)
    except REFUSED as error:
        raise UserError(f"{archive}: has a file that would be written elsewhere ({error}); do not use it") from None
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno:
            reason = f"cannot be unpacked into {root} ({error.strerror})"
            raise UserError(f"{archive}: {reason}; mend that, or give another place as --root") from None
        raise UserError(f"{archive}: damaged ({error}); remove it and add --download, or copy it again") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _extract(archive: Path, folder: Path) -> None:
    bar = dict(total=archive.stat().st_size, unit="B", unit_scale=True, unit_divisor=1024)
    if archive.suffix == ".zip":
        _extract_zip(archive, folder)
        return
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python cannot unpack safely; update it to 3.10.12, 3.11.4, 3.12 or later")
    if archive.suffix not in OPENERS:
        raise UserError(f"{archive}: not a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip file; unpack it by other means")
    with (
        archive.open("rb") as raw,
        tqdm.wrapattr(raw, "read", desc=f"Unpacking {archive.name}", **bar) as watched,
        OPENERS[archive.suffix](watched) as content,
        tarfile.open(fileobj=content, mode="r|") as tar,
    ):
        tar.extractall(folder, filter="data")  # refuses paths and links that lead out of the folder
        while content.read(1 << 20):  # only at its end does a compressed file tell whether it is sound
            pass


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
                raise UserError(f"{archive}: has a file that would be written elsewhere, {path}; do not use it")
        size = sum(member.file_size for member in members)
        with tqdm(desc=f"Unpacking {archive.name}", total=size, unit="B", unit_scale=True, unit_divisor=1024) as bar:
            for member in members:
                content.extract(member, folder)
                bar.update(member.file_size)
