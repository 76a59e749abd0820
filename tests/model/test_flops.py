"""The count of arithmetic, against what PyTorch counts while it runs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from melle.model import Melle
from melle.model.flops import training_flops

SIZES = {"vocab_size": 20, "width": 32, "layers": 2, "heads": 2, "ff_width": 48, "n_mels": 20, "latent_hidden": 24}
SIZES |= {"prenet_hidden": 24, "postnet_channels": 12, "dropout": 0.0}  # dropout's attention skips some of the future


def counted(network: Melle, tokens: int, steps: int) -> float:
    """Operations of a forward and a backward pass over one row, counted by PyTorch; attention as a full square."""
    frames = steps * network.reduction_factor
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        output = network(
            torch.ones(1, tokens, dtype=torch.long),
            torch.tensor([tokens]),
            torch.zeros(1, tokens, dtype=torch.long),
            torch.randn(1, frames, network.n_mels),
            torch.tensor([frames]),
            torch.tensor([[steps]]),
        )
        (output.refined.sum() + output.frames.sum() + output.stop.sum()).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("mlp", ["plain", "gated"])
@pytest.mark.parametrize("postnet", ["conv", "none"])
@pytest.mark.parametrize("r", [1, 4])
@pytest.mark.parametrize("text_attention", ["causal", "bidirectional"])
def test_the_count_is_what_pytorch_counts_less_what_no_position_may_see(r, postnet, mlp, text_attention):
    network = Melle(**SIZES, reduction_factor=r, postnet=postnet, mlp=mlp, text_attention=text_attention)
    tokens, steps = 7, 12
    unseen = sum(
        key > query and (text_attention == "causal" or max(query, key) >= tokens)
        for query in range(tokens + steps)
        for key in range(tokens + steps)
    )
    expected = counted(network, tokens, steps)
    expected -= 3 * 2 * 2 * unseen * SIZES["width"] * SIZES["layers"]
    # Nobody needs the gradient of the mel that the pre-net reads, but twice the forward counts it.
    expected += 2 * network.prenet.layers[0].weight.numel() * (steps - 1)
    assert training_flops(network, torch.tensor([tokens]), torch.tensor([steps])).item() == pytest.approx(expected)


def test_rows_add_up():
    network = Melle(**SIZES)
    rows = [(5, 9), (3, 20), (8, 1)]
    tokens, steps = (torch.tensor(column) for column in zip(*rows))
    each = [training_flops(network, tokens[i : i + 1], steps[i : i + 1]).item() for i in range(len(rows))]
    assert training_flops(network, tokens, steps).item() == pytest.approx(sum(each))
