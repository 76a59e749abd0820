"""Downloads and archives: resumed after interruptions, verified, unpacked whole or not at all."""

import hashlib
import http.server
import io
import re
import socket
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from melle.data.corpora import archives, download
from melle.data.corpora.archives import Archive, Source, unpack
from melle.data.corpora.download import fetch
from melle.errors import UserError

CONTENT = hashlib.shake_128(b"melle").digest(300_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` by name. ``cut``: bytes after which it closes the connection, for as many requests as listed."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.errors, self.ranges, self.asked = {}, [], [], True, []
        self.lengths = True
        # What it says of the version of its files, whether it heeds If-Range, what If-Range it was sent.
        self.version, self.heeds, self.conditions = {}, True, []
        self.gate = threading.Event()  # it answers when this is set
        self.gate.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        condition = self.headers.get("If-Range")
        server.conditions.append(condition)
        server.gate.wait(20)
        content = server.files.get(self.path.lstrip("/"))
        if server.errors:
            return self.send_error(server.errors.pop(0))
        if content is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if condition and server.heeds and condition not in server.version.values():
            start = 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        for name, value in server.version.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: server.cut.pop(0) if server.cut else None])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "WAIT", 0.0)
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


def test_a_file_arrives_and_is_fetched_once(server, tmp_path):
    path = tmp_path / "new" / "a.bin"
    assert fetch(f"{server.url}/a.bin", path, md5=MD5, sha256=SHA256) == path
    fetch(f"{server.url}/a.bin", path, md5=MD5)
    assert path.read_bytes() == CONTENT and server.asked == [None]
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cut = [150_000, 50_000]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=150000-", "bytes=200000-"]


def test_the_next_run_goes_on_where_the_last_one_stopped(server, tmp_path):
    (tmp_path / "a.bin.partial").write_bytes(CONTENT[:123_456])
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and server.asked == ["bytes=123456-"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.ranges, server.cut = False, [150_000]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and server.asked == [None, "bytes=150000-"]


def test_a_server_may_not_say_how_much_comes(server, tmp_path):
    server.lengths = False
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_whole_partial_file_is_taken_and_one_too_long_fetched_anew(server, tmp_path):
    for excess in (b"", b"more"):
        path = tmp_path / f"{len(excess)}.bin"
        path.with_name(path.name + ".partial").write_bytes(CONTENT + excess)
        fetch(f"{server.url}/a.bin", path, MD5)
        assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=300000-", "bytes=300004-", None]


def test_passing_errors_are_tried_again(server, tmp_path):
    server.errors = [503, 429, 500]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    assert len(server.asked) == 4


def test_a_wrong_checksum_is_an_error_and_the_file_is_not_kept(server, tmp_path):
    with pytest.raises(UserError, match="another md5 checksum") as error:
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5="0" * 32)
    assert one_line(error) and list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="another sha256 checksum"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", sha256="0" * 64)


def test_what_is_not_there_is_an_error_at_once(server, tmp_path):
    with pytest.raises(UserError, match="404") as error:
        fetch(f"{server.url}/b.bin", tmp_path / "b.bin")
    assert one_line(error) and len(server.asked) == 1


def test_being_offline_is_an_error_that_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "WAIT", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]  # bound, but nobody listens
        with pytest.raises(UserError, match=r"cannot be reached .* when you are online") as error:
            fetch(f"http://127.0.0.1:{port}/a.bin", tmp_path / "a.bin")
    assert one_line(error) and list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="not an address"):
        fetch("nonsense", tmp_path / "a.bin")


def test_a_server_that_gives_up_leaves_what_arrived(server, tmp_path):
    server.cut = [100_000] + [0] * 9
    with pytest.raises(UserError, match="closed too early"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin.partial").stat().st_size == 100_000


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    "version, condition",
    [
        ({"ETag": '"one"', "Last-Modified": DATE}, '"one"'),
        ({"ETag": 'W/"one"', "Last-Modified": DATE}, DATE),
        ({"Last-Modified": DATE}, DATE),
        ({"ETag": 'W/"one"'}, None),
    ],
)
def test_the_version_goes_along_with_what_is_missing(server, tmp_path, version, condition):
    server.version, server.cut = version, [150_000, 50_000]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    assert server.asked == [None, "bytes=150000-", "bytes=200000-"]
    assert server.conditions == [None, condition, condition]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("name, values", [("ETag", ('"one"', '"two"')), ("Last-Modified", (DATE, DATE[:-6] + "1 GMT"))])
def test_a_file_that_has_changed_meanwhile_is_fetched_anew(server, tmp_path, heeds, name, values):
    server.heeds, server.version, server.cut = heeds, {name: values[0]}, [100_000] + [0] * 9
    with pytest.raises(UserError, match="closed too early"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    server.files["a.bin"], server.version, server.cut = CONTENT[::-1], {name: values[1]}, [50_000]
    if not heeds:
        server.cut.insert(0, 0)
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]
    assert server.conditions[-1] == values[1]  # it went on with the new version
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


def test_another_server_is_not_asked_for_the_version_of_the_first(server, tmp_path):
    server.version, server.cut = {"ETag": '"one"'}, [100_000] + [0] * 9
    with pytest.raises(UserError, match="closed too early"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    server.version, server.cut, server.files["mirror/a.bin"] = {"ETag": '"other"'}, [50_000], CONTENT
    fetch(f"{server.url}/mirror/a.bin", tmp_path / "a.bin", MD5)
    assert server.asked[-2:] == ["bytes=100000-", "bytes=150000-"] and server.conditions[-2:] == [None, '"other"']


def test_two_that_want_the_same_file_fetch_it_once(server, tmp_path, capsys):
    server.gate.clear()
    said = ""
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(fetch, f"{server.url}/a.bin", tmp_path / "a.bin", MD5) for _ in range(2)]
        until = time.monotonic() + 10
        while "waiting" not in said and len(server.asked) < 2 and time.monotonic() < until:
            said += capsys.readouterr().out
            time.sleep(0.01)
        server.gate.set()
    assert [one.result() for one in both] == [tmp_path / "a.bin"] * 2
    assert server.asked == [None] and (tmp_path / "a.bin").read_bytes() == CONTENT
    assert said.count("another process is downloading it; waiting") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


def test_a_place_that_cannot_be_locked_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written to") as error, download.alone(tmp_path / "file/a", "there"):
        pass
    assert one_line(error)


def test_a_full_disk_is_an_error_before_the_transfer(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="are free"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")


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


@pytest.mark.parametrize(
    "ending, mode", [(".tar.gz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar", "w"), (".tar.xz", "w:xz")]
)
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
def test_paths_that_lead_out_are_refused(tmp_path, make, name):
    archive = make(tmp_path / ("a.tar.gz" if make is make_tar else "a.zip"), {"Corpus/a": b"a", name: b"b"})
    with pytest.raises(UserError, match="written elsewhere") as error:
        unpack(archive, tmp_path / "root", "Corpus")
    assert one_line(error) and tree(tmp_path) == {archive.name: archive.read_bytes()}


@pytest.mark.parametrize("ending, mode", [(".tar.gz", "w:gz"), (".tar.bz2", "w:bz2")])
@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_damaged_archives_leave_nothing(tmp_path, ending, mode, harm):
    archive = make_tar(tmp_path / f"a{ending}", {"Corpus/a": CONTENT}, mode)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content if harm == "changed" else content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged") as error:
        unpack(archive, tmp_path / "root", "Corpus")
    assert one_line(error) and tree(tmp_path / "root") == {}


def test_an_archive_of_something_else_is_an_error(tmp_path):
    with pytest.raises(UserError, match="holds no Corpus"):
        unpack(make_tar(tmp_path / "a.tar.gz", {"Other/a": b"a"}), tmp_path / "root", "Corpus")
    (tmp_path / "root" / "Half").mkdir(parents=True)
    (tmp_path / "root" / "Half" / "a").touch()
    with pytest.raises(UserError, match="not complete; remove it"):
        unpack(make_tar(tmp_path / "b.tar.gz", {"Half/a": b"a"}), tmp_path / "root", "Half")
    (tmp_path / "a.rar").touch()
    with pytest.raises(UserError, match="unpack it by other means"):
        unpack(tmp_path / "a.rar", tmp_path / "root", "Corpus")
    assert tree(tmp_path / "root") == {"Half/a": b""}


def test_what_an_interruption_left_is_replaced(tmp_path):
    (tmp_path / "Corpus-one.partial").mkdir()
    (tmp_path / "Corpus-one.partial" / "stale").touch()
    unpack(make_tar(tmp_path / "a.tar.gz", {"Corpus/one/a": b"a"}), tmp_path, "Corpus/one")
    assert tree(tmp_path).keys() == {"a.tar.gz", "Corpus/one/a"}


@pytest.mark.parametrize("mark", ["", "a"])
def test_two_that_want_the_same_archive_unpack_it_once(tmp_path, monkeypatch, capsys, mark):
    archive = make_tar(tmp_path / "c.tar.gz", {"Corpus/one/a": b"a"})
    extract, asked, gate, said = archives._extract, [], threading.Event(), ""

    def slowly(*arguments):
        asked.append(arguments)
        gate.wait(20)
        extract(*arguments)

    monkeypatch.setattr(archives, "_extract", slowly)
    wanted, source = Archive("https://example.invalid/c.tar.gz", "Corpus/one", mark), Source(tmp_path)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(source.provide, wanted) for _ in range(2)]
        until = time.monotonic() + 10
        while "waiting" not in said and len(asked) < 2 and time.monotonic() < until:
            said += capsys.readouterr().out
            time.sleep(0.01)
        gate.set()
    assert [one.result() for one in both] == [tmp_path / "Corpus/one"] * 2
    assert len(asked) == 1 and said.count("another process is unpacking it; waiting") == 1
    assert tree(tmp_path) == {archive.name: archive.read_bytes(), "Corpus/one/a": b"a"}


def test_what_is_there_is_used_before_archives_and_these_before_the_server(server, tmp_path):
    local = make_tar(tmp_path / "local.tar.gz", {"Corpus/a": b"local"})
    server.files["c.tar.gz"] = make_tar(tmp_path / "remote.tar.gz", {"Corpus/a": b"remote"}).read_bytes()
    archive = Archive(f"{server.url}/c.tar.gz", "Corpus", mark="a")
    assert Source(tmp_path / "none").provide(archive) is None

    fetched = Source(tmp_path / "fetched", download=True)
    assert (fetched.provide(archive) / "a").read_bytes() == b"remote"
    assert fetched.provide(archive) == tmp_path / "fetched" / "Corpus" and len(server.asked) == 1
    assert Source(tmp_path / "fetched" / "Corpus").provide(archive) == tmp_path / "fetched" / "Corpus"

    (tmp_path / "archives").mkdir()
    local.rename(tmp_path / "archives" / "c.tar.gz")
    by_hand = Source(tmp_path / "by_hand", tmp_path / "archives", download=True)
    assert (by_hand.provide(archive) / "a").read_bytes() == b"local" and len(server.asked) == 1

    moved = Archive("https://example.invalid/c.tar.gz", "Corpus", mark="a")
    mirrored = Source(tmp_path / "mirrored", download=True, mirror=server.url + "/")
    assert (mirrored.provide(moved) / "a").read_bytes() == b"remote"
