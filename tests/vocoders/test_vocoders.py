"""Every vocoder gives back a sound with the same mel, whole or piece by piece."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from melle.audio import LogMel, MelSpec
from melle.errors import UserError
from melle.vocoders import Vocoder, choice, make_vocoder
from melle.vocoders.base import WindowedStream
from melle.vocoders.choice import default_vocoder
from melle.vocoders.griffin_lim import GriffinLim

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
    with pytest.raises(UserError, match="give a local folder"):
        make_vocoder("hifigan", MelSpec(), model=str(tmp_path / "none"))
    with pytest.raises(UserError, match="choose one of griffin_lim, hifigan"):
        make_vocoder("world", MelSpec())
    with pytest.raises(UserError, match="griffin_lim has no model"):
        make_vocoder("griffin_lim", MelSpec(), model="anything")
    with pytest.raises(UserError, match="neural needs its model"):
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


def test_a_damaged_hifigan_is_told(gan, tmp_path):
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


def test_hifigan_is_the_default_wherever_it_can_be_had(gan, monkeypatch):
    tried = []

    def hifigan(spec, local_only):
        tried.append(local_only)
        if not whole:
            raise UserError("a download that broke off")
        return gan

    monkeypatch.setattr(choice, "HifiGan", hifigan)
    whole = True
    for stored, answers, expected in ((True, False, gan), (False, True, gan), (False, False, None)):
        monkeypatch.setattr(choice, "_is_stored", lambda stored=stored: stored)
        monkeypatch.setattr(choice, "_hub_answers", lambda answers=answers: answers)
        found = default_vocoder(MelSpec())
        assert found is expected if expected is not None else isinstance(found, GriffinLim)
        assert isinstance(default_vocoder(MelSpec(hop_length=200)), GriffinLim)
    assert tried == [True, False]  # what is stored is not asked for again
    monkeypatch.setattr(choice, "_is_stored", lambda: True)
    monkeypatch.setattr(choice, "_hub_answers", lambda: True)
    whole = False  # nor is what is there only in part
    assert isinstance(default_vocoder(MelSpec()), GriffinLim) and tried[2:] == [True, False]
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert isinstance(default_vocoder(MelSpec()), GriffinLim) and len(tried) == 4


def test_whether_the_hub_answers_is_asked_once(monkeypatch):
    monkeypatch.undo()  # of the suite's own
    from huggingface_hub import constants

    asked = []

    def connect(address, patience):
        asked.append(address)
        raise OSError("unreachable")

    monkeypatch.setattr(choice.socket, "create_connection", connect)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(choice, "getproxies", dict)
    choice._hub_answers.cache_clear()
    assert [choice._hub_answers() for _ in range(3)] == [False] * 3 and asked == [("hub.example", 443)]
    for endpoint, proxies, address in (
        ("http://hub.example", {}, ("hub.example", 80)),
        ("https://hub.example", {"https": "http://proxy.example:3128"}, ("proxy.example", 3128)),
    ):
        choice._hub_answers.cache_clear()
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(choice, "getproxies", lambda proxies=proxies: proxies)
        assert not choice._hub_answers() and asked[-1] == address
    choice._hub_answers.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not choice._hub_answers() and len(asked) == 3
    choice._hub_answers.cache_clear()


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
