"""The network as a whole: decoding equals the full pass, padding never leaks, nobody sees the future."""

import math

import pytest
import torch

from melle.data.batch import Row, collate
from melle.model import Melle
from melle.model.layout import paced_text_positions

VARIANTS = {
    "paper": {},
    "rope": {"position": "rope", "norm": "rms", "mlp": "gated", "activation": "silu"},
    "paced": {"position": "paced", "text_attention": "bidirectional", "pace": 2.5},
    "reference": {"block": "sub_ln", "norm": "rms", "mlp": "gated", "activation": "silu", "position": "rope"},
    "sub-ln, plain": {"block": "sub_ln", "activation": "tanh"},
    "no postnet": {"postnet": "none", "position": "rope"},
}


def make(r: int = 2, **arguments) -> Melle:
    """Small, in eval mode, and without chance: the pre-net's dropout is off and the latent takes its mean."""
    torch.manual_seed(1)
    network = Melle(
        **{
            "vocab_size": 12,
            "n_mels": 5,
            "reduction_factor": r,
            "width": 16,
            "layers": 2,
            "heads": 2,
            "ff_width": 32,
            "prenet_hidden": 16,
            "prenet_dropout": 0.0,
            "latent_hidden": 16,
            "latent_sampling": False,
            "postnet_channels": 8,
            **arguments,
        }
    )
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # the usual initial weights are too tame to show a leak
    return network.eval()


