"""What is exported speaks as the checkpoint did, and what is none is refused."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from melle import Synthesizer
from melle.audio import MelSpec
from melle.checkpoint import LoadedModel, load_model, save_model
from melle.cli import main
from melle.errors import Unavailable, UserError
from melle.hub import download, hub_name, is_hub_name
from melle.model import Melle
from melle.synthesis.options import DecodingOptions
from melle.vocoders import make_vocoder
from melle.vocoders.griffin_lim import GriffinLim
from melle.vocoders.vocos.network import VocosSizes
from melle.vocoders.vocos.vocoder import KEY, PREFIX, VocosDescription


@pytest.fixture
def folder(tiny_checkpoint, tmp_path, capsys):
    assert main(["export", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "model")]) == 0
    assert "step 7" in capsys.readouterr().out
    return tmp_path / "model"


def test_the_exported_speaks_as_the_original(tiny_checkpoint, folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # who may read one may read all
    original, exported = Synthesizer.from_checkpoint(tiny_checkpoint), Synthesizer.from_pretrained(folder)
    assert exported.description.as_dict() == original.description.as_dict()
    assert torch.equal(exported("one two").waveform, original("one two").waveform)
    assert torch.equal(Synthesizer.from_checkpoint(str(folder))("one two").mel, original("one two").mel)


@pytest.fixture
def guided(tiny_checkpoint):
    """The tiny model with a guided block, and as if it had been trained to go on without text, too."""
    model = load_model(tiny_checkpoint)
    arguments = {**model.description.network, "guided_layers": [1], "text_dropout": 0.1}
    network = Melle(**arguments).eval()
    network.load_state_dict(model.network.state_dict())
    save_model(tiny_checkpoint, LoadedModel(network, replace(model.description, network=arguments), 7))
    return tiny_checkpoint


def test_it_speaks_as_it_was_exported_to(guided, tmp_path, capsys):
    """At its own temperature, window and scale, where nobody says otherwise; an export of it keeps them."""
    text = "one two three four five six seven"
    plain = Synthesizer.from_checkpoint(guided)
    once, twice = str(tmp_path / "once"), str(tmp_path / "twice")
    given = ["--temperature", "0.5", "--attention-window", "2", "--guidance-scale", "1.5"]
    given += ["--pace", "0.8", "--prompt-pause", "0.4", "--prenet-dropout", "0.2", "--prompt-guidance", "0.5"]
    given += ["--prompt-correction", "0.7"]
    assert main(["export", "--checkpoint", str(guided), "-o", once, *given]) == 0
    assert main(["export", "--checkpoint", once, "-o", twice]) == 0
    for folder in (once, twice):
        assert json.loads(Path(folder, "config.json").read_text())["decoding"] == {
            "temperature": 0.5,
            "attention_window": 2.0,
            "guidance_scale": 1.5,
            "prompt_guidance": 0.5,
            "prompt_correction": 0.7,
            "pace": 0.8,
            "prompt_pause": 0.4,
            "prenet_dropout": 0.2,
        }
        tts = Synthesizer.from_pretrained(folder)
        own = DecodingOptions(temperature=0.5, attention_window=2.0, guidance_scale=1.5, pace=0.8, prenet_dropout=0.2)
        own = replace(own, prompt_guidance=0.5)
        wanted = plain(text, options=own, seed=3).mel
        assert torch.equal(tts(text, seed=3).mel, wanted)
        assert torch.equal(torch.cat([chunk.mel for chunk in tts.stream(text, seed=3)]), wanted)
        usual = {"temperature": 1.0, "attention_window": math.inf, "guidance_scale": 1.0, "pace": 1.0}
        usual = {**usual, "prompt_pause": 0.0, "prompt_guidance": 0.0, "prompt_correction": 0.0}
        usual = DecodingOptions(**usual, prenet_dropout=plain.network.prenet.dropout)
        assert torch.equal(tts(text, options=usual, seed=3).mel, plain(text, seed=3).mel)
        for less in ({"attention_window": None}, {"guidance_scale": None}, {"pace": None}, {"prenet_dropout": None}):
            assert not torch.equal(wanted, plain(text, options=replace(own, **less), seed=3).mel)
    back = ["--temperature", "1", "--attention-window", "inf", "--guidance-scale", "1", "--pace", "1"]
    back += ["--prompt-pause", "0", "--prenet-dropout", "0.5", "--prompt-guidance", "0", "--prompt-correction", "0"]
    assert main(["export", "--checkpoint", once, "-o", twice, *back]) == 0
    kept = {"temperature": 1.0, "guidance_scale": 1.0, "prompt_guidance": 0.0, "pace": 1.0, "prompt_pause": 0.0}
    kept |= {"prompt_correction": 0.0, "prenet_dropout": 0.5}
    assert Synthesizer.from_pretrained(twice).description.decoding == kept
    for bad, says in (
        (["--temperature", "-1"], "temperature=-1.0 must be"),
        (["--attention-window", "0"], "1 token"),
        (["--guidance-scale", "0.5"], "guidance_scale=0.5 must be"),
        (["--prompt-guidance", "-1"], "prompt_guidance=-1.0 must be"),
        (["--prompt-correction", "2"], "prompt_correction=2.0 must be"),
        (["--pace", "3"], "pace=3.0 must be"),
        (["--prompt-pause", "3"], "prompt_pause=3.0 must be"),
        (["--prenet-dropout", "1"], "prenet_dropout=1.0 must be"),
    ):
        assert main(["export", "--checkpoint", str(guided), "-o", twice, *bad]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, how", [("attention_window", "without guided attention"), ("guidance_scale", "without text_dropout")]
)
def test_a_model_cannot_speak_as_it_was_not_trained_to(tiny_checkpoint, tmp_path, capsys, name, how):
    flag = "--" + name.replace("_", "-")
    command = ["export", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "a"), flag, "3"]
    assert main(command) == 2
    assert f"{flag}: this model was trained {how}" in capsys.readouterr().err and not (tmp_path / "a").exists()
    with pytest.raises(UserError, match=f"{name}=3: this model was trained {how}"):
        Synthesizer.from_checkpoint(tiny_checkpoint)("one", options=DecodingOptions(**{name: 3.0}))


@pytest.fixture
def vocoder(tmp_path):
    """A checkpoint of our own vocoder, as training writes it, in small."""
    description = VocosDescription(MelSpec(), VocosSizes(16, 32, 2, 3), -2.0, 1.5)
    weights = {PREFIX + name: value for name, value in description.make().state_dict().items()}
    torch.save({"state_dict": weights, KEY: description.as_dict(), "global_step": 3}, tmp_path / "vocoder.ckpt")
    return tmp_path / "vocoder.ckpt"


def test_a_vocoder_goes_with_it(tiny_checkpoint, vocoder, tmp_path, capsys):
    folder = tmp_path / "both"
    command = ["export", "--checkpoint", str(tiny_checkpoint), "-o", str(folder), "--vocoder", str(vocoder)]
    assert main(command) == 0
    expected = Synthesizer.from_checkpoint(tiny_checkpoint, make_vocoder("vocos", MelSpec(), model=vocoder))("one")
    exported = Synthesizer.from_pretrained(folder)
    assert torch.equal(exported("one").waveform, expected.waveform)
    assert isinstance(Synthesizer.from_pretrained(folder, GriffinLim(MelSpec())).vocoder, GriffinLim)
    command = ["synthesize", "--checkpoint", str(folder), "--text", "one", "-o", str(tmp_path / "a.wav")]
    assert main(command) == 0
    assert "our own vocoder" in capsys.readouterr().out
    for name, content, says in (
        ("vocoder.json", "{", "is damaged"),
        ("vocoder.json", '{"format": 0}', "another version"),
        ("vocoder.safetensors", "nothing", "is damaged"),
    ):
        kept = (folder / name).read_bytes()
        (folder / name).write_text(content)
        with pytest.raises(UserError, match=says):
            Synthesizer.from_pretrained(folder)
        (folder / name).write_bytes(kept)
    (folder / "vocoder.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no vocoder\.safetensors"):
        Synthesizer.from_pretrained(folder)


def test_a_vocoder_goes_on_with_an_export_and_not_with_another_model(tiny_checkpoint, vocoder, tmp_path):
    def export(source, folder, *more):
        assert main(["export", "--checkpoint", str(source), "-o", str(folder), *map(str, more)]) == 0
        return sorted(path.name for path in folder.glob("vocoder.*"))

    both = ["vocoder.json", "vocoder.safetensors"]
    assert export(tiny_checkpoint, tmp_path / "a", "--vocoder", vocoder) == both
    assert export(tmp_path / "a", tmp_path / "b", "--dtype", "float16") == both
    assert export(tmp_path / "a", tmp_path / "a") == both
    assert export(tiny_checkpoint, tmp_path / "a") == []


def test_no_foreign_vocoder_goes_with_it(tiny_checkpoint, tmp_path, capsys):
    command = ["export", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "both")]
    assert main([*command, "--vocoder", str(tiny_checkpoint)]) == 2
    assert "a checkpoint of something else" in capsys.readouterr().err and not (tmp_path / "both").exists()


def test_half_the_size(tiny_checkpoint, folder, tmp_path):
    command = ["export", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "half"), "--dtype", "float16"]
    assert main(command) == 0
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    whole, half = (Synthesizer.from_pretrained(path).network.state_dict() for path in (folder, tmp_path / "half"))
    for name, value in whole.items():
        assert half[name].dtype == value.dtype
        torch.testing.assert_close(half[name], value, rtol=1e-3, atol=1e-6)


def test_the_command_speaks_with_it(folder, tmp_path):
    assert main(["synthesize", "--checkpoint", str(folder), "--text", "one", "-o", str(tmp_path / "a.wav")]) == 0
    assert (tmp_path / "a.wav").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", None, "has no config.json"),
        ("checkpoints/last.ckpt", b"", r"the folder of a run; give its checkpoint, .*last\.ckpt"),
        ("model.safetensors", None, "has no model.safetensors"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("config.json", b"{", "damaged"),
        ("config.json", b"[]", "damaged"),
        ("config.json", b'{"format": 99}', "another version"),
        ("model.safetensors", b"nothing of the kind", "damaged"),
        ("tokenizer.json", b'{"kind": "unheard of"}', "damaged"),
    ],
)
def test_damaged_folders_are_refused(folder, name, content, says):
    if "/" in name:
        (folder / "config.json").unlink()
        (folder / name).parent.mkdir()
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        Synthesizer.from_pretrained(folder)


def test_weights_of_another_size_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["network"]["width"] *= 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="size mismatch"):
        Synthesizer.from_pretrained(folder)


def test_the_hub(folder, tiny_checkpoint, tmp_path, monkeypatch, capsys):
    """With a stand-in for the hub, which a test cannot reach."""
    calls = []

    class Api:
        endpoint = "https://hub"

        def create_repo(self, name, private, exist_ok):
            calls.append((name, private))

        def upload_folder(self, repo_id, folder_path, allow_patterns, delete_patterns):
            assert allow_patterns == delete_patterns
            calls.append((repo_id, folder_path, sorted(allow_patterns)))

    def snapshot_download(name, revision, allow_patterns, local_files_only):
        calls.append((name, revision))
        assert local_files_only == (not online)
        if name != "me/digits":
            raise OSError("404: not found")
        return str(folder)

    def head(address, timeout):
        assert address == Api.endpoint and timeout <= 10
        if not online:
            raise ConnectionError("no network")

    online = [True]
    session = SimpleNamespace(get_session=lambda: SimpleNamespace(head=head))
    stand_in = SimpleNamespace(HfApi=Api, snapshot_download=snapshot_download, utils=session)
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    monkeypatch.chdir(tmp_path)
    expected = Synthesizer.from_checkpoint(tiny_checkpoint)("one").mel
    assert torch.equal(Synthesizer.from_pretrained("hf://me/digits")("one").mel, expected)
    assert torch.equal(Synthesizer.from_pretrained(Path("hf://me/digits@v1"))("one").mel, expected)
    speak = ["synthesize", "--text", "one", "-o", "a.wav", "--checkpoint"]
    assert main([*speak, "me/digits", "--hub"]) == 0
    assert calls == [("me/digits", None), ("me/digits", "v1"), ("me/digits", None)]
    calls.clear()
    for name in ("me/digits", "runs/digit"):  # what is no file is no question to the hub
        with pytest.raises(UserError, match=f"no such file or folder; .* hf://{name}"):
            Synthesizer.from_pretrained(name)
    assert not calls
    with pytest.raises(UserError, match="not to be had from the hub"):
        Synthesizer.from_pretrained("hf://me/other")
    online.clear()  # what was downloaded before is there, and else nothing is tried again and again
    assert Synthesizer.from_pretrained("hf://me/digits").source == folder
    with pytest.raises(UserError, match=r"out of reach \(ConnectionError: no network\)"):
        Synthesizer.from_pretrained("hf://me/other")
    calls.clear()
    assert main(["export", "--checkpoint", str(tiny_checkpoint), "-o", "model", "--push", "me/new"]) == 0
    files = ["config.json", "model.safetensors", "tokenizer.json", "vocoder.json", "vocoder.safetensors", "voices/*"]
    assert calls == [("me/new", True), ("me/new", "model", files)]
    assert "https://hub/me/new" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r'"\.\[hub\]"'):
        Synthesizer.from_pretrained("hf://me/digits")


def test_a_commit_that_is_on_this_disk_is_no_question_to_the_hub(tmp_path, monkeypatch):
    def snapshot_download(name, revision, local_files_only, allow_patterns=None):
        assert local_files_only
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    name, asked = f"hf://me/model@{'0a' * 20}", []
    monkeypatch.setattr("melle.hub.ask_hub", lambda: asked.append(1) or OSError("no " * 100 + "network"))
    (tmp_path / "config.json").touch()
    assert download(name, ["*.json"]) == tmp_path and not asked
    download(name, ["*.json", "model.bin"])  # of which a part is missing
    download("hf://me/model@main", ["*.json"])  # which may have moved
    assert len(asked) == 2
    monkeypatch.setattr(sys.modules["huggingface_hub"], "snapshot_download", None)
    with pytest.raises(Unavailable, match=r"^model=tiny: not downloaded before, .* no no…\); give model=FOLDER$"):
        download(name, ["*.json"], "model=tiny", "give model=FOLDER")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("hf://me/model", ("me/model", None)),
        ("hf:/me/model", ("me/model", None)),  # as a Path writes it
        ("hf://me/model-v1.5@refs/pr/3", ("me/model-v1.5", "refs/pr/3")),
        ("me/model", None),
        ("runs/last.ckpt", None),
        ("hf://model", None),
        ("hf://a/b/c", None),
    ],
)
def test_what_names_a_model_on_the_hub(name, answer):
    assert is_hub_name(name) == (answer is not None)
    if answer is not None:
        assert hub_name(name) == answer
