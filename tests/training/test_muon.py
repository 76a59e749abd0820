import copy

import pytest
import torch

from melle.model import Melle
from melle.training.muon import Muon, orthogonalise
from melle.training.optimizers import build_adamw, build_muon_adamw


@pytest.mark.parametrize(("instructions", "exact"), [({}, 1e-3), ({"avx512_bf16": True}, 0.05)])
@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_orthogonalise_keeps_singular_vectors_and_levels_singular_values(monkeypatch, shape, instructions, exact):
    monkeypatch.setattr("melle.devices.cpu_instructions", lambda: instructions)
    matrices = torch.randn(3, *shape)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    result = orthogonalise(matrices)
    assert torch.equal(result, result.bfloat16().float()) == bool(instructions)
    levelled = u.transpose(1, 2) @ result @ vh.transpose(1, 2)
    values = levelled.diagonal(dim1=1, dim2=2)
    assert (levelled - torch.diag_embed(values)).abs().max() < exact
    # The quintic trades exactness for speed: all but the smallest values land in about 0.7 to 1.2.
    assert values.max() < 1.3
    assert values.median() > 0.65


def test_step_is_torchs_muon():
    """Same direction as torch.optim.Muon with the same scaling (its arithmetic is bfloat16, hence the tolerance)."""
    start = torch.randn(32, 48)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Muon([ours], lr=0.1, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(32, 48)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    moved, expected = ((p.detach() - start).flatten() for p in (ours, theirs))
    assert torch.cosine_similarity(moved, expected, dim=0) > 0.999
    assert (moved.norm() / expected.norm()).item() == pytest.approx(1.0, abs=0.02)


def tiny() -> Melle:
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 1, "heads": 2, "ff_width": 32, "prenet_hidden": 8, "latent_hidden": 8}
    return Melle(vocab_size=5, n_mels=4, postnet_channels=4, **sizes)


def settings() -> dict:
    return {"lr": 1e-2, "muon_lr": 1e-2, "betas": (0.9, 0.98), "weight_decay": 0.1, "iterations": 5}


def test_every_parameter_has_one_optimiser_and_matrices_of_blocks_go_to_muon():
    network = tiny()
    optimizer = build_muon_adamw(network, **settings())
    owned = {name: [p for g in part.param_groups for p in g["params"]] for name, part in optimizer.parts.items()}
    ids = [id(p) for params in owned.values() for p in params]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    assert {id(p) for p in owned["muon"]} == {id(p) for p in network.blocks.parameters() if p.ndim == 2}
    undecayed = [
        p
        for g in build_adamw(network, 1e-3, (0.9, 0.98), 0.1).param_groups
        if not g["weight_decay"]
        for p in g["params"]
    ]
    assert undecayed and all(p.ndim < 2 for p in undecayed)


def test_saved_and_loaded_it_goes_on_as_before():
    def run(network, optimizer, steps, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    network = tiny()
    optimizer = build_muon_adamw(network, **settings())
    run(network, optimizer, 3, seed=1)
    saved = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    run(network, optimizer, 2, seed=2)
    other = tiny()
    resumed = build_muon_adamw(other, **settings())
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    # A schedule writes into param_groups: that must reach the parts also after loading.
    for group in resumed.param_groups:
        assert any(group is g for part in resumed.parts.values() for g in part.param_groups)
    run(other, resumed, 2, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters()))
