"""What all judges share: what their scores depend on, and the preparation of clips."""

import socket
import sys
from dataclasses import make_dataclass
from importlib import metadata, util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from melle.errors import Unavailable, UserError
from melle.evaluation import records
from melle.evaluation.judges.base import QualityPredictor, Recogniser, SpeakerEncoder, audible, pad_to, similarities
from melle.evaluation.judges.hf import HfRecogniser
from melle.evaluation.judges.nemo import NemoRecogniser
from melle.evaluation.judges.pitch import Pitch
from melle.evaluation.judges.quality import Dnsmos
from melle.evaluation.judges.speaker import Resemblyzer, XVector
from melle.evaluation.judges.unispeech import Unispeech
from melle.evaluation.judges.whisper import REVISIONS, Whisper
from melle.evaluation.setup import build_judges
from melle.hub import hub_name, is_hub_name, is_offline, locate

CONF = Path(__file__).parents[2] / "conf"


def make(kind, **settings):
    made = make_dataclass("Judge", settings, bases=(kind,), eq=False, kw_only=True)
    made.name, made.packages, made.__abstractmethods__ = "x", ("jiwer", "no-such-package"), frozenset()
    return made(**settings)


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
    one = records.source_digest(str(tmp_path / "code.py"))
    (tmp_path / "code.py").write_text("a = 2")
    records.source_digest.cache_clear()  # once per process is enough
    assert records.source_digest(str(tmp_path / "code.py")) != one
    package, module = records.source_digest("melle.evaluation"), records.source_digest("melle.audio")
    assert package != module != records.source_digest("melle.files")


@pytest.mark.parametrize("shared", ["melle.evaluation.judges.unispeech", "melle.evaluation.judges.base", "melle.audio"])
def test_scores_depend_on_the_code_of_what_judges_share(monkeypatch, shared):
    judge = make(Recogniser, model="base")
    before, path, read = judge.depends_on(), Path(util.find_spec(shared).origin), Path.read_bytes
    records.source_digest.cache_clear()
    assert judge.depends_on() == before
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"#" if self == path else b""))
    records.source_digest.cache_clear()
    assert judge.depends_on() != before
    records.source_digest.cache_clear()


@pytest.mark.parametrize("kind", [HfRecogniser, XVector, NemoRecogniser, Whisper])
@pytest.mark.parametrize("model", ["runs/foo", "./models/foo", "~/foo"])
def test_a_mistyped_folder_is_no_question_to_the_hub(monkeypatch, kind, model):
    if kind is Whisper:  # which without its package says that first
        pytest.importorskip("faster_whisper")
    for name in ("nemo", "nemo.collections", "nemo.collections.asr", "nemo.collections.asr.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["nemo.collections.asr.models"].ASRModel = None
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **options: asked.append(given))
    with pytest.raises(UserError, match=r"model=.*no such f") as caught:
        kind(model, device="cpu")
    assert not asked and "\n" not in str(caught.value) and not isinstance(caught.value, Unavailable)
    assert ("hf://runs/foo" in str(caught.value)) == (model == "runs/foo")


def test_a_size_that_whisper_has_not_lists_those_it_has():
    pytest.importorskip("faster_whisper")
    with pytest.raises(
        UserError, match=r"model=bsae: no such folder, and no size of Whisper .*; choose one of tiny, base, "
    ):
        Whisper("bsae")


def test_what_is_on_the_hub_says_so_and_what_we_name_is_pinned(tmp_path):
    assert locate("hf://user/model@abc", "model") == ("user/model", "abc")
    assert locate(tmp_path, "model") == (str(tmp_path), None)
    pinned = {}
    for group in ("asr", "speaker"):
        for path in (CONF / group).glob("*.yaml"):
            node = OmegaConf.load(path)
            model = None if OmegaConf.is_missing(node, "model") else node.get("model")
            if model and model not in REVISIONS:
                assert is_hub_name(model)
                pinned[path.stem] = len(hub_name(model)[1] or "") == 40
    assert pinned == {"hubert": True, "wavlm": True, "conformer_transducer": False}
    assert all(len(revision) == 40 for revision in REVISIONS.values())


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_a_judge_is_left_out_and_with_a_typo_nothing_begins(caplog, monkeypatch, offline):
    def fail(*given, **options):
        raise OSError("no answer") from (socket.gaierror("no name") if offline else ValueError("no such model"))

    monkeypatch.setattr("transformers.AutoFeatureExtractor.from_pretrained", fail)
    monkeypatch.setattr("melle.evaluation.judges.loading.ask_hub", lambda: None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("evaluate", ["asr=none", "speaker=wavlm"])
    if offline:
        assert build_judges(cfg, without=["speaker.wavlm"]) == {} and not caplog.text
        assert build_judges(cfg) == {} and "speaker.wavlm is left out: speaker.wavlm.model=hf://" in caplog.text
    else:
        with pytest.raises(UserError, match=r"speaker\.wavlm\.model=hf://.*no answer"):
            build_judges(cfg)


def test_which_errors_mean_that_there_is_no_network():
    assert is_offline(ConnectionRefusedError()) and is_offline(TimeoutError()) and not is_offline(OSError("disk full"))
    hub = pytest.importorskip("huggingface_hub.errors")
    assert is_offline(hub.OfflineModeIsEnabled("off"))


def test_transcripts_do_not_depend_on_the_normaliser():
    one, other = (make(Recogniser, model="base", normaliser=name) for name in ("english", "digits"))
    assert one.depends_on() == other.depends_on()


@pytest.mark.parametrize(
    ("judge", "missing", "extra"),
    [
        *((lambda: Whisper(), package, "eval") for package in ("faster_whisper", "ctranslate2", "jiwer")),
        *((lambda: HfRecogniser("any"), package, "eval") for package in ("transformers", "jiwer")),
        (lambda: NemoRecogniser("any"), "nemo", "eval,nemo"),
        *((lambda: Resemblyzer(), package, "speaker") for package in ("resemblyzer", "webrtcvad")),
        (lambda: XVector("any"), "transformers", "wavlm"),
        (lambda: Unispeech("any"), "transformers", "wavlm"),
        *((lambda: Dnsmos(), package, "quality") for package in ("speechmos", "librosa", "onnxruntime")),
        (lambda: Pitch(), "librosa", "quality"),
    ],
)
def test_a_missing_package_names_the_command(monkeypatch, judge, missing, extra):
    for name in [name for name in sys.modules if name.split(".")[0] in ("resemblyzer", "speechmos")]:
        monkeypatch.delitem(sys.modules, name)  # imported by an earlier test
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Unavailable, match=rf"python -m pip install -e \"\.\[{extra}\]\""):
        judge()


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
