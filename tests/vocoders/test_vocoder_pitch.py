"""The pitch of a voice, phases of harmonics that follow it, and a vocoder that has them."""

import json
import math

import librosa
import pytest
import torch

from melle.audio import LogMel, MelSpec
from melle.vocoders.vocos.losses import PhaseAdvance
from melle.vocoders.vocos.network import VocosNetwork, VocosSizes
from melle.vocoders.vocos.pitch import (
    BINS,
    LOWEST,
    TURN,
    PitchNetwork,
    carrier,
    count_turns,
    measure_pitch,
    pitch_loss,
    pitch_of,
)
from melle.vocoders.vocos.vocoder import Vocos, VocosDescription, load_network, save_vocoder

RATE, HOP = 16000, 256


def buzz(hertz: float, count: int, start: float = 0.0) -> torch.Tensor:
    """All harmonics below 3.5 kHz, those of low frequency louder, from the phase ``start`` of the first on."""
    turns = hertz * torch.arange(count, dtype=torch.float64) / RATE + start
    return sum((2 * math.pi * h * turns).cos() / h for h in range(1, int(3500 / hertz))).float() * 0.1


@pytest.mark.parametrize("hertz", [63.0, 81.3, 120.0, 199.9, 310.0, 470.0])
def test_the_pitch_of_a_buzz(hertz):
    pitch, periodic = measure_pitch(buzz(hertz, 40 * HOP)[None], RATE, HOP)
    assert pitch.shape == periodic.shape == (1, 40)
    inside = torch.arange(40) * HOP
    assert torch.equal(periodic[0], (inside >= 640) & (inside <= 40 * HOP - 640))  # 40 ms from both ends
    torch.testing.assert_close(pitch[periodic], torch.full_like(pitch[periodic], hertz), rtol=3e-3, atol=0)


def test_the_pitch_of_speech_is_the_librarys(real_speech):
    for _, waveform in real_speech:
        pitch, periodic = measure_pitch(waveform[None], RATE, HOP)
        expected, voiced, sure = librosa.pyin(
            waveform.numpy(), fmin=60, fmax=480, sr=RATE, frame_length=1280, hop_length=HOP
        )
        frames = pitch.shape[1]
        both = periodic[0] & torch.from_numpy(voiced & (sure > 0.5))[:frames]
        assert both.sum() > 20
        octaves = (pitch[0] / torch.from_numpy(expected)[:frames]).log2()[both].abs()
        assert octaves.median() < 0.02 and (octaves < 0.1).float().mean() > 0.9


def test_noise_and_silence_have_no_pitch():
    noise = torch.randn(1, 60 * HOP, generator=torch.Generator().manual_seed(0))
    assert measure_pitch(noise, RATE, HOP)[1].float().mean() < 0.05
    pitch, periodic = measure_pitch(torch.zeros(2, 10 * HOP), RATE, HOP)
    assert not periodic.any() and pitch.isfinite().all()
    slow = (2 * math.pi * 50 * torch.arange(40 * HOP) / RATE).sin()[None]  # as mains hum: slower than any voice
    assert not measure_pitch(slow, RATE, HOP)[1].any()
    rumble = torch.randn(1, 60 * HOP, generator=torch.Generator().manual_seed(1)).cumsum(dim=1)
    assert measure_pitch(rumble - rumble.mean(), RATE, HOP)[1].float().mean() < 0.15  # of chance
    faint = torch.cat((buzz(150, 20 * HOP), 1e-3 * buzz(150, 20 * HOP)))[None]
    assert not measure_pitch(faint, RATE, HOP)[1][0, 24:].any()


