"""Compiled blocks: the same results, whatever the shape, from few graphs."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from melle.data.batch import Batch, Row, collate
from melle.model import Melle
from melle.model.compiled import compile_blocks, compiled_graphs, require_compiler

REFERENCE = {"block": "sub_ln", "norm": "rms", "mlp": "gated", "activation": "silu"}
VARIANTS = {
    "causal": {},
    "bidirectional, guided": {
        **REFERENCE,
        "position": "paced",
        "text_attention": "bidirectional",
        "guided_layers": [1],
    },
}


def make(**arguments) -> Melle:
    """Small, without chance."""
    sizes = {"vocab_size": 12, "n_mels": 5, "width": 16, "layers": 2, "heads": 2, "ff_width": 32}
    sizes |= {"prenet_hidden": 16, "latent_hidden": 16, "postnet_channels": 8, "postnet_dropout": 0.0}
    sizes |= {"dropout": 0.0, "prenet_dropout": 0.0, "latent_dropout": 0.0, "latent_sampling": False}
    return Melle(**{**sizes, "reduction_factor": 2, **arguments})


def make_batches() -> list[Batch]:
    """Six batches of 1 to 5 rows, each of a shape of its own."""
    shapes = [(2, 3, 14), (4, 9, 22), (1, 5, 17), (3, 7, 31), (5, 4, 8), (2, 11, 40)]
    return [
        collate([Row([torch.randint(2, 12, (s + n,)).tolist()], [torch.randn(t + n, 5)], ["a"]) for n in range(b)], 2)
        for b, s, t in shapes
    ]


def results(network: Melle, batch: Batch) -> list[Tensor]:
    """What the network says of a batch and, where it trains, the gradients."""
    network.zero_grad()
    output = network(**batch.inputs())
    values = [output.mean, output.frames, output.refined, output.stop, *output.guide]
    if torch.is_grad_enabled():
        sum(value.square().sum() for value in values).backward()
        values += [p.grad for p in network.parameters() if p.grad is not None]
    return [value.detach() for value in values]


def check_equal(network: Melle, compiled: Melle, least: int = 1) -> None:
    """Where batches have at least so many rows."""
    for batch in (batch for batch in make_batches() if len(batch.text) >= least):
        for a, b in zip(results(network, batch), results(compiled, batch), strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * a.abs().max())


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch._dynamo.reset()  # what other tests compiled decides what is compiled anew


@pytest.mark.parametrize("variant", VARIANTS)
def test_compiled_equals_eager_from_few_graphs(variant):
    network = make(**VARIANTS[variant])
    compiled = copy.deepcopy(network)
    compile_blocks(compiled, "aot_eager")
    graphs, again = compiled_graphs()
    for checkpointing in (False, True):
        compiled.gradient_checkpointing = checkpointing
        check_equal(network.train(), compiled.train())
    with torch.no_grad():
        check_equal(network.eval(), compiled.eval())
    # One for training and one for validation, each again for batches of one row and where a layer is guided.
    kinds = 2 + bool(compiled.guided_layers)
    graphs, again = compiled_graphs()[0] - graphs, compiled_graphs()[1] - again
    assert graphs == 2 * kinds and again == graphs - 1


def test_with_the_compiler_too():
    network = make()
    compiled = copy.deepcopy(network)
    compile_blocks(compiled)
    check_equal(network, compiled, least=2)  # a single row has a graph of its own: another twenty seconds


def test_dropout_is_the_same_when_a_block_is_computed_again():
    network = make(dropout=0.3)
    compile_blocks(network, "aot_eager")
    batch = make_batches()[0]
    both = []
    for checkpointing in (False, True):
        network.gradient_checkpointing = checkpointing
        torch.manual_seed(3)
        both.append(results(network, batch))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*both, strict=True))


def test_decoding_compiles_nothing_and_stays_right():
    network = make().eval()
    compiled = copy.deepcopy(network)
    compile_blocks(compiled, "aot_eager")
    before = compiled_graphs()
    spoken = []
    batch = make_batches()[1]
    for one in (network, compiled):
        arguments = (batch.text, batch.text_lengths, batch.text_segments, batch.mel[:, :8], torch.full((4,), 8))
        with torch.no_grad():
            caches = one.make_caches(4, int(batch.text_lengths.max()) + 1 + 8 + 5)
            state, frames, _ = one.prefill(caches, *arguments)
            parts = [frames]
            for _ in range(4):
                parts.append(one.step(caches, state, parts[-1])[0])
        spoken.append(torch.cat(parts, dim=1))
    assert torch.equal(*spoken)
    assert compiled_graphs() == before


def test_weights_keep_their_names_and_the_network_can_be_sent():
    network = make()
    names = list(network.state_dict())
    compile_blocks(network, "aot_eager")
    assert list(network.state_dict()) == names
    assert list(pickle.loads(pickle.dumps(network)).state_dict()) == names


def no_compiler() -> str:
    from torch._inductor.exc import InvalidCxxCompiler

    raise InvalidCxxCompiler


def test_a_missing_compiler_is_reported(monkeypatch):
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", no_compiler)
    with pytest.raises(RuntimeError, match=r"install g\+\+"):
        require_compiler()
    with pytest.raises(RuntimeError, match=r"install g\+\+"):
        compile_blocks(make())
    compile_blocks(make(), "aot_eager")
