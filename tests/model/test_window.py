"""Guided attention within a window that moves on: against loops over rows and tokens, and a pass over the whole."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from melle.model import attention
from melle.model.guidance import Guidance
from melle.model.window import TextWindow
from melle.synthesis.decoding import decode
from melle.synthesis.prompt import Prompt
from tests.synthesis.test_batched_decoding import FREE, KINDS, PAIRED, TRIPLES, guide, how, make, make_rows, speak

GUIDED = KINDS["r = 2, guided"]


def interleave(*parts):
    """The rows of each request, (B, …) each, one right after the other."""
    return torch.stack(parts, dim=1).flatten(0, 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.floats(0, 9)), min_size=1, max_size=4), st.data())
def test_head_0_sees_the_window_and_what_is_no_text(rows, data):
    ahead, heads = data.draw(st.floats(1, 6)), data.draw(st.integers(1, 3))
    first, count, at = zip(*rows)
    end = [a + b for a, b in zip(first, count)]
    keys = max(end) + 3
    window = TextWindow(torch.tensor(first), torch.tensor(end), torch.tensor(at, dtype=torch.float32), ahead)
    mask = torch.rand(len(rows), 1, 1, keys, generator=torch.Generator().manual_seed(0)) < 0.8
    other = torch.rand(mask.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    both = window.mask(interleave(mask, other), heads, keys, Guidance(2.0))
    assert torch.equal(both[0::2], window.mask(mask, heads, keys))
    assert torch.equal(both[1::2], other.expand(-1, heads, -1, -1))
    assert window.mask(None, heads, keys, Guidance(2.0))[1::2].all()
    begin = data.draw(st.integers(0, 1))
    triples = window.mask(interleave(mask, other, other), heads, keys, Guidance(2.0, 0.5, begin))
    assert torch.equal(interleave(triples[0::3], triples[1::3]), both)
    for row in range(len(rows)):  # the same window, without the prompt's tokens, behind the mark
        less = max(first[row] - begin, 0)
        alone = TextWindow(*(torch.tensor([float(x) - less]) for x in (first[row], end[row], at[row])), ahead)
        assert torch.equal(triples[2::3][row : row + 1], alone.mask(other[row : row + 1], heads, keys))
    for given_mask in (None, mask):
        found = window.mask(given_mask, heads, keys)
        assert found.shape == (len(rows), heads, 1, keys)
        for row in range(len(rows)):
            for head in range(heads):
                for key in range(keys):
                    place = key - window.at[row]
                    near = first[row] <= key and -ahead / 2 <= place <= ahead
                    expected = near or key >= end[row] or head > 0
                    if given_mask is not None:
                        expected = bool(expected and mask[row, 0, 0, key])
                    assert found[row, head, 0, key] == expected


def test_it_moves_to_the_mean_token_of_the_guided_heads_and_never_back():
    """Four tokens and a frame. Row 1 would go back; of row 2 too little looks at the text, unless that is enough."""
    one = torch.tensor([[0, 0, 0.5, 0.3, 0.2], [0, 1, 0, 0, 0], [0, 0, 0.1, 0.1, 0.8], [0, 0, 0, 1, 0]])
    other = torch.tensor([[0, 0, 0, 0.8, 0.2], [0, 1, 0, 0, 0], [0, 0, 0, 0.3, 0.7], [0, 0, 0, 1, 0]])
    first = (2 * 0.5 + 3 * 0.3 + 3 * 0.8) / 1.6  # heads that look at the text more count more
    third = (2 * 0.1 + 3 * 0.1 + 3 * 0.3) / 0.5
    for arguments, expected in (
        ((0.3, torch.tensor([True, True, True, False])), [first, 3.0, 1.0, 1.0]),
        ((0.0, None), [first, 3.0, third, 3.0]),
    ):
        at = torch.tensor([1.0, 3.0, 1.0, 1.0])
        window = TextWindow(torch.tensor([0, 0, 0, 1]), torch.tensor([4, 4, 4, 4]), at, 4.0)
        window.advance([one, other], *arguments)
        assert window.at is at and at.tolist() == pytest.approx(expected)  # in its place, as a CUDA graph needs it


def test_it_begins_behind_the_prompts_text():
    segments = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, -1, -1], [0, 1, 1, 1, -1]])
    window = TextWindow.begin(torch.tensor([5, 3, 4]), segments, 3.0)
    assert window.first.tolist() == [2, 0, 1] and window.at.tolist() == [2.0, 0.0, 1.0]


def looks(network, row, monkeypatch, **options):
    """Where head 0 of the guided blocks looked in each step: (steps, text tokens)."""
    found, real = [], attention.head_weights

    def head_weights(q, k, mask):
        weights = real(q, k, mask)
        found.append(weights[0, -1])
        return weights

    monkeypatch.setattr(attention, "head_weights", head_weights)
    for _ in decode(network, [row], replace(how(network), **options), 62.5):
        pass
    monkeypatch.undo()
    text = sum(map(len, row.segments)) + 1
    return torch.stack([one[:text] for one in found])[len(network.guided_layers) :]


@pytest.mark.parametrize("kind", [GUIDED, PAIRED], ids=["alone", "pairs"])
@pytest.mark.parametrize("number", [0, 2])
def test_decoding_is_the_pass_over_what_was_said_with_head_0_masked(monkeypatch, number, kind):
    """All that was said so far read anew at every step, each step's head 0 with the window that was its own."""
    network = make(**kind, prenet_dropout=0.0, latent_sampling=False, postnet="none")
    row = replace(make_rows(network)[number], tokens=[*range(2, 12)], max_steps=12)
    ahead = 6.0  # wide enough for untrained attention to be on it
    options = replace(how(network), attention_window=ahead)
    mel = torch.cat([piece.mel for piece in decode(network, [row], options, 62.5)])
    first, end = (2 if number else 0), sum(map(len, row.segments)) + 1
    given = torch.zeros(0, 80) if row.prompt is None else row.prompt.mel
    due = [float(first)]  # the token at which each step but the first has its window
    seen: list[torch.Tensor] = []

    def attend(q, k, v, mask, dropout, causal):
        count = q.shape[2]
        allowed = torch.ones(count, count, dtype=torch.bool).tril().repeat(q.shape[1], 1, 1)
        start = end + len(given) // 2 + 1  # the slot that predicts the second new step
        for slot in range(start, count):
            for key in range(end):
                place = key - due[slot - start]
                allowed[0, slot, key] = key >= first and -ahead / 2 <= place <= ahead
        weights = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).masked_fill(~allowed, -math.inf).softmax(-1)
        seen.append(weights[0, 0, -1, :end])
        return weights @ v

    real = attention.attend
    monkeypatch.setattr(attention, "attend", attend)
    made = torch.zeros(0, 80)
    text = torch.tensor([[token for segment in row.segments for token in segment] + [1]])
    member = torch.tensor([[n for n, s in enumerate(row.segments) for _ in s] + [len(row.segments) - 1]])
    for number_of_step in range(12):
        frames = torch.cat((given, made, torch.zeros(2, 80)))
        steps = torch.tensor([[len(given) // 2, (len(frames) - len(given)) // 2]])
        seen.clear()
        with torch.inference_mode():
            output = network(text, torch.tensor([end]), member, frames[None], torch.tensor([len(frames)]), steps)
        said = output.frames[0, -2:]
        if network.text_dropout:
            with monkeypatch.context() as plain:  # which knows no window
                plain.setattr(attention, "attend", real)
                said = guide(network, output.mean[0, -2:], row, given, made)
        made = torch.cat((made, said))
        if number_of_step:
            on_text = (seen[0] + seen[1]) / 2
            centre = float(on_text @ torch.arange(end, dtype=torch.float32)) / float(on_text.sum())
            due.append(max(due[-1], centre) if on_text.sum() > 0.3 else due[-1])
    torch.testing.assert_close(mel, made, rtol=0, atol=1e-4)
    assert number or due[-1] > due[0]  # beside a prompt this one looks at frames


@pytest.mark.parametrize("kind", [GUIDED, PAIRED, TRIPLES], ids=["alone", "pairs", "triples"])
@pytest.mark.parametrize("number", [0, 2])
def test_speaking_head_0_keeps_to_it(monkeypatch, number, kind):
    network = make(**kind)
    row = replace(make_rows(network)[number], tokens=[*range(2, 12)] * 3, max_steps=30)
    weights = looks(network, row, monkeypatch).view(-1, 2, 31 + 2 * bool(number)).mean(1)
    seen = weights > 0
    first = 2 if number else 0
    assert not seen[:, :first].any()
    width = seen.sum(1)
    assert (width >= 1).all() and (width <= 4).all()  # of tokens between one back and two ahead
    starts = seen.float().argmax(1)
    assert (starts[1:] >= starts[:-1]).all()  # never back
    assert starts[-1] > starts[0]  # but on


@pytest.mark.parametrize("kind", [GUIDED, PAIRED, TRIPLES], ids=["alone", "pairs", "triples"])
def test_what_was_read_of_the_text_is_not_said_again(kind):
    """The beginning of what a text says, given as sound, is passed over: the window begins where attention is."""
    network = make(**kind)
    row = make_rows(network)[3]
    begun = replace(row, prompt=Prompt(None, "", [], row.prompt.mel), tokens=[*range(2, 12)])
    states, real = [], network.step

    def step(caches, state, *rest):
        states.append(state.window.at.clone())
        return real(caches, state, *rest)

    network.step = step
    (mel,) = speak(network, [begun])
    assert len(mel) == 2 * row.max_steps and states[0] > 0


def test_without_one_nothing_changes(monkeypatch):
    """And one as wide as the text is none, where no prompt's text is shut out."""
    network = make(**GUIDED)
    row = make_rows(network)[0]
    for options in ({"attention_window": math.inf}, {"attention_window": 1e6}):
        mels = [
            torch.cat([piece.mel for piece in decode(network, [row], replace(FREE, **options), 62.5, fixed=fixed)])
            for fixed in (False, True)
        ]
        torch.testing.assert_close(mels[0], mels[1], rtol=0, atol=2e-4)
        if options["attention_window"] == math.inf:
            free = mels[0]
    torch.testing.assert_close(mels[0], free, rtol=0, atol=2e-4)
    (narrow,) = speak(network, [row])
    assert (narrow - free).abs().max() > 1e-3
    monkeypatch.setattr(TextWindow, "begin", None)  # which a model without guided attention never asks for
    speak(make(**KINDS["r = 4, paced, bidirectional"]), [row])