def test_bins_are_read_as_they_are_taught():
    pitch = torch.tensor([[70.0, 123.4, 240.0, 401.0]])
    logits = torch.zeros(1, BINS, 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(300):
        optimizer.zero_grad()
        pitch_loss(logits, pitch, torch.ones_like(pitch, dtype=torch.bool)).backward()
        optimizer.step()
    torch.testing.assert_close(pitch_of(logits), pitch, rtol=2e-3, atol=0)


def test_the_loss_is_a_cross_entropy_where_there_is_a_pitch():
    even = torch.zeros(1, BINS, 2)
    pitch = torch.tensor([[100.0, 200.0]])
    assert pitch_loss(even, pitch, torch.tensor([[True, False]])) == pytest.approx(math.log(BINS))
    assert pitch_loss(even, pitch, torch.tensor([[False, False]])) == 0
    beyond = pitch_loss(even, torch.tensor([[20.0, 4000.0]]), torch.tensor([[True, True]]))
    assert beyond == pytest.approx(math.log(BINS))  # what is out of range counts as the last that is not


def test_likeliest_bins_by_hand():
    logits = torch.full((1, BINS, 1), -50.0)
    logits[0, 32] = 0.0
    assert pitch_of(logits).item() == pytest.approx(LOWEST * 2 ** (32.5 / 32))
    logits[0, 33] = 0.0  # half-way between both
    assert pitch_of(logits).item() == pytest.approx(LOWEST * 2 ** (33 / 32))


def test_turns_of_a_glide_by_hand():
    pitch = torch.tensor([[100.0, 200.0, 200.0, 50.0]])
    expected = torch.tensor([0.0, 150.0, 350.0, 475.0]) * HOP / RATE
    torch.testing.assert_close(count_turns(pitch, RATE, HOP)[0] / TURN, expected, rtol=1e-6, atol=0)


def test_harmonics_have_the_phases_of_a_tone():
    """The spectra of a steady buzz have, at the bins of its harmonics, the phases that are counted up for its pitch."""
    hertz, frames = 143.0, 30
    window = torch.hann_window(1024)
    spectra = torch.stft(buzz(hertz, frames * HOP), 1024, HOP, window=window, return_complex=True)[:, 4:-4]
    pitch = torch.full((1, frames + 1), hertz)
    phases = carrier(pitch, count_turns(pitch, RATE, HOP), 192, RATE / 1024)[0, :, 4:-4]
    for harmonic in range(1, 20):
        nearest = round(harmonic * hertz / (RATE / 1024))
        around = torch.polar(torch.ones(3, 1), math.pi * torch.arange(nearest - 1, nearest + 2.0)[:, None])
        alike = spectra[nearest - 1 : nearest + 2] * torch.polar(torch.ones(1), -phases[nearest - 1 : nearest + 2])
        angles = (alike * around).angle()  # 0 for cosines: the middle of the window is a whole turn
        assert angles.abs().max() < 0.02


@pytest.mark.parametrize("pitched", [-1, 514])
def test_bins_that_there_are_not_are_refused(pitched):
    with pytest.raises(ValueError, match="pitched bins from 0 to 513"):
        VocosNetwork(80, 1024, 256, VocosSizes(16, 32, 2, pitched=pitched))


def test_a_steady_tone_goes_on_from_frame_to_frame():
    network = VocosNetwork(80, 1024, 256, VocosSizes(16, 32, 2, pitched=128))
    mel = torch.randn(1, 1, 80).expand(1, 60, 80)  # every frame the same
    hertz = network.turns(mel)[0][0, 20:40]
    assert (hertz - hertz[0]).abs().max() < 1e-3
    phases = network.polar(mel, network.turns(mel))[1][0, :, 20:40]
    advance = phases.diff(dim=1)[:, 0] / (2 * math.pi)
    harmonics = (torch.arange(128) * RATE / 1024 / hertz[0]).round().clamp(min=1)
    off = advance[:128] - harmonics * hertz[0] * HOP / RATE
    torch.testing.assert_close(off, off.round(), rtol=0, atol=1e-3)
    assert advance[128:].abs().max() < 1e-4  # layers alone give all frames the same


@pytest.mark.parametrize("sizes", [VocosSizes(16, 32, 1, 3, pitched=128), VocosSizes(16, 32, 4, 7, pitched=513)])
def test_a_stream_is_the_whole(sizes, tmp_path):
    torch.manual_seed(0)
    description = VocosDescription(MelSpec(), sizes, -2.0, 1.5)
    save_vocoder(tmp_path, description, description.make().state_dict())
    vocoder = Vocos(MelSpec(), tmp_path)
    mel = 2 * torch.randn(90, 80).cumsum(dim=0) / 10 - 2
    assert vocoder.network.turns(vocoder.frames(mel))[0].std() > 10  # Hz: the pitch moves
    whole = vocoder(mel)
    for pieces in ([90], [1] * 90, [3, 40, 2, 45], [60, 30]):
        stream = vocoder.stream()
        ends = torch.tensor(pieces).cumsum(0).tolist()
        made = [stream(mel[end - count : end], end == 90) for count, end in zip(pieces, ends)]
        # A pitch that is rounded otherwise adds up, times the number of the harmonic.
        torch.testing.assert_close(torch.cat(made), whole, rtol=0, atol=1e-3 * whole.abs().max().item())


def test_what_was_exported_without_a_pitch_still_loads(tmp_path):
    description = VocosDescription(MelSpec(), VocosSizes(16, 32, 2, 3), -2.0, 1.5)
    network = description.make()
    save_vocoder(tmp_path, description, network.state_dict())
    values = json.loads((tmp_path / "vocoder.json").read_text())
    del values["sizes"]["pitched"]
    (tmp_path / "vocoder.json").write_text(json.dumps(values))
    _, again = load_network(tmp_path)
    mel = torch.randn(1, 20, 80)
    assert again.pitch is None and torch.equal(again(mel), network(mel))


def test_the_pitch_network_learns_from_its_loss_alone():
    network = VocosNetwork(80, 1024, 256, VocosSizes(16, 32, 2, pitched=128))
    mel = LogMel(MelSpec())(buzz(150, 20 * HOP))[None, :20]
    network(mel).square().mean().backward()
    assert all(parameter.grad is None for parameter in network.pitch.parameters())
    pitch_loss(network.pitch_logits(mel), *measure_pitch(buzz(150, 20 * HOP)[None], RATE, HOP)).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.pitch.parameters())
    before = [parameter.grad for name, parameter in network.named_parameters() if not name.startswith("pitch.")]
    assert len(before) > 10


