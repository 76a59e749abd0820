import pytest

from melle.training.schedule import WarmupConstant, WarmupInverseSqrt, WarmupLinear, WarmupStableDecay


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


def test_warm_up_then_constant():
    schedule = WarmupConstant(warmup_steps=4)
    assert [schedule(s) for s in (0, 2, 3, 4, 10**6)] == [0.25, 0.75, 1.0, 1.0, 1.0]
    assert WarmupConstant(0)(0) == 1.0


def test_warm_up_then_hold_then_linear_decay():
    schedule = WarmupStableDecay(warmup_steps=4, total_steps=20, decay_share=0.5)
    assert [schedule(s) for s in (0, 3, 4, 10, 15, 20, 99)] == pytest.approx([0.25, 1, 1, 1, 0.5, 0, 0])
    longer = WarmupStableDecay(warmup_steps=4, total_steps=40, decay_share=0.5)
    assert [longer(s) for s in range(11)] == [schedule(s) for s in range(11)]
    for wrong in ({"warmup_steps": 11, "decay_share": 0.5}, {"warmup_steps": 0, "decay_share": 0.0}):
        with pytest.raises(ValueError, match=r"optim\.schedule"):
            WarmupStableDecay(total_steps=20, **wrong)
