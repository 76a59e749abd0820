"""Where several processes make the same corpus, one makes it and the others wait."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from melle.corpora.digits import DigitCorpus
from melle.corpora.espeak import Espeak
from melle.corpora.generate import Spoken


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
    gate = Gate(lambda *_: Spoken(np.sin(np.arange(16000) / 10).astype(np.float32), 16000, ((0.1, 0.9),)))
    monkeypatch.setattr(Espeak, "speak", lambda _, text, voice: gate(text, voice))
    few = dict(hours=1e-4, train_voices=3, validation_voices=2, test_voices=2, held_out_utterances=1, workers=1)
    corpus = DigitCorpus(tmp_path / "demo", **few)
    said = gate.pass_by_two(lambda: DigitCorpus(tmp_path / "demo", **few).prepare(), caplog)
    assert gate.calls == 7
    assert said.count(f"{corpus.path.name}: another process is speaking this corpus; waiting") == 1
    assert json.loads((corpus.path / "corpus.json").read_text())["seed"] == 0
    assert list((tmp_path / "demo").iterdir()) == [corpus.path]
    monkeypatch.setattr("melle.corpora.digits.description_of", lambda *_: None)  # as if made since one looked
    corpus.prepare()
    assert gate.calls == 7
