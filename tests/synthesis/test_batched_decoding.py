"""A row says the same in any company, its frames come as a stream, and those that have ended leave."""

from dataclasses import replace

import pytest
import torch

from melle.model import Melle
from melle.model.compiled import compile_blocks, compiled_graphs
from melle.model.noise import BLOCK as DRAWN
from melle.model.noise import RowNoise
from melle.synthesis import decoding
from melle.synthesis.decoding import decode
from melle.synthesis.options import DecodingOptions
from melle.synthesis.postnet_streaming import BLOCK, StreamingPostNet
from melle.synthesis.prompt import Prompt
from melle.synthesis.request import Request
from tests.conftest import TINY

# The window is for guided attention alone; see ``how`` for the scale, which is for networks with text_dropout.
FREE = DecodingOptions(stop_threshold=1.0, max_silence=1e9, max_still=1e9, attention_window=2.0)
KINDS = {
    "r = 1, learned": {"reduction_factor": 1, "position": "learned", "max_text": 20, "max_steps": 200},
    "r = 2, rope": {"reduction_factor": 2, "position": "rope"},
    "r = 3, no post-net": {"reduction_factor": 3, "position": "rope", "postnet": "none"},
    "r = 4, paced, bidirectional": {"position": "paced", "pace": 3.0, "text_attention": "bidirectional"},
    "r = 2, guided": {"reduction_factor": 2, "position": "paced", "pace": 3.0, "guided_layers": [0, 1]},
}
PAIRED = {**KINDS["r = 2, guided"], "text_dropout": 0.1}  # two rows a request, for classifier-free guidance
KINDS |= {"r = 2, guided, pairs": PAIRED, "r = 1, learned, pairs": {**KINDS["r = 1, learned"], "text_dropout": 0.1}}
TRIPLES = {**PAIRED, "text_dropout": 0.2}  # and a third, for that of the prompt alone
KINDS |= {
    "r = 2, guided, triples": TRIPLES,
    "r = 1, learned, triples": {**KINDS["r = 1, learned"], "text_dropout": 0.2},
}
SCALE, PROMPT = 2.5, 0.75


def how(network: Melle) -> DecodingOptions:
    scale = SCALE if network.text_dropout else 1.0
    return replace(
        FREE, guidance_scale=scale, prompt_guidance=PROMPT if network.text_dropout == TRIPLES["text_dropout"] else 0.0
    )


def make(**arguments) -> Melle:
    torch.manual_seed(1)
    network = Melle(**{**TINY, "vocab_size": 12, **arguments}).eval()
    with torch.no_grad():  # a network whose frames depend on all that came before, and stay within bounds
        for parameter in network.parameters():
            parameter.mul_(1.5)
        for norm in network.postnet.norms if network.postnet is not None else ():
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2.0)
    return network


def make_rows(network: Melle, prompts=(0, 12, 24, 36), steps=(9, 5, 13, 31)) -> list[Request]:
    generator = torch.Generator().manual_seed(5)
    rows = []
    for number, (frames, count) in enumerate(zip(prompts, steps)):
        text = torch.randint(2, 12, (3 + number,), generator=generator).tolist()
        mel = torch.randn(frames, network.n_mels, generator=generator)
        prompt = Prompt(None, "", [5, 6], mel) if frames else None
        rows.append(Request("", text, prompt, 7 + number, 1, count, -9.0))
    return rows


