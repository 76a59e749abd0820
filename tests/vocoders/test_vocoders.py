"""Every vocoder gives back a sound with the same mel, whole or piece by piece."""

import inspect
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from melle.audio import LogMel, MelSpec
from melle.errors import UserError
from melle.vocoders import TARGETS, Vocoder, default, default_vocoder, make_vocoder
from melle.vocoders import hifigan as hifigan_module
from melle.vocoders.base import WindowedStream
from melle.vocoders.griffin_lim import GriffinLim
from melle.vocoders.vocos.network import VocosSizes
from melle.vocoders.vocos.vocoder import Vocos, VocosDescription, save_vocoder

CONF = Path(__file__).parents[2] / "conf"
HOP = MelSpec().hop_length


def chirp(seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(int(seconds * 16000)) / 16000
    return 0.2 * torch.sin(2 * torch.pi * (300 + 200 * time) * time)


def in_pieces(vocoder: Vocoder, mel: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    stream, pieces = vocoder.stream(), mel.split(sizes)
    return [stream(piece, number == len(pieces) - 1) for number, piece in enumerate(pieces)]


@pytest.fixture(scope="module")
def gan(tmp_path_factory) -> Vocoder:
    """SpeechT5's architecture in small, not trained."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "gan"
    SpeechT5HifiGan(SpeechT5HifiGanConfig(upsample_initial_channel=32)).save_pretrained(folder)
    return make_vocoder("hifigan", MelSpec(), model=str(folder))


def test_griffin_lim_gives_back_a_sound_with_the_same_mel():
    log_mel, vocoder = LogMel(), GriffinLim(MelSpec())
    mel = log_mel(chirp())
    waveform = vocoder(mel)
    assert waveform.shape == (len(mel) * HOP,)
    loud = mel > -1.5
    assert (log_mel(waveform)[: len(mel)] - mel)[loud].abs().mean() < 0.15
    assert torch.equal(GriffinLim(MelSpec())(mel), waveform)


@pytest.mark.parametrize("sizes", [[16] * 7 + [14], [3, 1, 50, 20, 52], [126]])
def test_a_stream_of_griffin_lim_is_as_good_as_the_whole(sizes, real_speech):
    log_mel, vocoder = LogMel(), GriffinLim(MelSpec())
    for waveform in (chirp(2.0), *(speech[:32000] for _, speech in real_speech)):
        mel = log_mel(waveform)[: sum(sizes)]
        rest = len(mel) - sum(sizes[:-1])
        if rest <= 0:
            continue
        pieces = in_pieces(vocoder, mel, [*sizes[:-1], rest])
        streamed, whole = torch.cat(pieces), vocoder(mel)
        assert streamed.shape == whole.shape
        loud = mel > mel.max() - 2.0
        errors = [(log_mel(sound)[: len(mel)] - mel)[loud].abs().mean() for sound in (streamed, whole)]
        assert errors[0] < errors[1] + 0.03
        # No step at a joint that is not in the sound itself.
        assert streamed.diff().abs().max() < 1.5 * whole.diff().abs().max()


def test_a_stream_of_griffin_lim_waits_for_eight_frames_only():
    mel = LogMel()(chirp(2.0))[:96]
    pieces = in_pieces(GriffinLim(MelSpec()), mel, [16] * 6)
    assert [len(piece) // HOP for piece in pieces] == [8, 16, 16, 16, 16, 24]


@pytest.mark.parametrize("sizes", [[16] * 6 + [4], [1, 2, 60, 37], [100], [7] * 14 + [2]])
def test_a_stream_of_hifigan_is_the_whole(gan, sizes):
    mel = torch.randn(100, 80)
    whole = gan(mel)
    assert whole.shape == (100 * HOP,)
    torch.testing.assert_close(torch.cat(in_pieces(gan, mel, sizes)), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_the_shortest_speech_has_a_sound(gan, frames):
    mel = LogMel()(chirp())[:frames]
    for vocoder in (GriffinLim(MelSpec()), GriffinLim(MelSpec(hop_length=200)), gan):
        for waveform in (vocoder(mel), torch.cat(in_pieces(vocoder, mel, [1] * frames))):
            assert waveform.shape == (frames * vocoder.spec.hop_length,) and torch.isfinite(waveform).all()


def test_hifigan_sees_as_far_as_it_says_and_no_less_would_do(gan):
    mel = torch.randn(120, 80, requires_grad=True)
    with torch.inference_mode(False), torch.enable_grad():
        gan.model(mel)[60 * HOP : 61 * HOP].sum().backward()
    seen = mel.grad.abs().sum(dim=1).nonzero()[:, 0]
    assert 60 - gan.context <= int(seen.min()) <= 62 - gan.context
    assert 58 + gan.context <= int(seen.max()) <= 60 + gan.context


def test_hifigan_is_the_papers_vocoder_by_folder(gan, tmp_path):
    with pytest.raises(UserError, match="paper's mel only"):
        make_vocoder("hifigan", MelSpec(hop_length=200), model="anything")
    with pytest.raises(UserError, match="no such file or folder"):
        make_vocoder("hifigan", MelSpec(), model=str(tmp_path / "none"))
    with pytest.raises(UserError, match="choose one of griffin_lim, hifigan"):
        make_vocoder("world", MelSpec())
    with pytest.raises(UserError, match="griffin_lim has no model"):
        make_vocoder("griffin_lim", MelSpec(), model="anything")
    with pytest.raises(UserError, match="vocos needs its model"):
        make_vocoder("vocos", MelSpec())
    with pytest.raises(UserError, match="vocos needs its model"):  # by its earlier name
        make_vocoder("neural", MelSpec())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sampling_rate": 22050}, "22050 samples per second"),
        ({"model_in_dim": 100}, "100 mel bands"),
        ({"upsample_rates": [4, 4, 4, 2]}, "128 samples per frame"),
    ],
)
def test_a_hifigan_for_other_mels_is_refused(tmp_path, changes, says):
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    SpeechT5HifiGan(SpeechT5HifiGanConfig(upsample_initial_channel=16, **changes)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=says):
        make_vocoder("hifigan", MelSpec(), model=str(tmp_path))


def test_a_damaged_hifigan_is_refused(gan, tmp_path):
    gan.model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "conv_pre" not in k}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(UserError, match="has no conv_pre"):
        make_vocoder("hifigan", MelSpec(), model=str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="give a local folder"):
        make_vocoder("hifigan", MelSpec(), model=str(tmp_path))


@pytest.mark.parametrize("cached", [True, False])
def test_the_default_follows_from_what_is_on_this_disk(gan, monkeypatch, caplog, cached):
    """The network is never asked, which would make the sound depend on who answers."""
    asked = []

    def hifigan(spec, local_only):
        asked.append(local_only)
        if broken:
            raise UserError("a download that broke off")
        return gan

    monkeypatch.setattr(hifigan_module, "HifiGan", hifigan)
    monkeypatch.setattr(default, "is_cached", lambda: cached)
    monkeypatch.setattr("socket.create_connection", None)
    monkeypatch.setattr("socket.getaddrinfo", None)
    broken = False
    found = default_vocoder(MelSpec())
    assert found is gan if cached else isinstance(found, GriffinLim)
    assert isinstance(default_vocoder(MelSpec(hop_length=200)), GriffinLim)  # whose frames it does not read
    assert asked == [True] * cached and not caplog.records
    broken = True
    assert isinstance(default_vocoder(MelSpec()), GriffinLim)
    assert ["broke off" in record.message for record in caplog.records] == [True] * cached


def test_a_models_own_vocoder_comes_first(tmp_path, monkeypatch):
    description = VocosDescription(MelSpec(), VocosSizes(16, 32, 2, 3), -2.0, 1.5)
    save_vocoder(tmp_path, description, description.make().state_dict())
    monkeypatch.setattr(default, "is_cached", lambda: True)
    assert isinstance(default_vocoder(MelSpec(), tmp_path), Vocos)


def test_what_is_cached_is_looked_up_on_the_disk_alone(monkeypatch):
    monkeypatch.undo()  # of the suite's own
    import huggingface_hub

    for found, expected in (("/cache/config.json", True), (None, False), (object(), False)):
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file, revision, found=found: found)
        assert default.is_cached() == expected
    monkeypatch.setattr(default.importlib.util, "find_spec", lambda name: None)
    assert not default.is_cached()


@pytest.mark.parametrize("name", ["griffin_lim", "hifigan", "vocos"])
def test_presets_name_the_class_that_they_make(name):
    settings = OmegaConf.to_container(OmegaConf.load(CONF / f"vocoder/{name}.yaml"))
    assert name != "hifigan" or settings["model"].endswith(f"@{hifigan_module.REVISION}")
    assert settings.pop("_target_") == TARGETS[name]
    assert set(settings) <= set(inspect.signature(get_class(TARGETS[name])).parameters)


def test_a_target_makes_what_the_name_does():
    by_target = make_vocoder(spec=MelSpec(), _target_=TARGETS["griffin_lim"], iterations=3)
    assert isinstance(by_target, GriffinLim) and by_target.iterations == 3
    with pytest.raises(UserError, match=r"os\.system is none of"):
        make_vocoder(spec=MelSpec(), _target_="os.system", command="true")


def test_the_hub_is_asked_only_for_names_that_say_so(gan, monkeypatch, tmp_path):
    asked = []

    def from_pretrained(name, output_loading_info, revision=None, local_files_only=False):
        asked.append((name, revision, local_files_only))
        return gan.model, {"missing_keys": []}

    monkeypatch.setattr("transformers.SpeechT5HifiGan.from_pretrained", from_pretrained)
    for model in ("hf://me/gan", "hf://me/gan@abc123", str(tmp_path), hifigan_module.NAME):
        make_vocoder("hifigan", MelSpec(), model=model)
    expected = [("me/gan", "main", False), ("me/gan", "abc123", False), (str(tmp_path), "main", True)]
    assert asked == [*expected, (hifigan_module.NAME, hifigan_module.REVISION, False)]  # as earlier versions named it
    with pytest.raises(UserError, match=r"vocoder\.hifigan\.model=runs/gan: no such file or folder; .* hf://runs/gan$"):
        make_vocoder("hifigan", MelSpec(), model="runs/gan")
    assert len(asked) == 4
    preset = OmegaConf.load(CONF / "vocoder/hifigan.yaml").model
    assert preset == f"hf://{hifigan_module.NAME}@{hifigan_module.REVISION}"


def test_windows_of_an_exact_vocoder_are_cut_without_gap_or_overlap():
    class Numbers(Vocoder):
        """Each sample is the sum of the frames that it may see."""

        context = 3

        def forward(self, mel):
            padded = torch.nn.functional.pad(mel[:, 0], (3, 3))
            return padded.unfold(0, 7, 1).sum(dim=1).repeat_interleave(self.spec.hop_length)

    vocoder = Numbers(MelSpec(hop_length=2))
    mel = torch.arange(1.0, 41)[:, None]
    for sizes in ([40], [1] * 40, [10, 0, 5, 25], [39, 1], [38, 2]):
        stream = WindowedStream(vocoder)
        parts = [stream(piece, n == len(sizes) - 1) for n, piece in enumerate(mel.split(sizes))]
        assert torch.equal(torch.cat(parts), vocoder(mel))
