"""The graphs of an exported model give what the network gives, and speak without PyTorch."""

import json
import logging
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from melle.audio import MelSpec
from melle.checkpoint import LoadedModel, ModelDescription
from melle.data.batch import join_text, pad_texts
from melle.model import Melle
from melle.model.noise import StepNoise
from melle.onnx.export import export_onnx
from melle.pretrained import load_pretrained, save_pretrained
from melle.synthesis.voices import copy_voices
from melle.text.symbols import SymbolTokenizer
from melle.vocoders.vocos.network import VocosSizes
from melle.vocoders.vocos.vocoder import VocosDescription, load_network, save_vocoder
from tests.conftest import DIGITS, TINY

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ROOT = Path(__file__).parents[2]
STALE = ("vocoder.onnx", "voices/old.npz")  # lie in the folder before the export
VARIANTS = {
    "the quickstart's manner": {
        "position": "paced",
        "text_attention": "bidirectional",
        "prenet_dropout": 0.3,
        "layers": 1,
    },
    "learned positions, causal text, gated, rms, sub-LN, no post-net": {
        **{"position": "learned", "max_text": 64, "max_steps": 128, "reduction_factor": 1, "layers": 1},
        **{"mlp": "gated", "norm": "rms", "block": "sub_ln", "postnet": "none"},
    },
}


def exported(folder: Path, tones: Path, **options) -> tuple[Melle, Path]:
    """A random network, and the folder of its graphs."""
    torch.manual_seed(0)  # made before each test's own seed, it would else be of what ran before
    tokenizer = SymbolTokenizer("words", DIGITS)
    sizes = TINY | {"vocab_size": tokenizer.vocab_size, "mel_mean": -2.0, "mel_std": 1.5} | options
    network = Melle(**sizes).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3 if weight.ndim > 1 else 0.1)
    description = ModelDescription(sizes, MelSpec(), tokenizer, frames_per_token=12.0, length_range=(0.5, 2.0))
    save_pretrained(LoadedModel(network, description, 1, None), folder / "model")
    (folder / "voices").mkdir()
    (folder / "voices/anna.wav").write_bytes((tones / "audio/test-e-1.wav").read_bytes())
    (folder / "voices/voices.json").write_text('{"anna": {"audio": "anna.wav", "text": "three four"}}')
    copy_voices(folder / "voices", folder / "model")
    if network.position == "paced":
        vocoder = VocosDescription(MelSpec(), VocosSizes(16, 32, 2, 3, pitched=128), -2.0, 1.5)
        save_vocoder(folder / "model", vocoder, vocoder.make().state_dict())
    (folder / "onnx/voices").mkdir(parents=True)
    for stale in STALE:
        (folder / "onnx" / stale).write_bytes(b"of another model")
    return network, export_onnx(folder / "model", folder / "onnx")


@pytest.fixture(scope="module", params=VARIANTS)
def model(request, tmp_path_factory, tone_manifests):
    logging.disable(logging.DEBUG)  # PyTorch's exporter writes thousands of lines of it, if anyone listens
    try:
        return exported(tmp_path_factory.mktemp("onnx"), tone_manifests, **VARIANTS[request.param])
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("prompt_steps", "segments"), [(7, [[3, 4, 5], [6, 2]]), (0, [[4, 3]]), (1, [[5], [2, 2, 9]])])
def test_graphs_give_the_networks_frames(model, prompt_steps, segments):
    network, folder = model
    r, steps = network.reduction_factor, 25
    graph = {path.stem: onnxruntime.InferenceSession(path) for path in folder.glob("*.onnx")}
    text, lengths, owners = pad_texts([join_text(segments)])
    prompt = torch.randn(1, prompt_steps * r, 80) - 2
    keep = 2.0 * (torch.rand(1, prompt_steps, network.prenet.units) < 0.5)
    draws = [
        (2.0 * (torch.rand(1, 1, network.prenet.units) < 0.5), 0.7 * torch.randn(1, 1, network.group))
        for _ in range(steps)
    ]

    caches = network.make_caches(1, int(lengths) + 1 + prompt_steps + steps)
    with torch.inference_mode():
        first = StepNoise(keep, draws[0][1])
        state, frames, stop = network.prefill(
            caches, text, lengths, owners, prompt, torch.tensor([prompt_steps * r]), 1.0, first
        )
        ours = [(frames, stop)]
        for draw in draws[1:]:
            ours.append(network.step(caches, state, ours[-1][0], 1.0, StepNoise(*draw)))
        refined = network.denormalise(
            network.refine(
                torch.cat([each for each, _ in ours], dim=1), torch.ones(1, steps * r, dtype=torch.bool), steps * r
            )
        )

    feed = {"text": text, "segments": owners, "prompt": prompt, "keep": keep, "noise": draws[0][1]}
    frames, stop, *past = graph["prefill"].run(None, {name: value.numpy() for name, value in feed.items()})
    theirs, names = [(frames, stop)], [each.name for each in graph["step"].get_inputs()[5:]]
    for number, (keep, noise) in enumerate(draws[1:], start=1):
        feed = {"frames": frames, "keep": keep.numpy(), "noise": noise.numpy(), "text_length": lengths.numpy()}
        feed["number"] = np.array([prompt_steps + number])
        frames, stop, *past = graph["step"].run(None, feed | dict(zip(names, past)))
        theirs.append((frames, stop))
    for (frames, stop), (own_frames, own_stop) in zip(theirs, ours):
        np.testing.assert_allclose(frames, own_frames.numpy(), atol=1e-3)
        np.testing.assert_allclose(stop, own_stop.numpy(), atol=1e-3)
    mel = graph["refine"].run(None, {"frames": np.concatenate([frames for frames, _ in theirs], axis=1)})[0]
    np.testing.assert_allclose(mel, refined.numpy(), atol=1e-3)