def without(network: Melle, row: Request, given: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """The mean (r, M) of the next step without text and prompt: by a pass over what was said so far."""
    return _without(network, row, given, made, [0] * (len(row.tokens) + 1))


def _without(network: Melle, row: Request, given: torch.Tensor, made: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    said = made if len(row.segments) > 1 else torch.cat((given, made))
    said = torch.cat((said, made.new_zeros(network.reduction_factor, network.n_mels)))
    text = torch.tensor([tokens])
    steps = torch.tensor([[len(said) // network.reduction_factor]])
    lengths = torch.tensor([text.shape[1]]), torch.zeros_like(text)
    with torch.inference_mode():
        output = network(text, *lengths, said[None], torch.tensor([len(said)]), steps)
    return output.mean[0, -network.reduction_factor :]


def guide(
    network: Melle, with_all: torch.Tensor, row: Request, given: torch.Tensor, made: torch.Tensor
) -> torch.Tensor:
    """Frames (r, M) by the mean with text and prompt, and those without; of a network without chance."""
    mean = SCALE * with_all - (SCALE - 1) * without(network, row, given, made)
    if network.text_dropout == TRIPLES["text_dropout"]:  # for positions that do not go by the prompt's pace
        mean = mean + PROMPT * (with_all - _without(network, row, given, made, [*row.tokens, 1]))
    mean = mean.reshape(1, 1, -1)
    return (mean + network.latent.perceptron(mean)).view(with_all.shape)


def speak(network: Melle, rows: list[Request], fixed: bool | None = None) -> list[torch.Tensor]:
    mels = [[] for _ in rows]
    for piece in decode(network, rows, how(network), frame_rate=62.5, fixed=fixed):
        mels[piece.row].append(piece.mel)
    return [torch.cat(parts) for parts in mels]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_says_the_same_alone_and_in_a_batch_that_others_leave(kind):
    network = make(**KINDS[kind])
    rows = make_rows(network)
    together = speak(network, rows)
    assert [len(mel) for mel in together] == [row.max_steps * network.reduction_factor for row in rows]
    for row, mel in zip(rows, together):
        (alone,) = speak(network, [row])
        torch.testing.assert_close(alone, mel, rtol=0, atol=2e-4)
        assert alone.std() > 0.1
    (other,) = speak(network, [replace(rows[0], seed=99)])
    assert (other - together[0]).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_fixed_shapes_say_the_same(kind):
    """What CUDA graphs and compiled blocks run; rows leave on the way."""
    network = make(**KINDS[kind])
    rows = make_rows(network)
    for grown, fixed in zip(speak(network, rows), speak(network, rows, fixed=True)):
        torch.testing.assert_close(fixed, grown, rtol=0, atol=2e-4)


def test_compiled_steps_say_the_same_in_few_graphs():
    torch._dynamo.reset()
    network = make(**KINDS["r = 4, paced, bidirectional"])
    rows = make_rows(network)
    eager = speak(network, rows)
    compile_blocks(network, "aot_eager")  # tests/model has one with the compiler, which takes long
    before = compiled_graphs()[0]
    for expected, mel in zip(eager, speak(network, rows, fixed=True)):
        torch.testing.assert_close(mel, expected, rtol=0, atol=2e-4)
    (alone,) = speak(network, rows[:1], fixed=True)
    torch.testing.assert_close(alone, eager[0], rtol=0, atol=2e-4)
    assert 1 <= compiled_graphs()[0] - before <= 3  # of the first number of rows, of any, and of one


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_graphs_say_the_same(kind):
    network = make(**KINDS[kind]).cuda()
    rows = make_rows(network)
    for eager, graphed in zip(speak(network, rows, fixed=False), speak(network, rows)):
        torch.testing.assert_close(graphed, eager, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "guided" not in kind])  # for which see test_window.py
def test_cached_decoding_is_the_forward_pass_over_what_was_said(kind):
    """Without chance: all that was said so far, read anew at every step, and the post-net over the whole."""
    network = make(**KINDS[kind], prenet_dropout=0.0, latent_sampling=False)
    rows = make_rows(network, prompts=(0, 24, 12), steps=(9, 11, 7))
    rows[2] = replace(rows[2], prompt=replace(rows[2].prompt, tokens=[]))  # goes on from the beginning of its text
    for row in rows:
        *_, last = pieces = list(decode(network, [row], how(network), 62.5))
        mel = torch.cat([piece.mel for piece in pieces])
        r, made, stops = network.reduction_factor, torch.zeros(0, network.n_mels), []
        text = torch.tensor([[token for segment in row.segments for token in segment] + [1]])
        member = torch.tensor([[n for n, s in enumerate(row.segments) for _ in s] + [len(row.segments) - 1]])
        given = torch.zeros(0, network.n_mels) if row.prompt is None else row.prompt.mel
        before = len(given)
        for _ in range(int(row.max_steps)):
            frames = torch.cat((given, made, torch.zeros(r, network.n_mels)))
            spoken_before = before if len(row.segments) > 1 else 0
            steps = torch.tensor([[spoken_before // r, (len(frames) - spoken_before) // r]])
            length = torch.tensor([len(frames)])
            with torch.inference_mode():
                output = network(text, torch.tensor([text.shape[1]]), member, frames[None], length, steps)
            said = output.frames[0, -r:]
            if network.text_dropout:
                said = guide(network, output.mean[0, -r:], row, given, made)
            made, stops = torch.cat((made, said)), [*stops, float(output.stop[0, -1].sigmoid())]
        context = torch.cat((given, made))[None]
        with torch.inference_mode():
            refined = network.refine(context, torch.ones(context.shape[:2], dtype=torch.bool))[0, before:]
        torch.testing.assert_close(mel, refined, rtol=0, atol=1e-4)
        torch.testing.assert_close(last.stop, torch.tensor(stops), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_in_blocks_as_soon_as_they_are_final(kind):
    network = make(**KINDS[kind])
    (row,) = make_rows(network, prompts=(12,), steps=(40,))
    stepped = []
    step = network.step
    network.step = lambda *arguments: (stepped.append(1), step(*arguments))[1]
    context = 0 if network.postnet is None else network.postnet.context
    got = 0
    for piece in decode(network, [row], FREE, 62.5):
        r = network.reduction_factor
        if piece.finish_reason is None:
            assert len(piece.mel) == BLOCK
            needed = -(-(got + BLOCK + context) // r)
            assert len(stepped) + 1 == needed  # not a step later than they can be
        else:
            assert piece.finish_reason == "length" and piece.stop.shape == (40,)
        got += len(piece.mel)
    assert got == 40 * network.reduction_factor


def test_looking_less_often_for_ends_changes_nothing(monkeypatch):
    network = make(**KINDS["r = 2, rope"])
    rows = make_rows(network)
    often = speak(network, rows)
    seen = []
    monkeypatch.setattr(decoding, "_check_interval", lambda device: 8)
    monkeypatch.setattr(decoding, "REASONS", Seen(decoding.REASONS, seen))
    for a, b in zip(often, speak(network, rows)):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-4)
    assert seen == [1] * len(rows)  # "length", each once


class Seen(tuple):
    def __new__(cls, values, seen):
        made = super().__new__(cls, values)
        made.seen = seen
        return made

    def __getitem__(self, index):
        self.seen.append(index)
        return super().__getitem__(index)


def test_rows_that_ended_take_no_work(monkeypatch):
    network = make(**KINDS["r = 4, paced, bidirectional"])
    sizes = []
    step = network.step
    network.step = lambda caches, state, *rest: (sizes.append(len(state.prefix)), step(caches, state, *rest))[1]
    list(decode(network, make_rows(network, steps=(9, 5, 13, 31)), FREE, 62.5))
    # The second of four has ended at step 5, the first at step 9: then two are left, and one after step 13.
    assert sizes == [4] * 8 + [2] * 4 + [1] * 18


@pytest.mark.parametrize("kind", ["r = 2, guided, triples", "r = 1, learned, triples"])
def test_where_there_is_no_prompt_guidance_by_it_changes_nothing(kind):
    network = make(**KINDS[kind], latent_sampling=False)
    (row,) = make_rows(network, prompts=(0,), steps=(9,))
    begun = replace(row, prompt=Prompt(None, "", [], torch.randn(12, network.n_mels)))  # the beginning of what it says
    prompted = replace(begun, prompt=replace(begun.prompt, tokens=[5, 6]))
    for one, same in ((row, True), (begun, True), (prompted, False)):
        by_it, without_it = (
            torch.cat([piece.mel for piece in decode(network, [one], replace(FREE, prompt_guidance=share), 62.5)])
            for share in (1.0, 0.0)
        )
        assert torch.allclose(by_it, without_it, rtol=0, atol=1e-4) is same


def test_a_rows_chance_is_its_own_and_is_what_it_says():
    noise = RowNoise([3, 4], [0.3, 0.6], 400, 50, torch.device("cpu"))
    keep = noise.prompt([2, 3])
    steps = [noise.next() for _ in range(DRAWN + 2)]
    alone = RowNoise([4], [0.6], 400, 50, torch.device("cpu"))
    assert torch.equal(alone.prompt([3])[0], keep[1]) and (keep[0, 2:] == 1).all()
    for step in steps:
        again = alone.next()
        assert torch.equal(again.keep[0], step.keep[1]) and torch.equal(again.latent[0], step.latent[1])
    for row, dropout in enumerate((0.3, 0.6)):
        every = torch.cat([step.keep[row] for step in steps])
        assert sorted(every.unique().tolist()) == pytest.approx([0, 1 / (1 - dropout)])  # the mean stays
        assert float((every == 0).float().mean()) == pytest.approx(dropout, abs=0.01)
    latent = torch.cat([step.latent for step in steps], dim=1)
    assert abs(float(latent.mean())) < 0.05 and float(latent.std()) == pytest.approx(1, abs=0.05)
    flat = latent.flatten(1)
    assert torch.corrcoef(flat)[0, 1].abs() < 0.08  # seeds side by side have nothing in common


def test_selected_rows_go_on_with_their_chance():
    device = torch.device("cpu")
    both, one = RowNoise([3, 4], [0.0, 0.5], 4, 4, device), RowNoise([4], [0.5], 4, 4, device)
    both.prompt([1, 2]), one.prompt([2])
    for number in range(2 * DRAWN + 3):
        if number == DRAWN // 2:
            both.select(torch.tensor([1]))
        two, alone = both.next(), one.next()
        assert torch.equal(two.latent[-1], alone.latent[-1]) and torch.equal(two.keep[-1], alone.keep[-1])


def test_refined_blocks_are_the_post_net_over_the_whole():
    network = make(reduction_factor=1, position="rope")
    prompt, lengths = torch.randn(3, 30, network.n_mels), torch.tensor([0, 4, 30])
    made = torch.randn(3, 53, network.n_mels)
    refiner = StreamingPostNet(network, prompt, lengths, 60)
    blocks, done = [], 0
    with torch.inference_mode():
        for start in range(0, 53, 2):
            refiner.append(made[:, start : min(start + 2, 53)])
            while refiner.ready(done):
                blocks.append(refiner.refine(torch.arange(3), done))
                done += BLOCK
        for row, (length, end) in enumerate(zip(lengths.tolist(), (53, 44, 51))):
            last = [refiner.refine(torch.tensor([row]), at, end)[0] for at in range(done, end, BLOCK)]
            got = torch.cat([block[row] for block in blocks] + last)
            whole = torch.cat((prompt[row, :length], made[row, :end]))[None]
            expected = network.refine(whole, torch.ones(whole.shape[:2], dtype=torch.bool))[0, length:]
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert done == 2 * BLOCK
