"""What all judges share: what their scores depend on, and the preparation of clips."""

import sys
from importlib import metadata

import pytest
import torch

from melle.errors import UserError
from melle.evaluation import dependencies
from melle.evaluation.judges import QualityPredictor, Recogniser, SpeakerEncoder, similarities
from melle.evaluation.judges.base import audible, pad_to
from melle.evaluation.judges.speaker import Resemblyzer


def make(kind, **settings):
    class Judge(kind):
        name, packages = "x", ("jiwer", "no-such-package")
        transcribe = embed = rate = None

        def __init__(self):
            self.settings = settings

    Judge.__abstractmethods__ = frozenset()
    return Judge()


@pytest.mark.parametrize("kind", [Recogniser, SpeakerEncoder, QualityPredictor])
@pytest.mark.parametrize("setting", ["model", "checkpoint"])
def test_scores_depend_on_the_file_that_a_setting_names(tmp_path, kind, setting):
    for folder in ("v1", "v2"):
        (tmp_path / folder / "ct2").mkdir(parents=True)
        (tmp_path / folder / "ct2" / "model.bin").write_text("weights")
    judge, other = (make(kind, **{setting: str(tmp_path / folder / "ct2"), "device": None}) for folder in ("v1", "v2"))
    before = judge.depends_on()
    assert before == judge.depends_on() != other.depends_on()
    (tmp_path / "v1" / "ct2" / "model.bin").write_text("other weights")
    assert judge.depends_on() != before


def test_scores_depend_on_versions_of_packages_and_of_our_own_code(monkeypatch, tmp_path):
    judge = make(Recogniser, model="base")
    before = judge.depends_on()
    assert before["packages"] == {"jiwer": metadata.version("jiwer"), "no-such-package": None}
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    assert judge.depends_on() == before | {"packages": {"jiwer": "9.9", "no-such-package": "9.9"}}

    (tmp_path / "code.py").write_text("a = 1")
    one = dependencies.source_digest(str(tmp_path / "code.py"))
    (tmp_path / "code.py").write_text("a = 2")
    dependencies.source_digest.cache_clear()  # once per process is enough
    assert dependencies.source_digest(str(tmp_path / "code.py")) != one
    package, module = dependencies.source_digest("melle.evaluation"), dependencies.source_digest("melle.audio")
    assert package != module != dependencies.source_digest("melle.files")


def test_transcripts_do_not_depend_on_the_normaliser():
    one, other = (make(Recogniser, model="base", normaliser=name) for name in ("english", "digits"))
    assert one.depends_on() == other.depends_on()


@pytest.mark.parametrize("package", ["resemblyzer", "webrtcvad"])
def test_missing_resemblyzer_names_the_command(monkeypatch, package):
    for name in [name for name in sys.modules if name.startswith("resemblyzer")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"python -m pip install -e \"\.\[speaker\]\".*C compiler"):
        Resemblyzer()


def test_similarity_is_the_cosine():
    embeddings, voices = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    expected = torch.tensor([[1.0, 0.0, 0.5**0.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(similarities(embeddings, voices), expected)


def test_clips_with_nothing_to_score():
    for clip in (torch.zeros(0), torch.zeros(99), torch.full((99,), 5e-5), torch.full((99,), torch.nan)):
        assert audible(clip, 8000, 16000) is None
    assert len(audible(torch.ones(80), 8000, 16000)) == 160
    assert audible(torch.ones(80), 8000, 16000, shortest=0.1) is None
    assert pad_to(torch.ones(2), 4).tolist() == [1, 1, 0, 0] and len(pad_to(torch.ones(5), 4)) == 5
