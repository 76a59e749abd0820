import pytest
import torch

from melle.training.ema import WarmEma
from melle.training.schedule import WarmupInverseSqrt, WarmupLinear


def test_warm_up_then_linear_decay():
    schedule = WarmupLinear(warmup_steps=4, total_steps=14)
    assert [schedule(s) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [schedule(s) for s in (9, 14, 99)] == pytest.approx([0.5, 0.0, 0.0])
    with pytest.raises(ValueError, match="warmup_steps=5"):
        WarmupLinear(warmup_steps=5, total_steps=5)


def test_warm_up_then_inverse_square_root():
    schedule = WarmupInverseSqrt(warmup_steps=4)
    assert [schedule(s) for s in (0, 3, 4, 16, 100)] == pytest.approx([0.25, 1.0, 1.0, 0.5, 0.2])
    with pytest.raises(ValueError, match="warmup_steps=0"):
        WarmupInverseSqrt(0)


def test_average_forgets_its_first_values_quickly_then_slowly():
    ema = WarmEma(decay=0.9)
    average, counter = torch.tensor([0.0]), torch.tensor([3])
    expected = 0.0
    for n in range(200):
        value = torch.tensor([float(n)])
        ema([average], [value], torch.tensor(n))
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert average.item() == pytest.approx(expected, rel=1e-5)
    ema([counter], [torch.tensor([7])], 5)
    assert counter.item() == 7
