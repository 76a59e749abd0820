"""What is measured against is the same model in another manner: equal where nothing is padded, by the same weights."""

import pytest
import torch

from benchmarks.reference import ReferenceMelle, Turns, bench_against_reference
from benchmarks.steps import Steps
from melle.data.batch import Row, collate
from melle.model import Melle

TINY = {"vocab_size": 12, "width": 16, "layers": 2, "heads": 2, "ff_width": 24, "prenet_hidden": 8, "latent_hidden": 8}
TINY |= {"postnet_channels": 6, "reduction_factor": 2, "block": "sub_ln", "latent_activation": "tanh", "max_text": 20}
TINY |= {"max_steps": 20, "postnet_layers": 3, "postnet_kernel": 3}
CALM = {"dropout": 0.0, "prenet_dropout": 0.0, "latent_dropout": 0.0, "postnet_dropout": 0.0}
KINDS = {
    "default": {"norm": "rms", "postnet": "none"},
    "published": {"norm": "layer", "postnet": "conv"},
    "all options": {"norm": "rms", "postnet": "conv", "mlp": "gated", "activation": "silu", "position": "rope"},
}
NAMES = {"text_embedding": "text", "mlp_norm": "mlp_norm", "prenet.layers": "prenet", "latent.project": "latent"}
NAMES |= {"latent.perceptron": "perceptron", "attention.norm": "inner", "attention.out": "o", "mlp.norm": "ff_norm"}
NAMES |= {"mlp.": "", "postnet.convolutions.": "postnet."}


def translate(state):
    """Weights of ours by the names of the other."""
    found = {}
    for name, value in state.items():
        if ".qkv." in name:
            for part, third in zip("qkv", value.chunk(3)):
                found[name.replace("attention.qkv", part)] = third
            continue
        if name.startswith("postnet."):
            _, kind, layer, what = name.split(".")
            found[f"postnet.{4 * int(layer) + (kind == 'norms')}.{what}"] = value
            continue
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        found[name] = value
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_ours_does(kind):
    arguments = {"text_attention": "causal", "prenet_activation": "relu", "postnet_activation": "tanh"}
    arguments |= {"norm": "rms", "activation": "relu", "mlp": "plain", "position": "learned"}
    arguments |= {**TINY, **CALM, **KINDS[kind]}
    ours, theirs = Melle(**arguments).train(), ReferenceMelle(arguments).train()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.3)
    loaded = theirs.load_state_dict(translate(ours.state_dict()), strict=False)
    # Its convolutions have biases, which the batch norm takes away again.
    assert not loaded.unexpected_keys and all(".bias" in name and "postnet" in name for name in loaded.missing_keys)
    rows = [Row([torch.randint(2, 12, (5,)).tolist()], [torch.randn(14, 80)], ["a"]) for _ in range(3)]
    batch = collate(rows, 2)
    outputs = []
    for network in (ours, theirs):
        torch.manual_seed(1)
        outputs.append(network(**batch.inputs(), **batch.sizes()))
    for name in ("mean", "log_variance", "frames", "refined", "stop"):
        torch.testing.assert_close(*(getattr(output, name) for output in outputs), atol=1e-4, rtol=1e-4, msg=name)


def test_the_table_has_a_line_for_every_kind_of_batch():
    small = [f"model.{name}={TINY[name]}" for name in ("width", "layers", "heads", "ff_width", "prenet_hidden")]
    lines = bench_against_reference(Steps("reference", "cpu", None, small, batch_frames=1300, steps=1)).splitlines()
    assert [line[2:15] for line in lines[2:]] == ["equal lengths", "mixed lengths", "mixed lengths"]
    assert all(float(line.split()[-1]) > 0 for line in lines[2:])


def test_the_ratio_is_of_true_frames_a_second():
    turns = Turns([(2.0, 300), (1.0, 200), (1.0, 100)], [(1.0, 100), (2.0, 100), (4.0, 800)])
    assert turns.ratio == pytest.approx(1.5)  # of 1.5, 4 and 0.5
    assert turns.speeds == pytest.approx((150, 1000 / 7))