WITHOUT_TORCH = """
import runpy, sys

class Refuse:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("there is no PyTorch here")

sys.meta_path.insert(0, Refuse)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_example_drops_what_the_model_says(model, tmp_path, monkeypatch):
    network, folder = model
    assert json.loads((folder / "onnx.json").read_text())["prenet_dropout"] == network.prenet.dropout
    other = load_pretrained(folder.parent / "model")
    other.description.decoding["prenet_dropout"] = 0.125
    save_pretrained(other, tmp_path / "model")
    monkeypatch.setattr("melle.onnx.export._write", lambda *_: None)
    assert json.loads((export_onnx(tmp_path / "model", tmp_path) / "onnx.json").read_text())["prenet_dropout"] == 0.125

    keep_units = runpy.run_path(str(ROOT / "examples/onnx_speak.py"))["keep_units"]
    factors = keep_units(np.random.default_rng(1), (400, 500), 0.2)
    assert sorted(np.unique(factors)) == pytest.approx([0, 1.25])
    assert (factors == 0).mean() == pytest.approx(0.2, abs=0.01)


def test_the_vocoders_graph_gives_its_spectra(model):
    folder = model[1]
    if not (folder / "vocoder.onnx").exists():
        pytest.skip("this model has none")
    _, network = load_network(folder.parent / "model")
    session = onnxruntime.InferenceSession(folder / "vocoder.onnx")
    for frames in (40, 133):
        mel = torch.randn(1, frames, 80).cumsum(dim=1) / 5 - 2
        assert network.turns(mel)[0].std() > 10  # Hz: the pitch moves
        magnitude, phase = network.polar(mel, network.turns(mel))
        real, imaginary = session.run(None, {"mel": mel.numpy()})[0][0]
        expected = torch.polar(magnitude, phase)[0].detach().numpy()
        # The pitch's rounding adds up over all frames, times the number of a harmonic.
        np.testing.assert_allclose(real + 1j * imaginary, expected, rtol=0, atol=1e-2 * np.abs(expected).max())


def test_the_example_speaks_without_pytorch(model, tmp_path):
    """In a process in which PyTorch cannot be imported."""
    network, folder = model
    if network.position != "paced":
        pytest.skip("one model is enough")
    arguments = [ROOT / "examples/onnx_speak.py", folder, "two five", "anna", tmp_path / "out.wav"]
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)], check=True, cwd=ROOT)
    samples, rate = soundfile.read(tmp_path / "out.wav")
    config = json.loads((folder / "onnx.json").read_text())
    del config["prenet_dropout"]
    shutil.copytree(folder, tmp_path / "earlier")
    (tmp_path / "earlier/onnx.json").write_text(json.dumps(config))
    faults = [(0, tmp_path / "earlier", "graphs of an earlier version; export"), (0, tmp_path, "has no onnx.json")]
    for place, value, message in (*faults, (2, "eve", "has no voice 'eve'; it has anna")):
        wrong = [*arguments[: place + 1], value, *arguments[place + 2 :]]
        done = subprocess.run([sys.executable, *map(str, wrong)], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert rate == 16000 and len(samples) > 1000 and np.isfinite(samples).all() and np.abs(samples).max() > 0


def test_nothing_of_an_older_export_is_left(model):
    own = [(model[1].parent / "model/vocoder.json").exists(), False]
    assert [(model[1] / stale).exists() for stale in STALE] == own
    assert [path.name for path in (model[1] / "voices").iterdir()] == ["anna.npz"]