def make_rows(lengths=((3, 14, 2, 9), (5, 21, 1, 4), (1, 6, 4, 30))) -> list[Row]:
    return [
        Row(
            [torch.randint(2, 12, (s,)).tolist() for s in row[::2]],
            [torch.randn(t, 5) for t in row[1::2]],
            ["a", "b"],
        )
        for row in lengths
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_longest_row_leaves_out_padding_only(variant):
    network, batch = make(**VARIANTS[variant], guided_layers=[1]), collate(make_rows(((9, 8, 1, 4), (1, 20, 2, 22))), 2)
    assert batch.longest == max(9 + 1 + 1 + 4 + 2, 1 + 2 + 1 + 10 + 11) < batch.text.shape[1] + batch.mel.shape[1] // 2
    whole, cut = network(**batch.inputs()), network(**batch.inputs(), longest=batch.longest)
    for row, frames in enumerate(batch.mel_lengths.tolist()):
        for name in ("mean", "log_variance", "frames", "refined"):
            expected, actual = getattr(whole, name)[row, :frames], getattr(cut, name)[row, :frames]
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(cut.stop[row, : -(-frames // 2)], whole.stop[row, : -(-frames // 2)])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("r", [1, 2, 3, 4, 5])
def test_ragged_batch_equals_batches_of_one(variant, r):
    network = make(r, **VARIANTS[variant])
    rows = make_rows()
    together = network(**collate(rows, r).inputs())
    for index, row in enumerate(rows):
        batch = collate([row], r)
        alone = network(**batch.inputs())
        frames, steps = int(batch.mel_lengths), int(batch.segment_steps.sum())
        for name in ("target", "mean", "log_variance", "frames", "refined"):
            a, b = getattr(together, name)[index, :frames], getattr(alone, name)[0, :frames]
            assert torch.allclose(a, b, atol=1e-5), name
        assert torch.allclose(together.stop[index, :steps], alone.stop[0, :steps], atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_stands_in_padding_changes_nothing(variant):
    network = make(**VARIANTS[variant])
    batch = collate(make_rows(), 2)
    before = network(**batch.inputs())
    batch.text[batch.text_segments < 0] = 7
    beyond = torch.arange(batch.mel.shape[1]) >= batch.mel_lengths[:, None]
    # The last step of a row may be partly padding: its frames are read by no later step of that row.
    batch.mel[beyond] = 99.0
    after = network(**batch.inputs())
    valid = ~beyond
    for name in ("mean", "log_variance", "frames", "refined"):
        assert torch.equal(getattr(before, name)[valid], getattr(after, name)[valid]), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_step_sees_its_own_frames_or_later_ones(variant):
    network = make(**{**VARIANTS[variant], "postnet": "none"})
    batch = collate(make_rows(((3, 12, 2, 8),)), 2)
    batch.mel.requires_grad_()
    output = network(**batch.inputs())
    for step in range(10):
        (gradient,) = torch.autograd.grad(output.mean[0, 2 * step : 2 * step + 2].sum(), batch.mel, retain_graph=True)
        seen = gradient[0].abs().sum(dim=1) > 0
        assert not seen[2 * step :].any()
        assert seen[: 2 * step].all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("r", [1, 2, 3, 4, 5])
def test_cached_decoding_equals_the_full_pass(variant, r):
    """Prompted rows of unequal length, decoded in one batch, give what the teacher-forced pass gives on the result."""
    network = make(r, **VARIANTS[variant])
    generator = torch.Generator().manual_seed(3)
    lengths = ((3, 4 * r, 2), (5, 9 * r, 1), (1, 2 * r, 4))
    rows = [Row([[5] * s, [6] * n], [torch.randn(t, 5, generator=generator)], ["a"]) for s, t, n in lengths]
    prompts = [row.mels[0] for row in rows]
    batch = collate([Row(row.tokens, [p, torch.zeros(r, 5)], ["a"]) for row, p in zip(rows, prompts)], r)
    prompt = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
    prompt_lengths = torch.tensor([len(p) for p in prompts])
    with torch.no_grad():
        caches = network.make_caches(3, int((batch.text_lengths + 1 + prompt_lengths // r).max()) + 6)
        state, frames, stop = network.prefill(
            caches, batch.text, batch.text_lengths, batch.text_segments, prompt, prompt_lengths
        )
        made, stops = [frames], [stop]
        for _ in range(5):
            frames, stop = network.step(caches, state, frames)
            made.append(frames)
            stops.append(stop)
        new = torch.cat(made, dim=1)
        full_rows = [
            Row(row.tokens, [p, network.denormalise(new[i])], ["a"]) for i, (row, p) in enumerate(zip(rows, prompts))
        ]
        full = collate(full_rows, r)
        output = network(**full.inputs())
    for index, p in enumerate(prompts):
        begin = len(p)
        assert torch.allclose(output.frames[index, begin : begin + 6 * r], new[index], atol=1e-4)
        expected = output.stop[index, begin // r : begin // r + 6]
        assert torch.allclose(expected, torch.stack(stops, dim=1)[index], atol=1e-4)


def test_decoding_without_a_prompt_equals_the_full_pass():
    network = make(2, position="paced", pace=2.0)
    row = Row([[3, 4, 5]], [torch.zeros(2, 5)], ["a"])
    batch = collate([row], 2)
    with torch.no_grad():
        caches = network.make_caches(1, 5 + 4)
        state, frames, _ = network.prefill(
            caches,
            batch.text,
            batch.text_lengths,
            batch.text_segments,
            torch.zeros(1, 0, 5),
            torch.zeros(1, dtype=torch.long),
        )
        made = [frames]
        for _ in range(3):
            made.append(network.step(caches, state, made[-1])[0])
        new = torch.cat(made, dim=1)
        output = network(**collate([Row(row.tokens, [new[0]], ["a"])], 2).inputs())
    assert torch.allclose(output.frames, new, atol=1e-4)


def test_paced_positions_by_hand():
    # Row 0: 2 tokens over 6 steps, then 2 tokens, then 1 token and <EOS>; row 1: 1 utterance only.
    segments = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, -1, -1]])
    steps = torch.tensor([[6.0, 10.0, 7.0], [9.0, 0.0, 0.0]])
    positions = paced_text_positions(segments, steps, pace=2.0)
    # Segment 1 goes at 6 steps / 2 tokens = 3; segment 2 at 16 / 4 = 4.
    assert positions[0].tolist() == [1.0, 3.0, 6 + 1.5, 6 + 4.5, 16 + 2.0, 16 + 6.0]
    assert positions[1, :4].tolist() == [1.0, 3.0, 5.0, 7.0]


def test_prenet_dropout_is_on_at_inference():
    network = make(prenet_dropout=0.5)
    batch = collate(make_rows(), 2)
    assert not torch.equal(network(**batch.inputs()).mean, network(**batch.inputs()).mean)


def test_sub_ln_begins_as_the_reference_does_and_has_two_norms_more():
    def build(block):
        return Melle(500, width=64, layers=6, heads=2, ff_width=96, prenet_hidden=64, latent_hidden=64, block=block)

    plain, sub = build("pre_ln"), build("sub_ln")
    deviation = 0.02 * math.sqrt(math.log(12))
    matrices = [(n, p) for n, p in sub.named_parameters() if p.ndim == 2 and n != "stop.weight"]
    assert len(matrices) == 3 + 6 * 4 + 3 + 4  # embeddings, blocks, pre-net, latent
    for name, matrix in matrices:
        assert matrix.std().item() == pytest.approx(deviation, rel=0.05), name
    assert all(not p.any() for n, p in sub.named_parameters() if n.endswith("bias"))
    added = set(sub.state_dict()) - set(plain.state_dict())
    assert added == {
        f"blocks.{n}.{part}.norm.{w}" for n in range(6) for part in ("attention", "mlp") for w in ("weight", "bias")
    }


def test_dropout_acts_on_the_joined_input_after_attention_and_after_the_plain_mlp():
    """Values that are dropped are zero, so a zero share of what each place gives says which of them drop."""

    def dropped(**arguments) -> set[str]:
        network = make(postnet="none", **arguments).train()
        found = set()

        def look(name: str):
            def hook(_module, inputs, output):
                x, y = inputs[0], output[0] if isinstance(output, tuple) else output
                if x.shape == y.shape and bool(((y == 0) & (x != 0)).any()):
                    found.add(name)

            return hook

        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Dropout) and "latent" not in name:
                module.register_forward_hook(look(name.replace("blocks.0.", "").replace("blocks.1.", "")))
        network(**collate(make_rows(), 2).inputs())
        return found

    assert dropped(dropout=0.3) == {"dropout", "attention_out", "mlp_out"}
    assert dropped(dropout=0.3, mlp="gated") == {"dropout", "attention_out"}
    assert dropped(dropout=0.0, mlp_dropout=0.3) == {"mlp.dropout"}
    assert dropped(dropout=0.0) == dropped(dropout=0.0, attention_dropout=0.3) == set()


def test_attention_dropout_is_on_the_weights_and_in_training_only():
    network = make(dropout=0.0, latent_dropout=0.0, attention_dropout=0.5, postnet="none")
    batch = collate(make_rows(), 2)
    assert torch.equal(network(**batch.inputs()).mean, network(**batch.inputs()).mean)
    network.train()
    assert not torch.equal(network(**batch.inputs()).mean, network(**batch.inputs()).mean)


def test_weights_of_an_earlier_version_fit():
    network = make()
    state = network.state_dict()
    earlier = state.pop("bos") + 1
    network.load_state_dict({**state, "begin": earlier})
    assert torch.equal(network.bos, earlier)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"heads": 3}, "heads=3"),
        ({"heads": 0}, "heads=0"),
        ({"r": 0}, "reduction_factor=0"),
        ({"prenet_activation": "gelu"}, "prenet_activation='gelu'"),
        ({"postnet_activation": "gelu"}, "postnet_activation='gelu'"),
        ({"latent_activation": "gelu"}, "latent_activation='gelu'"),
        ({"prenet_dropout": 1.5}, "prenet_dropout=1.5"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"activation": "gelu"}, "activation='gelu'"),
        ({"norm": "batch"}, "norm='batch'"),
        ({"block": "post_ln"}, "block='post_ln'"),
        ({"position": "alibi"}, "position='alibi'"),
        ({"guided_layers": [2]}, "guided_layers"),
        ({"prenet_layers": 0}, "prenet_layers=0"),
    ],
)
def test_impossible_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        make(**arguments)


def test_gradient_checkpointing_changes_memory_alone():
    batch = collate(make_rows(), 2)

    def gradients(checkpointing: bool) -> tuple[list[torch.Tensor], int]:
        arguments = {"prenet_dropout": 0.5, "dropout": 0.2, "latent_sampling": True, "guided_layers": [1]}
        network = make(**VARIANTS["paced"], **arguments, gradient_checkpointing=checkpointing).train()
        kept = []  # numbers of elements that the forward pass keeps for the backward pass

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        torch.manual_seed(3)  # the same dropout and latent
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(**batch.inputs())
        (output.refined.square().mean() + output.guide[0].square().mean()).backward()
        return [p.grad for p in network.parameters() if p.grad is not None], sum(kept)

    (plain, plain_kept), (again, again_kept) = gradients(False), gradients(True)
    assert again_kept < 0.7 * plain_kept
    assert len(plain) == len(again)
    for one, other in zip(plain, again):
        assert torch.equal(one, other)
