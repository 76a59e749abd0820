"""Where several processes make the same corpus, one makes it and the others wait."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from melle.corpora import synthetic
from melle.corpora.digits import DigitCorpus


class Gate:
    """Stands before a function: holds its calls back until it opens, and counts them."""

    def __init__(self, function):
        self.function, self.calls, self.open = function, 0, threading.Event()

    def __call__(self, *arguments):
        self.calls += 1
        self.open.wait(20)
        return self.function(*arguments)

    def pass_by_two(self, call, caplog) -> str:
        """What is said while two make this call, the one after the other or both at once."""
        until = time.monotonic() + 10
        with ThreadPoolExecutor() as pool:
            both = [pool.submit(call) for _ in range(2)]
            while "waiting" not in caplog.text and self.calls < 2 and time.monotonic() < until:
                time.sleep(0.01)
            self.open.set()
        for one in both:
            one.result()
        return caplog.text


def test_of_two_that_make_the_synthetic_corpus_one_waits(tmp_path, monkeypatch, caplog):
    gate = Gate(lambda lines, *_: [(line.id, (1.0, ((0.1, 0.9),))) for line in lines])
    monkeypatch.setattr(synthetic, "_speak", gate)
    few = dict(hours=1e-4, train_voices=3, validation_voices=2, test_voices=2, workers=1)
    corpus = DigitCorpus(tmp_path / "demo", **few)
    said = gate.pass_by_two(lambda: DigitCorpus(tmp_path / "demo", **few).prepare(), caplog)
    assert gate.calls == 1 and said.count(f"{corpus.path.name}: another process is making this corpus; waiting") == 1
    assert json.loads((corpus.path / "corpus.json").read_text())["seed"] == 0
    assert list((tmp_path / "demo").iterdir()) == [corpus.path]


def test_a_corpus_made_since_one_looked_is_left_alone(tmp_path, monkeypatch):
    gate = Gate(lambda lines, *_: [(line.id, (1.0, ((0.1, 0.9),))) for line in lines])
    gate.open.set()
    monkeypatch.setattr(synthetic, "_speak", gate)
    corpus = DigitCorpus(tmp_path / "demo", hours=1e-4, train_voices=3, validation_voices=2, test_voices=2)
    for _ in range(2):
        monkeypatch.setattr("melle.corpora.digits.description_of", lambda *_: None)
        corpus.prepare()
    assert gate.calls == 1
