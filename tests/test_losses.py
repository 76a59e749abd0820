"""Each loss against a loop over rows, frames and bands written from the paper's equations."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.distributions import Normal, kl_divergence

from melle.losses import LossTerms, MelleLoss, guide_loss
from melle.model.output import MelleOutput

CONF = Path(__file__).parents[1] / "conf" / "loss"
R, M = 2, 3
STEPS = torch.tensor([[2, 3], [4, 0], [1, 2]])  # per utterance of each row
LENGTHS = torch.tensor([10, 7, 5])  # frames; rows 1 and 2 end within a step
SEGMENTS = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, -1], [0, 1, 1, -1, -1]])


@pytest.fixture
def output():
    frames, steps = 10, 5
    shape = (3, frames, M)
    guide = [torch.rand(3, steps, 5).softmax(-1) for _ in range(2)]
    return MelleOutput(*(torch.randn(shape) for _ in range(5)), torch.randn(3, steps), guide)


def terms(output, step=100, **arguments) -> LossTerms:
    loss = MelleLoss(**{"kl_warmup_steps": 0, "guide_weight": 0.3, **arguments})
    return loss(output, LENGTHS, SEGMENTS, STEPS, R, step)


def places():
    return [(b, t) for b in range(3) for t in range(int(LENGTHS[b]))]


def test_regression_equation_6(output):
    total = 0.0
    for b, t in places():
        for m in range(M):
            for guess in (output.frames, output.refined):
                error = float(output.target[b, t, m] - guess[b, t, m])
                total += abs(error) + error**2
    assert terms(output).regression.item() == pytest.approx(total, rel=1e-5)
    assert terms(output).frames == len(places())


def test_kl_equation_7_against_torch_distributions(output):
    total = 0.0
    for b, t in places():
        posterior = Normal(output.mean[b, t], (0.5 * output.log_variance[b, t]).exp())
        total += kl_divergence(posterior, Normal(output.target[b, t], 1.0)).sum().item()
    assert terms(output).kl.item() == pytest.approx(total, rel=1e-5)


def test_flux_equation_8_stays_within_an_utterance(output):
    total = 0.0
    for b in range(3):
        begin = 0
        for steps in STEPS[b].tolist():
            end = min(begin + steps * R, int(LENGTHS[b]))
            for t in range(begin + 1, end):
                total -= float((output.mean[b, t] - output.target[b, t - 1]).abs().sum())
            begin += steps * R
    assert terms(output).flux.item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("weight", [1.0, 10.0, 100.0])
def test_stop_is_weighted_on_the_one_last_step(output, weight):
    total = 0.0
    for b in range(3):
        steps = int(STEPS[b].sum())
        for k in range(steps):
            p = 1 / (1 + math.exp(-float(output.stop[b, k])))
            total -= weight * math.log(p) if k == steps - 1 else math.log(1 - p)
    assert terms(output, stop_positive_weight=weight).stop.item() == pytest.approx(R * total, rel=1e-4)


def test_guide_is_the_mass_near_each_utterances_diagonal(output):
    width, total = 0.7, 0.0
    weights = output.guide[0]
    for b in range(3):
        first_step = first_token = 0
        for u in range(2):
            steps, tokens = int(STEPS[b, u]), int((SEGMENTS[b] == u).sum())
            for k in range(steps):
                due = first_token + (k + 0.5) / steps * tokens
                mass = sum(
                    float(weights[b, first_step + k, j]) * math.exp(-0.5 * ((j + 0.5 - due) / width) ** 2)
                    for j in range(first_token, first_token + tokens)
                )
                total -= math.log(mass)
            first_step, first_token = first_step + steps, first_token + tokens
    assert guide_loss(weights, SEGMENTS, STEPS, width).item() == pytest.approx(total, rel=1e-4)
    both = {**output._asdict(), "guide": [weights, weights]}
    guide = terms(MelleOutput(**both), guide_width=width).guide
    assert guide.item() == pytest.approx(R * total, rel=1e-4)


def test_guide_follows_the_times_of_words_where_they_are_known(output):
    weights, due = output.guide[0], torch.full((3, 5), float("nan"))
    steps = STEPS.sum(1).tolist()
    due[0, : steps[0]] = torch.linspace(0.2, 2.0, steps[0])  # of one row; the others have their diagonals
    total, diagonals = 0.0, guide_loss(weights[1:], SEGMENTS[1:], STEPS[1:], 2.5).item()
    ends = STEPS[0].cumsum(0).tolist()
    for k in range(steps[0]):
        segment = sum(k >= end for end in ends)
        near = [math.exp(-0.5 * ((j + 0.5 - float(due[0, k])) / 0.7) ** 2) for j in range(SEGMENTS.shape[1])]
        total -= math.log(sum(float(weights[0, k, j]) * n for j, n in enumerate(near) if SEGMENTS[0, j] == segment))
    both = guide_loss(weights, SEGMENTS, STEPS, 0.7, due, diagonal_width=2.5).item()
    assert both == pytest.approx(total + diagonals, rel=1e-4)


def test_a_row_without_its_text_is_not_guided(output):
    weights, some = output.guide[0], torch.tensor([True, False, True])
    expected = guide_loss(weights[some], SEGMENTS[some], STEPS[some], 1.0)
    torch.testing.assert_close(guide_loss(weights, SEGMENTS, STEPS, 1.0, rows=some), expected)
    both = terms(output._replace(guide=[weights], reads_text=some), guide_width=1.0)
    torch.testing.assert_close(both.guide, R * expected)
    assert both.regression == terms(output).regression  # but it learns to go on


def test_total_is_the_weighted_sum_with_warm_up_and_decay(output):
    settings = {
        "kl_weight": 0.1,
        "kl_warmup_steps": 50,
        "flux_weight": 0.5,
        "stop_weight": 2.0,
        "guide_weight": 0.4,
        "guide_decay_steps": 100,
    }
    for step, kl, guide in ((0, 0.0, 0.4), (49, 0.0, 0.204), (50, 0.1, 0.2), (100, 0.1, 0.0), (1000, 0.1, 0.0)):
        t = terms(output, step, **settings)
        expected = t.regression + kl * t.kl + 0.5 * t.flux + 2.0 * t.stop + guide * t.guide
        assert t.total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_padding_never_leaks(output):
    before = terms(output)
    valid = torch.arange(10) < LENGTHS[:, None]
    for name in ("target", "mean", "log_variance", "frames", "refined"):
        getattr(output, name)[~valid] = float("nan")
    output.stop[torch.arange(5) >= STEPS.sum(1)[:, None]] = 1e9
    after = terms(output)
    assert all(torch.equal(a, b) for a, b in zip(before, after))


@pytest.mark.parametrize(("preset", "flux_weight"), [("paper", 0.5), ("reference", 1.0)])
def test_presets_have_the_papers_scale_in_terms_and_gradients(preset, flux_weight):
    """Against a loop in the reference's scale, r = 1: norms over 80 bands and means over frames, weights as printed."""
    cfg = OmegaConf.load(CONF / "paper.yaml")
    if preset != "paper":
        cfg.update({k: v for k, v in OmegaConf.load(CONF / f"{preset}.yaml").items() if k != "defaults"})
    lengths, bands = [9, 6], 80
    leaves = {
        name: torch.randn(2, 9, bands, requires_grad=True) for name in ("mean", "log_variance", "frames", "refined")
    }
    stop, target = torch.randn(2, 9, requires_grad=True), torch.randn(2, 9, bands)
    frames = sum(lengths)
    regression = kl = flux = ends = torch.zeros(())
    for b, length in enumerate(lengths):
        for t in range(length):
            y, mu, log_variance = target[b, t], leaves["mean"][b, t], leaves["log_variance"][b, t]
            for guess in (leaves["frames"][b, t], leaves["refined"][b, t]):
                regression = regression + (guess - y).norm(1) + (guess - y).norm(2) ** 2
            kl = kl + 0.5 * (log_variance.exp() + (mu - y) ** 2 - 1 - log_variance).sum()
            flux = flux - ((mu - target[b, t - 1]).norm(1) if t else 0)
            last = t == length - 1
            ends = ends - (100.0 * F.logsigmoid(stop[b, t]) if last else F.logsigmoid(-stop[b, t]))
    expected = (regression + 0.1 * kl + flux_weight * flux + ends) / frames
    wanted = torch.autograd.grad(expected, [*leaves.values(), stop])
    output = MelleOutput(target=target, stop=stop, guide=[], **leaves)
    segments, steps = torch.zeros(2, 3, dtype=torch.long), torch.tensor(lengths)
    sums = instantiate(cfg)(output, steps, segments, steps[:, None], 1, 10**6)
    found = LossTerms(*(term / sums.frames for term in sums))
    for name, value in (("regression", regression), ("kl", kl), ("flux", flux), ("stop", ends)):
        assert getattr(found, name).item() == pytest.approx(value.item() / frames, rel=1e-5)
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = torch.autograd.grad(found.total, [*leaves.values(), stop])
    one, other = (torch.cat([part.flatten() for part in parts]) for parts in (gradients, wanted))
    assert F.cosine_similarity(one, other, dim=0) > 0.9999
    assert one.norm().item() == pytest.approx(other.norm().item(), rel=1e-5)
