"""The import of reference checkpoints, against the reference's layers computed anew from its own state dict."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2TokenizerFast

from melle.audio import MelSpec
from melle.checkpoint import load_model
from melle.cli import main
from melle.data.batch import Row, collate
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.reference import import_reference, open_text
from melle.synthesis.options import DecodingOptions
from melle.synthesis.synthesizer import Synthesizer
from melle.text import marks_of

D, H, FF, V, HEADS, LAYERS, HIDDEN, CHANNELS, M = 16, 4, 24, 12, 4, 2, 20, 6, 80
WORDS = ("<unk>", "<s>", "</s>", "ONE", "TWO", "THREE", "one", "two", "three", "FOUR")
BOS, EOS = 1, 2
ACTIVATIONS = {"silu": F.silu, "relu": F.relu, "tanh": torch.tanh}

FLAGS = {
    "rms, gated, rope": dict(norm="rms", gated=True, rope=True, postnet=True, r=1),
    "layer, plain, learned": dict(norm="layer", gated=False, rope=False, postnet=True, r=2),
    "rms, plain, rope, no post-net": dict(norm="rms", gated=False, rope=True, postnet=False, r=3),
}


def make_state(norm, gated, rope, postnet, r):
    """Random weights under the reference's names."""
    state = {}

    def matrix(name, rows, columns, bias):
        state[f"{name}.weight"] = torch.randn(rows, columns) / math.sqrt(columns)
        if bias:
            state[f"{name}.bias"] = torch.randn(rows) * 0.2

    def normal(name, size):
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(size)
        if norm == "layer":
            state[f"{name}.bias"] = 0.2 * torch.randn(size)

    state["text_embedding.weight"] = torch.randn(V, D)
    state["mel_bos_embed"] = torch.randn(1, 1, D)
    matrix("mel_embedding.prenet_l1", HIDDEN, M * r, True)
    matrix("mel_embedding.prenet_l2", HIDDEN, HIDDEN, True)
    matrix("mel_embedding.prenet_lout", D, HIDDEN, True)
    if not rope:
        state["text_position.weight"], state["mel_position.weight"] = torch.randn(33, D), torch.randn(65, D)
    for n in range(LAYERS):
        for part in "qkvo":
            matrix(f"encoder_layers.{n}.self_attn.{part}_proj", D, D, part != "o")
        normal(f"encoder_layers.{n}.self_attn.norm", D)
        normal(f"encoder_layers.{n}.self_attn_norm", D)
        normal(f"encoder_layers.{n}.ffn_norm", D)
        normal(f"encoder_layers.{n}.ffn.norm", FF)
        if gated:
            for part, shape in (("gate", (FF, D)), ("up", (FF, D)), ("down", (D, FF))):
                matrix(f"encoder_layers.{n}.ffn.{part}_proj", *shape, False)
        else:
            matrix(f"encoder_layers.{n}.ffn.fc1", FF, D, True)
            matrix(f"encoder_layers.{n}.ffn.fc2", D, FF, True)
    normal("layer_norm", D)
    matrix("stop_projection", 1, D, True)
    matrix("mel_decoder.before_outs_and_logvar_l", 2 * M * r, D, True)
    for n, shape in ((0, (HIDDEN, M * r)), (3, (HIDDEN, HIDDEN)), (6, (M * r, HIDDEN))):
        matrix(f"mel_decoder.vae_decoder.{n}", *shape, False)
    if postnet:
        sizes = [M, CHANNELS, CHANNELS, M]
        for layer in range(3):
            a, b = sizes[layer], sizes[layer + 1]
            state[f"mel_decoder.postnet.{4 * layer}.weight"] = torch.randn(b, a, 5) / math.sqrt(5 * a)
            state[f"mel_decoder.postnet.{4 * layer}.bias"] = torch.randn(b)
            name = f"mel_decoder.postnet.{4 * layer + 1}"
            state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(b) + 0.5, torch.randn(b)
            state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(b), torch.rand(b) + 0.5
            state[f"{name}.num_batches_tracked"] = torch.tensor(5)
    return state


