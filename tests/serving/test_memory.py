"""The server's threads share a few arenas of the C library; oneDNN keeps few shapes."""

import os
import subprocess
import sys

import pytest

from melle.serving.memory import give_back, limit_shapes

THREADS = """
import ctypes, sys, threading
from melle.serving.memory import limit_arenas
if sys.argv[1] == "limited" and not limit_arenas():
    print(-1); sys.exit()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
done = threading.Barrier(12)
def work():
    for _ in range(50):
        assert libc.malloc(ctypes.c_size_t(3000))
    done.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file)); libc.fclose(ctypes.c_void_p(file))
print(open(sys.argv[2]).read().count("<heap nr="))
"""


def test_free_memory_is_given_back():
    """Blocks between others that stay, which lie where the C library would keep them."""
    if not sys.platform.startswith("linux") or not give_back():
        pytest.skip("of glibc")
    code = (
        "import ctypes; from melle.serving.memory import give_back; libc = ctypes.CDLL(None);"
        "libc.malloc.restype = ctypes.c_void_p; size = lambda: int(open('/proc/self/statm').read().split()[1]);"
        "rows = [libc.malloc(ctypes.c_size_t(60000)) for _ in range(2000)];"
        "[ctypes.memset(row, 1, 60000) for row in rows]; full = size();"
        "[libc.free(ctypes.c_void_p(row)) for n, row in enumerate(rows) if n % 10]; kept = size();"
        "give_back(); print(full, kept, size())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    full, kept, after = map(int, done.stdout.split())
    assert after < full - 15_000 and after < kept - 5_000  # pages of 4 KiB; 108 MB were freed


def test_threads_share_arenas(tmp_path):
    if not sys.platform.startswith("linux"):
        pytest.skip("of glibc")

    def arenas(how):
        command = [sys.executable, "-c", THREADS, how, str(tmp_path / "info")]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    limited = arenas("limited")
    if limited < 0:
        pytest.skip("this C library has no arenas to limit")
    assert 1 <= limited <= 2 < arenas("usual")


def test_few_shapes_are_kept_unless_the_environment_says_otherwise(monkeypatch):
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "1024")  # so that it is taken back after the test
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    limit_shapes()
    assert (os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"], os.environ["LRU_CACHE_CAPACITY"]) == ("16", "1024")
