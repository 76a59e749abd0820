"""Classifier-free guidance: rows that read no text in training, further rows in decoding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from melle.model import Melle
from melle.model.guidance import Guidance, drop_text, guided, guided_prefixes, repeat
from melle.model.heads import LatentSampler
from tests.conftest import TINY

SIZES = {"vocab_size": 12, "dropout": 0.0, "prenet_dropout": 0.0, "latent_dropout": 0.0, "latent_sampling": False}


def make(**arguments) -> Melle:
    torch.manual_seed(2)
    return Melle(**{**TINY, **SIZES, "postnet": "none", **arguments})


def inputs(rows: int, seed: int) -> dict[str, torch.Tensor]:
    """Rows of five tokens and six steps; ``seed`` is that of the text alone."""
    text = torch.randint(2, 12, (rows, 5), generator=torch.Generator().manual_seed(seed))
    mel = torch.randn(rows, 24, 80, generator=torch.Generator().manual_seed(0))
    steps = torch.full((rows, 1), 6)
    lengths = {"text_lengths": torch.full((rows,), 5), "mel_lengths": torch.full((rows,), 24), "segment_steps": steps}
    return {"text": text, "text_segments": torch.zeros_like(text), "mel": mel, **lengths}


def test_a_row_reads_all_of_its_text_or_none():
    text = torch.randint(1, 12, (4000, 7), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    found, reads = drop_text(text, 0.2)
    assert torch.equal(found[reads], text[reads]) and not found[~reads].any()
    assert float((~reads).float().mean()) == pytest.approx(0.2, abs=0.025)  # four deviations


def test_in_training_rows_without_text_do_not_depend_on_it_and_others_do():
    network = make(text_dropout=0.5).train()
    torch.manual_seed(3)
    one = network(**inputs(16, seed=1))
    torch.manual_seed(3)
    other = network(**inputs(16, seed=2))
    assert torch.equal(one.reads_text, other.reads_text) and 0 < int(one.reads_text.sum()) < 16
    same = (one.mean == other.mean).all(dim=2).all(dim=1)
    assert torch.equal(same, ~one.reads_text)


def test_nothing_is_dropped_in_evaluation_or_without_text_dropout():
    with_dropout, without = make(text_dropout=0.5), make()
    without.load_state_dict(with_dropout.state_dict())  # which has no weights of its own
    expected = without.train()(**inputs(8, seed=1))
    found = with_dropout.eval()(**inputs(8, seed=1))
    assert expected.reads_text is None and found.reads_text is None
    torch.testing.assert_close(found.mean, expected.mean)


@given(st.integers(1, 4), st.sampled_from([1, 1.5, 4]), st.sampled_from([0, 0.5, 2]), st.data())
def test_rows_stand_side_by_side(requests, scale, prompt, data):
    guidance = Guidance(scale, prompt)
    names = ["both", *["neither"] * (scale != 1), *["text"] * (prompt != 0)]
    numbers = st.lists(st.floats(-9, 9, width=32), min_size=len(names), max_size=len(names))
    values = [dict(zip(names, data.draw(numbers))) for _ in range(requests)]
    found = guided(torch.tensor([[value] for row in values for value in row.values()]), guidance)
    expected = []
    for row in values:
        both, neither, text = row["both"], row.get("neither", 0), row.get("text", 0)
        expected.append([neither + scale * (both - neither) + prompt * (both - text)])
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    rows = guidance.rows
    assert rows == len(names)
    assert repeat(torch.arange(requests), rows).tolist() == [row // rows for row in range(rows * requests)]


def test_further_rows_have_no_prompt_and_one_of_them_the_text():
    """Of a row with a prompt, of one without, and of one whose frames are the beginning of what its text says."""
    text = torch.tensor([[5, 6, 7, 8, 1], [5, 6, 1, 0, 0], [5, 6, 7, 1, 0]])
    lengths, steps = torch.tensor([5, 3, 4]), torch.tensor([9, 0, 4])
    segments = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, -1, -1], [0, 0, 0, 0, -1]])
    nothing, alone = [[0] * 5] * 3, [[7, 8, 1, 0, 0], [5, 6, 1, 0, 0], [5, 6, 7, 1, 0]]
    for guidance, wanted in (
        (Guidance(2.0), [nothing]),
        (Guidance(1.0, 0.5), [alone]),
        (Guidance(2.0, 0.5), [nothing, alone]),
    ):
        prefixes = guided_prefixes(text, lengths, segments, steps, guidance)
        for first, found in zip((text, lengths, segments, steps), prefixes):
            assert torch.equal(found[:: guidance.rows], first)
        for row, ids in enumerate(wanted, start=1):
            found = [part[row :: guidance.rows].tolist() for part in prefixes]
            assert found[0] == ids
            assert found[1] == [3, 3, 4] and found[3] == [0, 0, 4]
            assert found[2] == [[0, 0, 0, -1, -1], [0, 0, 0, -1, -1], [0, 0, 0, 0, -1]]


def test_a_text_without_its_prompt_begins_with_the_mark_all_the_same():
    text = torch.tensor([[9, 5, 6, 7, 8, 1], [9, 5, 6, 1, 0, 0]])  # after the first's mark two tokens of a prompt; none
    segments = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, -1, -1]])
    lengths, steps = torch.tensor([6, 4]), torch.tensor([9, 0])
    ids, lengths, segments, steps = guided_prefixes(text, lengths, segments, steps, Guidance(1.0, 0.5, begin=1))
    assert ids[1::2].tolist() == [[9, 7, 8, 1, 0, 0], [9, 5, 6, 1, 0, 0]]
    assert lengths[1::2].tolist() == [4, 4] and steps[1::2].tolist() == [0, 0]
    assert segments[1::2].tolist() == [[0, 0, 0, 0, -1, -1]] * 2


def test_the_deviation_is_that_of_the_row_that_reads_its_text():
    """Two predictions of one row: their mean moves with the scale, what chance adds to it does not."""
    torch.manual_seed(4)
    sampler = LatentSampler(8, 6, 16, 2, "relu", 0.5, False, True).eval()
    hidden, noise = torch.randn(2, 1, 8), torch.randn(1, 1, 6)
    mean, log_variance = sampler.project(hidden).chunk(2, dim=-1)
    for scale in (1.5, 3.0):
        wanted = mean[1] + scale * (mean[0] - mean[1]) + 0.7 * torch.exp(log_variance[0] / 2) * noise[0]
        found = sampler(hidden, 0.7, noise, Guidance(scale))
        torch.testing.assert_close(found.frames[0], wanted + sampler.perceptron(wanted))