def test_the_pitch_network_sees_as_far_as_it_says():
    network, mel = PitchNetwork(80), torch.randn(1, 80, 40)
    changed = mel.clone()
    changed[:, :, 20] += 1
    moved = (network(mel) - network(changed)).abs().amax(dim=(0, 1)) > 0
    assert moved.nonzero()[:, 0].tolist() == list(range(20 - network.reach, 20 + network.reach + 1))


def test_phases_that_advance_alike_have_no_distance():
    distance = PhaseAdvance()
    one, other = buzz(140, 32 * HOP), buzz(140, 32 * HOP, start=0.3)
    assert distance(one[None], one[None]) == pytest.approx(0, abs=1e-2)
    assert distance(one[None], 0.5 * other[None]) < 0.05  # begun elsewhere in a period, and softer
    assert distance(1e-4 * one[None], 1e-4 * other[None]) < 0.06
    noise = torch.randn(2, 1, 64 * HOP)
    assert PhaseAdvance(lags=(4,))(noise[0], noise[1]) == pytest.approx(1, abs=0.1)  # windows that share nothing


def test_the_distance_of_two_tones_by_hand():
    tones = [(2 * math.pi * hertz * torch.arange(40 * HOP) / RATE).sin()[None] for hertz in (1000.0, 1003.0)]
    for lag in (1, 2):
        expected = 1 - math.cos(2 * math.pi * 3.0 * lag * HOP / RATE) / 1.01  # a hundredth, against softest bins
        assert PhaseAdvance(lags=(lag,))(*tones).item() == pytest.approx(expected, rel=0.1)


def test_silence_has_a_distance_that_can_be_learned_from():
    made = torch.zeros(1, 8 * HOP, requires_grad=True)
    for real in (torch.zeros(1, 8 * HOP), buzz(100, 8 * HOP)[None]):
        distance = PhaseAdvance()(real, made)
        (gradient,) = torch.autograd.grad(distance, made)
        assert distance.isfinite() and gradient.isfinite().all()
