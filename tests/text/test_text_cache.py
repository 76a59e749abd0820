"""Readings are kept of short texts alone, so that long ones do not fill a server's memory."""

import logging
import tracemalloc

from melle.text.cache import remembered
from melle.text.normalise import warn_left_out
from melle.text.verbalise import verbalise


def test_short_texts_are_read_once_and_long_ones_are_not_kept():
    read = []

    @remembered
    def double(text: str, times: int) -> str:
        read.append((text, times))
        return text * times

    for text in ("ab", "x" * 400, "y" * 401) * 2:
        assert double(text, 2) == text * 2
    assert double("ab", 3) == "ababab"
    assert read == [("ab", 2), ("x" * 400, 2), ("y" * 401, 2), ("y" * 401, 2), ("ab", 3)]


def test_long_texts_leave_little_behind(caplog):
    caplog.set_level(logging.CRITICAL)
    tracemalloc.start()
    try:
        for number in range(20):
            text = "word " * 2000 + str(number)
            verbalise(text, "fr-1")
            warn_left_out(text, (text,))
        assert tracemalloc.get_traced_memory()[0] < 100_000  # the texts alone have 200,000 bytes
    finally:
        tracemalloc.stop()


def test_a_warning_is_given_once_for_each_text(caplog):
    long = "a test of warnings " * 10
    for text in (long + "1", long + "2", long + "1"):
        warn_left_out(text, ("ß" * 100, "é"))
    assert len(caplog.messages) == 2 and len(caplog.messages[0]) < 250