def compute(state, norm, gated, rope, postnet, r, ids, mel, activations):
    """One utterance through the reference's layout, without chance: μ, log σ², y', y'', stop."""
    act, prenet_act, postnet_act = (ACTIVATIONS[name] for name in activations)

    def matrix(name, x):
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def normal(name, x):
        weight = state[f"{name}.weight"]
        if norm == "layer":
            return F.layer_norm(x, weight.shape, weight, state[f"{name}.bias"])
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    words = state["text_embedding.weight"][ids]
    read = mel.view(-1, r * M)[:-1]
    read = prenet_act(matrix("mel_embedding.prenet_l1", read))
    read = matrix("mel_embedding.prenet_lout", prenet_act(matrix("mel_embedding.prenet_l2", read)))
    read = torch.cat((state["mel_bos_embed"][0], read))
    if not rope:
        words = words + state["text_position.weight"][1 : 1 + len(words)]
        read = read + state["mel_position.weight"][1 : 1 + len(read)]
    x = torch.cat((words, read))
    length, size = len(x), D // HEADS
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
    cos, sin = torch.cat((angle, angle), -1).cos(), torch.cat((angle, angle), -1).sin()

    def turn(q):  # Qwen2's rotate_half
        return q * cos + torch.cat((-q[:, size // 2 :], q[:, : size // 2]), -1) * sin

    for n in range(LAYERS):
        name = f"encoder_layers.{n}.self_attn"
        y = normal(f"{name}_norm", x)
        q, k, v = (matrix(f"{name}.{part}_proj", y) for part in "qkv")
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            one, two = (turn(q[:, part]), turn(k[:, part])) if rope else (q[:, part], k[:, part])
            scores = one @ two.T / math.sqrt(size) + torch.full((length, length), -torch.inf).triu(1)
            heads.append(scores.softmax(-1) @ v[:, part])
        x = x + matrix(f"{name}.o_proj", normal(f"{name}.norm", torch.cat(heads, -1)))
        name = f"encoder_layers.{n}.ffn"
        y = normal(f"{name}_norm", x)
        if gated:
            y = act(matrix(f"{name}.gate_proj", y)) * matrix(f"{name}.up_proj", y)
            x = x + matrix(f"{name}.down_proj", normal(f"{name}.norm", y))
        else:
            x = x + matrix(f"{name}.fc2", normal(f"{name}.norm", act(matrix(f"{name}.fc1", y))))
    hidden = normal("layer_norm", x)[len(words) :]
    stop = matrix("stop_projection", hidden)[:, 0]
    mean, log_variance = matrix("mel_decoder.before_outs_and_logvar_l", hidden).chunk(2, -1)
    residual = mean
    for n in (0, 3, 6):
        residual = matrix(f"mel_decoder.vae_decoder.{n}", residual)
        residual = postnet_act(residual) if n < 6 else residual  # the reference gives it the post-net's
    frames = (mean + residual).reshape(-1, M)
    refined = frames
    if postnet:
        y = frames.T[None]
        for layer in range(3):
            name = f"mel_decoder.postnet.{4 * layer}"
            y = F.conv1d(y, state[f"{name}.weight"], state[f"{name}.bias"], padding=2)
            name = f"mel_decoder.postnet.{4 * layer + 1}"
            y = F.batch_norm(
                y,
                state[f"{name}.running_mean"],
                state[f"{name}.running_var"],
                state[f"{name}.weight"],
                state[f"{name}.bias"],
            )
            y = postnet_act(y) if layer < 2 else y
        refined = frames + y[0].T
    return mean.reshape(-1, M), log_variance.reshape(-1, M), frames, refined, stop


def write(folder, state, prefix="", args=None):
    """A checkpoint, and the flags of its run beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = {prefix + name: value for name, value in state.items()}
    torch.save({"step": 1234, "model": model}, folder / "reference.pt")
    if args is not None:
        (folder / "args.json").write_text(json.dumps(args))
    return folder / "reference.pt"


def make_llama(folder, **marks):
    """A tokenizer with Llama's marks, saved as transformers does."""
    library = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"bos_token": "<s>", "eos_token": "</s>"} | marks
    PreTrainedTokenizerFast(tokenizer_object=library, unk_token="<unk>", **marks).save_pretrained(folder)
    return str(folder)


def make_qwen(folder):
    """Letters as ids 0 to 4, of Qwen's kind: no begin mark."""
    library = Tokenizer(models.BPE({letter: n for n, letter in enumerate("ABCDE")}, []))
    Qwen2TokenizerFast(tokenizer_object=library).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_llama(tmp_path_factory.mktemp("llama") / "tokenizer")


def without_chance(path):
    """The network of a checkpoint, with the pre-net's dropout off and the latent at its mean."""
    network = load_model(path).network
    network.prenet.dropout, network.latent.sampling = 0.0, False
    return network


def agrees(network, batch, expected):
    with torch.no_grad():
        output = network(**batch.inputs())
    for name, value in zip(("mean", "log_variance", "frames", "refined", "stop"), expected):
        torch.testing.assert_close(getattr(output, name)[0], value, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS.keys())
@pytest.mark.parametrize(
    ("prefix", "activations"),
    [
        ("", ("silu", "relu", "tanh")),
        ("module.", ("relu", "tanh", "silu")),
        ("module.", ("tanh", "silu", "relu")),
        ("", ("relu", "relu", "tanh")),
    ],
)
def test_an_imported_model_computes_what_the_reference_does(tmp_path, llama, flags, prefix, activations):
    """Every activation of every part, the flags from args.json, and <s> and </s> around the text."""
    state = make_state(**flags)
    names = ("transformer_activation", "prenet_activation", "postnet_activation")
    args = {**dict(zip(names, activations)), "norm": flags["norm"], "using_rope": flags["rope"], "lr": 5e-4}
    args |= {"using_postnet": flags["postnet"], "using_qwen2mlp": flags["gated"]}
    text = open_text(llama)
    import_reference(write(tmp_path / "run", state, prefix, args), tmp_path / "ours.ckpt", text, heads=HEADS)
    model = load_model(tmp_path / "ours.ckpt")
    assert model.step == 1234 and model.description.mel == MelSpec()
    assert model.network.reduction_factor == flags["r"]
    tokenizer, mel = model.description.tokenizer, torch.randn(6 * flags["r"], M)
    parts = mel.split([2 * flags["r"], 4 * flags["r"]])
    row = Row([tokenizer.encode("one TWO"), tokenizer.encode("Four")], list(parts), ["a"])
    batch = collate([row], flags["r"], marks=marks_of(tokenizer))
    expected = compute(state, **flags, ids=[BOS, 3, 4, 9, EOS], mel=mel, activations=activations)
    agrees(without_chance(tmp_path / "ours.ckpt"), batch, expected)


def test_without_flags_the_published_run_is_taken(tmp_path, llama):
    state = make_state(**FLAGS["layer, plain, learned"])
    _, sources = import_reference(write(tmp_path, state), tmp_path / "ours.ckpt", open_text(llama), heads=HEADS)
    found = {source.name: (source.value, source.taken_from) for source in sources}
    for part, value in (("activation", "relu"), ("prenet_activation", "relu"), ("postnet_activation", "tanh")):
        assert found[part] == (value, "the published run")
    assert found["latent_activation"][0] == "tanh"
    assert found["norm"] == ("layer", "the weights") and found["heads"] == (HEADS, "the command")
    mel = torch.randn(6, M)
    batch = collate([Row([[5]], [mel], ["a"])], 2, marks=open_text(llama).tokenizer.marks)
    expected = compute(
        state, **FLAGS["layer, plain, learned"], ids=[BOS, 3, EOS], mel=mel, activations=("relu", "relu", "tanh")
    )
    agrees(without_chance(tmp_path / "ours.ckpt"), batch, expected)


def test_qwens_shift_is_undone(tmp_path):
    """There its ids are moved up by one, and no mark stands around the text."""
    text = open_text(make_qwen(tmp_path / "tokenizer"))
    state = make_state(**FLAGS["rms, gated, rope"])
    rows = text.tokenizer.vocab_size - 2 + 1
    state["text_embedding.weight"] = torch.randn(rows, D)
    import_reference(write(tmp_path, state), tmp_path / "ours.ckpt", text, heads=HEADS, activation="silu")
    model = load_model(tmp_path / "ours.ckpt")
    ids = model.description.tokenizer.encode("caB")
    mel = torch.randn(5, M)
    batch = collate([Row([ids], [mel], ["a"])], 1, marks=marks_of(model.description.tokenizer))
    assert batch.text.shape == (1, 3)
    expected = compute(state, **FLAGS["rms, gated, rope"], ids=[3, 1, 2], mel=mel, activations=("silu", "relu", "tanh"))
    agrees(without_chance(tmp_path / "ours.ckpt"), batch, expected)


def test_the_command_says_what_it_took_and_the_model_speaks(tmp_path, llama, capsys):
    source = write(tmp_path / "run", make_state(**FLAGS["layer, plain, learned"]), args={"prenet_activation": "silu"})
    target = tmp_path / "new" / "ours.ckpt"
    arguments = ["import-reference", "--checkpoint", source, "-o", target, "--tokenizer", llama, "--heads", HEADS]
    assert main([*map(str, arguments)]) == 0
    out = capsys.readouterr().out
    assert "r = 2, learned positions" in out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "silu" in lines["prenet_activation"] and "args.json" in lines["prenet_activation"]
    assert "published run" in lines["activation"] and "10.8" in out
    tts = Synthesizer.from_checkpoint(target)
    assert tts.tokenizer.encode("two three") == tts.tokenizer.encode("TWO THREE") == [6, 7]
    asked = []
    prefill = tts.network.prefill
    tts.network.prefill = lambda caches, text, *rest: (asked.append(text.tolist()), prefill(caches, text, *rest))[1]
    speech = tts(["two three"], options=DecodingOptions(max_length=0.3))[0]
    assert torch.isfinite(speech.waveform).all() and len(speech.mel) > 0
    assert asked == [[[3, 6, 7, 1]]]  # <s> TWO THREE, and the end mark in the place of ours
    assert torch.equal(tts.network.text_embedding.weight[1], tts.network.text_embedding.weight[2 + EOS])


def test_a_prompts_text_and_the_next_are_read_as_one_text_with_a_space_between(tmp_path, llama):
    """Byte-level encodings have other ids for a word after a space; word and SentencePiece ones have not."""
    library = Tokenizer(models.BPE({token: n for n, token in enumerate(["A", "B", "Ġ", "ĠB"])}, [("Ġ", "B")]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    Qwen2TokenizerFast(tokenizer_object=library).save_pretrained(tmp_path / "qwen")
    text = open_text(str(tmp_path / "qwen"))
    ids = text.tokenizer.vocab_size - 2
    state = {**make_state(**FLAGS["rms, gated, rope"]), "text_embedding.weight": torch.randn(ids + 1, D)}
    import_reference(write(tmp_path / "b", state), tmp_path / "b.ckpt", text, heads=HEADS)
    import_reference(
        write(tmp_path / "l", make_state(**FLAGS["rms, gated, rope"])),
        tmp_path / "l.ckpt",
        open_text(llama),
        heads=HEADS,
    )
    one_text = library.encode("A B B").ids
    assert one_text == [0, 3, 3]
    for name, prompt, words, expected in (
        ("b.ckpt", "a", "b b", [2 + id for id in one_text]),
        ("l.ckpt", "one", "two three", [3, 5, 6, 7, 1]),
    ):
        tts = Synthesizer.from_checkpoint(tmp_path / name)
        asked = []

        def prefill(caches, text, *rest, asked=asked, real=tts.network.prefill):
            asked.append(text.tolist())
            return real(caches, text, *rest)

        tts.network.prefill = prefill
        voice = torch.randn(8000) * 0.1
        tts([words], prompt=voice, prompt_text=prompt, options=DecodingOptions(max_length=0.3))
        assert asked == [[expected]]
    dataset_like = tts.tokenizer.encode("two", follows=True), text.tokenizer.encode("b", follows=True)
    assert dataset_like == ([6], [5]) and text.tokenizer.encode("b") == [3]


def test_the_output_stands_beside_the_checkpoint_where_none_is_named(tmp_path, llama, capsys):
    source = write(tmp_path, make_state(**FLAGS["rms, gated, rope"]))
    arguments = ["import-reference", "--checkpoint", source, "--tokenizer", llama, "--heads", HEADS]
    assert main([*map(str, arguments)]) == 0
    assert load_model(tmp_path / "reference.ckpt").step == 1234
    assert str(tmp_path / "reference.ckpt") in capsys.readouterr().out


def test_the_pace_is_measured_on_a_manifest_or_does_not_bind(tmp_path, llama, tone_manifests, capsys):
    source = write(tmp_path, make_state(**FLAGS["rms, gated, rope"]))
    target = tmp_path / "ours.ckpt"
    arguments = ["import-reference", "--checkpoint", source, "-o", target, "--tokenizer", llama, "--heads", HEADS]
    assert main([*map(str, [*arguments, "--keep-case"])]) == 0
    free = load_model(target).description
    assert free.length_range[1] * free.frames_per_token > 4 * 19 and not free.tokenizer.upper
    utterances = read_manifest(tone_manifests / "val.jsonl")
    known = tmp_path / "known.jsonl"
    sizes = []
    with known.open("w") as file:
        for utterance, words in zip(utterances[:3], ("one", "two three", "four one two")):
            sizes.append((words.count(" ") + 1, utterance.audio_path))
            file.write(json.dumps({"transcription": words, "audio_path": str(utterance.audio_path.resolve())}) + "\n")
    assert main([*map(str, [*arguments, "--calibrate", known])]) == 0
    import soundfile

    frames = [soundfile.info(path).frames * 16000 / soundfile.info(path).samplerate / 256 for _, path in sizes]
    expected = sum(frames) / sum(tokens for tokens, _ in sizes)
    assert load_model(target).description.frames_per_token == pytest.approx(expected, rel=0.05)
    assert "3 utterances of" in capsys.readouterr().out


def test_what_does_not_fit_is_refused(tmp_path, llama):
    state = make_state(**FLAGS["rms, gated, rope"])
    target, text = tmp_path / "ours.ckpt", open_text(llama)

    def attempt(changed, args=None, folder="x", **options):
        source = write(tmp_path / folder, changed, args=args)
        return import_reference(source, target, text, **{"heads": HEADS, **options})

    with pytest.raises(UserError, match=r"no place for: speaker_embedding\.weight"):
        attempt({**state, "speaker_embedding.weight": torch.zeros(3, D)})
    with pytest.raises(UserError, match=r"it has no stop_projection\.weight"):
        attempt({name: value for name, value in state.items() if "stop" not in name})
    with pytest.raises(UserError, match=r"heads=5"):
        attempt(state, heads=5)
    with pytest.raises(UserError, match=r"activation='gelu'"):
        attempt(state, activation="gelu")
    with pytest.raises(UserError, match=r"activation='gelu'"):
        attempt(state, {"postnet_activation": "gelu"}, "gelu")
    for number, wrong in enumerate(
        ({"norm": "layer"}, {"using_rope": False}, {"using_postnet": False}, {"using_qwen2mlp": False})
    ):
        ((name, value),) = wrong.items()
        with pytest.raises(UserError, match=rf"args\.json says {name}={value}, the weights say {name}="):
            attempt(state, wrong, f"wrong-{number}")
    for size in (9, 200, 3000):  # a few rows more than ids are padding; more are another tokenizer's
        with pytest.raises(UserError, match=rf"tokenizer has 10 ids, the checkpoint's text embedding {size} rows"):
            attempt({**state, "text_embedding.weight": torch.zeros(size, D)})
    for name, value in (
        ("layer_norm.weight", torch.ones(D + 1)),
        ("text_embedding.weight", torch.ones(D)),
        ("encoder_layers.0.self_attn.q_proj.weight", torch.ones(D, D + 1)),
        ("mel_decoder.postnet.0.weight", torch.ones(3)),
    ):
        with pytest.raises(UserError, match=r"^[^\n]*(does not fit|no place for): [^\n]+$"):
            attempt({**state, name: value})
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="no checkpoint of the reference"):
        import_reference(tmp_path / "other.pt", target, text)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="not a checkpoint"):
        import_reference(tmp_path / "text.pt", target, text)
    with pytest.raises(UserError, match="no such file"):
        import_reference(tmp_path / "gone.pt", target, text)
    with pytest.raises(UserError, match="nowhere: no such file"):
        attempt(state, flags=tmp_path / "nowhere")
    (tmp_path / "args.json").write_text("{'norm': 3}")
    with pytest.raises(UserError, match=r"args\.json: not JSON"):
        attempt(state, flags=tmp_path / "args.json")
    (tmp_path / "args.json").write_text("[3]")
    with pytest.raises(UserError, match="holds no flags"):
        attempt(state, flags=tmp_path / "args.json")
    source = write(tmp_path / "own", state)
    before = source.read_bytes()
    with pytest.raises(UserError, match="checkpoint itself; give another file to write by -o"):
        import_reference(source, source, text, heads=HEADS)
    assert source.read_bytes() == before
    assert not target.exists() and not list(tmp_path.glob("*.partial"))


def test_a_tokenizer_without_marks_is_refused(tmp_path, capsys):
    for mark, what in (("bos_token", "begin"), ("eos_token", "end")):
        folder = make_llama(tmp_path / mark, **{mark: None})
        with pytest.raises(UserError, match=rf"names no {what} mark \({mark}\)[^\n]*--text qwen"):
            open_text(folder)
    with pytest.raises(UserError, match="--text bert: choose one of llama, qwen"):
        open_text(folder, "bert")
