"""Downloads and archives: resumed after interruptions, checked, unpacked whole or not at all."""

import hashlib
import http.server
import io
import logging
import re
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from melle.data.sources import archives
from melle.data.sources.archives import fetch, provide, unpack
from melle.errors import UserError

pytest.importorskip("lhotse")
CONTENT = hashlib.shake_128(b"melle").digest(300_000)


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` by name, from the byte asked for; answers first with ``errors``."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.errors, self.asked = {}, [], []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        content = self.server.files.get(self.path.lstrip("/"))
        if self.server.errors:
            return self.send_error(self.server.errors.pop(0))
        if content is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(archives, "WAITS", (0, 0))
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        server.files["a.bin"] = CONTENT
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# Downloads


def test_a_download_goes_on_where_the_last_one_stopped(server, tmp_path):
    (tmp_path / "a.bin.partial").write_bytes(CONTENT[:1000])
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and server.asked == ["bytes=1000-"]
    (tmp_path / "a.bin").rename(tmp_path / "a.bin.partial")  # whole, but killed before it got its name
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and not (tmp_path / "a.bin.partial").exists()


def test_passing_errors_are_tried_again_and_lasting_ones_are_not(server, tmp_path):
    server.errors = [503, 429]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert len(server.asked) == 3
    with pytest.raises(UserError, match=r"answers 404.*--mirror") as error:
        fetch(f"{server.url}/b.bin", tmp_path / "b.bin")
    assert one_line(error) and len(server.asked) == 4
    server.errors = [500] * 3
    (tmp_path / "c.bin.partial").write_bytes(CONTENT[:7])
    with pytest.raises(UserError, match="goes on where it stopped"):
        fetch(f"{server.url}/a.bin", tmp_path / "c.bin")
    assert (tmp_path / "c.bin.partial").read_bytes() == CONTENT[:7]
    with pytest.raises(UserError, match="not an address"):
        fetch("none.invalid/a.bin", tmp_path / "d.bin")


# Archives


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("ending, mode", [(".tar.gz", "w:gz"), (".tar.bz2", "w:bz2")])
def test_tar_files_are_unpacked_beside_what_is_there(tmp_path, ending, mode):
    root = tmp_path / "root"
    for part in ("one", "two"):
        files = {f"Corpus/{part}/a.txt": part.encode(), "Corpus/README": part.encode(), "other": b"not ours"}
        archive = make_tar(tmp_path / f"{part}{ending}", files, mode)
        assert unpack(archive, root, f"Corpus/{part}") == root / "Corpus" / part
    assert tree(root) == {"Corpus/one/a.txt": b"one", "Corpus/two/a.txt": b"two", "Corpus/README": b"one"}


def test_a_zip_without_a_folder_gets_one(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"x/a.txt": b"a"})
    unpack(archive, tmp_path / "root", "Corpus", bare=True)
    assert tree(tmp_path / "root") == {"Corpus/x/a.txt": b"a"}


@pytest.mark.parametrize("name", ["../escaped.txt", "Corpus/../../escaped.txt"])
@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("filters", [True, False])
def test_paths_do_not_lead_out(tmp_path, monkeypatch, make, name, filters):
    if not filters:  # Python 3.10.0 to 3.10.11 and 3.11.0 to 3.11.3
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    (tmp_path / "in").mkdir()
    archive = make(tmp_path / "in" / ("a.tar.gz" if make is make_tar else "a.zip"), {"Corpus/a": b"a", name: b"b"})
    if make is make_tar:
        with pytest.raises(UserError, match="written elsewhere") as error:
            unpack(archive, tmp_path / "in/root", "Corpus")
        assert one_line(error) and tree(tmp_path) == {f"in/{archive.name}": archive.read_bytes()}
    else:
        unpack(archive, tmp_path / "in/root", "Corpus")
        assert not list(tmp_path.glob("escaped.txt")) and not list((tmp_path / "in").glob("escaped.txt"))


def test_links_are_refused_and_files_unpacked_without_filters(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    unpack(make_tar(tmp_path / "b.tar.gz", {"Corpus/x/a": b"a"}), tmp_path / "good", "Corpus")
    assert tree(tmp_path / "good") == {"Corpus/x/a": b"a"}
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("Corpus/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    with pytest.raises(UserError, match="written elsewhere"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "root", "Corpus")
    assert tree(tmp_path / "root") == {}


@pytest.mark.parametrize("ending, mode", [(".tar.gz", "w:gz"), (".tar.bz2", "w:bz2")])
@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_damaged_archives_leave_nothing(tmp_path, ending, mode, harm):
    archive = make_tar(tmp_path / f"a{ending}", {"Corpus/a": CONTENT}, mode)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content if harm == "changed" else content[: len(content) // 2])
    with pytest.raises(UserError, match=r"damaged|ends too early") as error:
        unpack(archive, tmp_path / "root", "Corpus")
    assert one_line(error) and tree(tmp_path / "root") == {}
    if "too early" in str(error.value):  # so that a download goes on there
        assert harm == "cut" and archive.with_name(archive.name + ".partial").stat().st_size == len(content) // 2


def test_a_sound_archive_with_a_changed_byte_in_its_last_checksum_is_refused(tmp_path):
    archive = make_tar(tmp_path / "a.tar.gz", {"Corpus/a": b"a"})
    content = bytearray(archive.read_bytes())
    content[-5] ^= 1  # of gzip's checksum, behind the end of the tar file
    archive.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        unpack(archive, tmp_path / "root", "Corpus")


def test_an_archive_of_something_else_is_an_error(tmp_path):
    with pytest.raises(UserError, match="holds no Corpus"):
        unpack(make_tar(tmp_path / "a.tar.gz", {"Other/a": b"a"}), tmp_path / "root", "Corpus")


def test_what_an_interruption_left_is_replaced(tmp_path):
    (tmp_path / "Corpus-one.unpacking").mkdir()
    (tmp_path / "Corpus-one.unpacking" / "stale").touch()
    unpack(make_tar(tmp_path / "a.tar.gz", {"Corpus/one/a": b"a"}), tmp_path, "Corpus/one")
    assert tree(tmp_path).keys() == {"a.tar.gz", "Corpus/one/a"}


def test_two_that_want_the_same_archive_unpack_it_once(tmp_path, monkeypatch, caplog):
    archive = make_tar(tmp_path / "c.tar.gz", {"Corpus/one/a": b"a"})
    extract, asked, gate = archives._extract, [], threading.Event()

    def slowly(*arguments):
        asked.append(arguments)
        gate.wait(20)
        extract(*arguments)

    monkeypatch.setattr(archives, "_extract", slowly)
    with ThreadPoolExecutor() as pool, caplog.at_level(logging.WARNING):
        both = [pool.submit(provide, tmp_path, "https://example.invalid/c.tar.gz", "Corpus/one") for _ in range(2)]
        until = time.monotonic() + 10
        while "waiting" not in caplog.text and len(asked) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        gate.set()
    assert [one.result() for one in both] == [tmp_path / "Corpus/one"] * 2
    assert len(asked) == 1 and caplog.text.count("another process is unpacking it; waiting") == 1
    assert tree(tmp_path) == {archive.name: archive.read_bytes(), "Corpus/one/a": b"a"}


def test_what_is_there_is_used_before_archives_and_these_before_the_server(server, tmp_path):
    url = f"{server.url}/c.tar.gz"
    server.files["c.tar.gz"] = make_tar(tmp_path / "remote.tar.gz", {"Corpus/a": b"remote"}).read_bytes()
    assert provide(tmp_path / "none", url, "Corpus") is None and not (tmp_path / "none").exists()
    assert (provide(tmp_path / "fetched", url, "Corpus", download=True) / "a").read_bytes() == b"remote"
    assert provide(tmp_path / "fetched", url, "Corpus", download=True) == tmp_path / "fetched/Corpus"
    assert len(server.asked) == 1
    (tmp_path / "by_hand").mkdir()
    make_tar(tmp_path / "by_hand/c.tar.gz", {"Corpus/a": b"local"})
    assert (provide(tmp_path / "by_hand", url, "Corpus", download=True) / "a").read_bytes() == b"local"
    assert len(server.asked) == 1
