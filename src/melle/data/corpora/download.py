"""Downloads that survive interruptions: what arrived stays in ``NAME.partial`` and the next attempt goes on there.

A file appears under its own name only when it is whole and its checksum is right. ``NAME.partial.version`` holds what
the server calls this version of the file, so that a part of one version is never completed by a part of another.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from melle.errors import UserError

ATTEMPTS = 5  # in a row in which nothing arrived, before giving up
WAIT = 1.0  # seconds before the second attempt; doubles from one to the next
TIMEOUT = 30.0  # seconds without a byte that count as an interruption
CHUNK = 1 << 20  # bytes


class _Interrupted(Exception):
    """The network or the server failed in a way that may pass."""


def fetch(url: str, path: str | Path, md5: str | None = None, sha256: str | None = None) -> Path:
    """Download ``url`` to ``path`` unless that is there already; verify it by the checksums given (hexadecimal)."""
    path = Path(path)
    if path.is_file():
        return path
    partial = path.with_name(path.name + ".partial")
    try:
        with alone(path, "downloading it"):
            if path.is_file():  # by now
                return path
            _download(url, partial)
            for algorithm, expected in (("md5", md5), ("sha256", sha256)):
                if expected and checksum(partial, algorithm) != expected.lower():
                    _discard(partial)
                    raise UserError(
                        f"{url}: what arrived has another {algorithm} checksum than was published, and was removed; "
                        "run the command again"
                    )
            os.replace(partial, path)
            _discard(partial)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or use --root"
        ) from None
    return path


@contextmanager
def alone(place: Path, doing: str) -> Iterator[None]:
    """Keep out other processes that make the same ``place``. Where one is at it, say so and wait until it is done.

    What to make may be there when the wait is over: look again.
    """
    path = place.with_name(place.name + ".lock")
    lock = FileLock(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tqdm.write(f"{place}: another process is {doing}; waiting until it is done")
            lock.acquire()
    except OSError as error:
        raise UserError(
            f"{place.parent}: cannot be written to ({error.strerror or error}); mend that or name another folder"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it on release
            path.unlink()
        lock.release()


def checksum(path: Path, algorithm: str) -> str:
    """The checksum of a file, hexadecimal."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file, _bar(f"Verifying {path.name}", path.stat().st_size) as bar:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _download(url: str, partial: Path) -> None:
    """Fill ``partial``, in as many transfers as it takes."""
    failures = 0
    while True:
        size = _size(partial)
        try:
            return _transfer(url, partial)
        except _Interrupted as error:
            failures = 1 if _size(partial) > size else failures + 1
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url}: cannot be reached ({error}); run the command again when you are online, and the download "
                    f"goes on where it stopped, or fetch the file by other means and give its folder as --archives"
                ) from None
            seconds = WAIT * 2 ** (failures - 1)
            tqdm.write(f"{partial.stem}: {error}; trying again in {seconds:.0f} s")
            time.sleep(seconds)


def _transfer(url: str, partial: Path) -> None:
    """One request for what is missing of ``partial``. Raises _Interrupted where it ends too early."""
    start = _size(partial)
    version = _known_version(url, partial) if start else None
    with _open(url, start, version) as response:
        if version and response.status in (206, 416) and _is_other(response, version):  # it does not heed If-Range
            _discard(partial)
            raise _Interrupted("the file has changed on the server")
        if response.status == 416:  # there is no such rest: the file is whole, or never was a part of this one
            if _total(response) != start:
                _discard(partial)
                raise _Interrupted("the file has changed on the server")
            return
        if response.status != 206:
            start = 0  # the server knows no ranges, or has another version of the file: it sends all
        elif _first(response) != start:
            _discard(partial)
            raise _Interrupted("the server sent another part than was asked for")
        total = _total(response)
        _check_space(partial, start, total)
        with partial.open("ab" if start else "wb") as file, _bar(f"Downloading {partial.stem}", total, start) as bar:
            if not (start and version):  # by now what belonged to another version is gone
                _note_version(url, partial, response)
            for chunk in _chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(partial) != total:
        raise _Interrupted("the connection was closed too early")


def _open(url: str, start: int, version: str | None) -> http.client.HTTPResponse | urllib.error.HTTPError:
    """The answer to a request for the bytes from ``start``, or for all if the file is not of this version any more."""
    # Compressed on the way, an archive would be another one, and its ranges other ranges.
    headers = {"User-Agent": "melle", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if version:
            headers["If-Range"] = version
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        if error.code in (408, 429) or error.code >= 500:
            raise _Interrupted(f"the server answers {error.code} {error.reason}") from None
        raise UserError(
            f"{url}: the server answers {error.code} {error.reason}; fetch the file by other means and give its folder "
            "as --archives, or name another server by --mirror"
        ) from None
    except ValueError as error:
        raise UserError(f"{url}: not an address ({error}); give --mirror https://…") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            reason = error.reason.verify_message
            raise UserError(f"{url}: its certificate is not trusted ({reason}); mend this machine's list") from None
        raise _Interrupted(getattr(error.reason, "strerror", None) or error.reason) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from None


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(CHUNK)  # what has arrived is kept, though the next byte never comes
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(str(error) or type(error).__name__) from None
        if not chunk:
            return
        yield chunk


def _total(response: http.client.HTTPResponse | urllib.error.HTTPError) -> int | None:
    """Size of the whole file in bytes, where the server says it."""
    if response.status in (206, 416):
        found = re.search(r"/(\d+)$", response.headers.get("Content-Range", "").strip())
    else:
        found = re.fullmatch(r"(\d+)", response.headers.get("Content-Length", "").strip())
    return int(found[1]) if found else None


def _first(response: http.client.HTTPResponse) -> int | None:
    """Place in the file of the first byte that the server sends of it."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", "").strip())
    return int(found[1]) if found else None


def _version_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".version")


def _note_version(url: str, partial: Path, response: http.client.HTTPResponse) -> None:
    """Keep what identifies the version of the file that ``partial`` is a part of, where the server says it."""
    tag, date = (response.headers.get(name, "").strip() for name in ("ETag", "Last-Modified"))
    version = tag if re.fullmatch(r'"[^"\s]*"', tag) else date  # a weak tag, W/"…", cannot be asked for
    if version and version.isprintable():
        _version_file(partial).write_text(f"{url}\n{version}\n", encoding="utf-8")
    else:
        _version_file(partial).unlink(missing_ok=True)


def _known_version(url: str, partial: Path) -> str | None:
    """What was noted of the same address; another server may name the same version otherwise."""
    try:
        noted = _version_file(partial).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return noted[1] if len(noted) == 2 and noted[0] == url else None


def _is_other(response: http.client.HTTPResponse | urllib.error.HTTPError, version: str) -> bool:
    found = response.headers.get("ETag" if version.startswith('"') else "Last-Modified", "").strip()
    return bool(found) and found.removeprefix("W/") != version


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _version_file(partial).unlink(missing_ok=True)


def _check_space(partial: Path, start: int, total: int | None) -> None:
    free = shutil.disk_usage(partial.parent).free
    if total is not None and total - start > free:
        raise UserError(
            f"{partial.parent}: {free / 1e9:.1f} GB are free and {partial.stem} needs {(total - start) / 1e9:.1f} GB "
            "more; free some space or use --root"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _bar(text: str, total: int | None, done: int = 0) -> tqdm:
    return tqdm(desc=text, total=total, initial=done, unit="B", unit_scale=True, unit_divisor=1024)
