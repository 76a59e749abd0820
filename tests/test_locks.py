"""One process at a time, on file systems with and without locks."""

import errno
import fcntl
import threading

import pytest

from melle.errors import UserError
from melle.locks import locked, making


@pytest.fixture(params=["locks", errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=str)
def file_system(request, monkeypatch):
    if request.param != "locks":

        def flock(*_):
            raise OSError(request.param, "no locks here")

        monkeypatch.setattr(fcntl, "flock", flock)


def test_one_holder_at_a_time(tmp_path, file_system):
    order = []

    def other() -> None:
        with locked(tmp_path / "new/x.lock"):
            order.append("second")

    with locked(tmp_path / "new/x.lock", "testing"):
        thread = threading.Thread(target=other)
        thread.start()
        with (
            pytest.raises(UserError, match="another process is testing"),
            locked(tmp_path / "new/x.lock", "testing", wait=False),
        ):
            order.append("never")
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_making_leaves_nothing_behind(tmp_path, file_system):
    with making(tmp_path / "corpus", "making this corpus"):
        (tmp_path / "corpus").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="give a folder that can be written to"), locked(tmp_path / "file/x.lock"):
        raise AssertionError
