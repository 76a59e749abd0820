"""The import of reference checkpoints, against the reference layout computed anew from its own state dict."""

import math

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from melle.audio import MelSpec
from melle.checkpoint import load_model
from melle.cli import main
from melle.data.batch import Row, collate
from melle.errors import UserError
from melle.reference import import_reference
from melle.synthesis.guards import DecodingOptions
from melle.synthesis.synthesizer import Synthesizer
from melle.text.symbols import SymbolTokenizer

D, H, FF, V, HEADS, LAYERS, HIDDEN, CHANNELS, M = 16, 4, 24, 12, 4, 2, 20, 6, 80
EOS = 2
TOKENIZER = SymbolTokenizer("characters", "abcdefghij")  # ten symbols and our two: ids 2 to 11, the reference's 0 to 9

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


def compute(state, norm, gated, rope, postnet, r, text, mel, activations=("silu", "relu", "tanh")):
    """One utterance through the reference's layout, without chance: μ, log σ², y', y'', stop."""
    act, prenet_act, postnet_act = ({"silu": F.silu, "relu": F.relu, "tanh": torch.tanh}[name] for name in activations)

    def matrix(name, x):
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def normal(name, x):
        weight = state[f"{name}.weight"]
        if norm == "layer":
            return F.layer_norm(x, weight.shape, weight, state[f"{name}.bias"])
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    words = state["text_embedding.weight"][[*text, EOS]]
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
        residual = F.relu(residual) if n < 6 else residual
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


def write(path, state, prefix=""):
    torch.save({"step": 1234, "model": {prefix + name: value for name, value in state.items()}}, path)
    return path


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS.keys())
@pytest.mark.parametrize(
    ("prefix", "activations"), [("", ("silu", "relu", "tanh")), ("module.", ("relu", "tanh", "silu"))]
)
def test_an_imported_model_computes_what_the_reference_does(tmp_path, flags, prefix, activations):
    state = make_state(**flags)
    source = write(tmp_path / "reference.pt", state, prefix)
    import_reference(source, tmp_path / "ours.ckpt", TOKENIZER, EOS, HEADS, *activations)
    model = load_model(tmp_path / "ours.ckpt")
    assert model.step == 1234 and model.description.mel == MelSpec()
    assert model.network.reduction_factor == flags["r"]
    network = model.network
    network.prenet.dropout, network.latent.sampling = 0.0, False
    text, mel = [1, 7, 3, 3], torch.randn(6 * flags["r"], M)
    batch = collate([Row([[token + 2 for token in text]], [mel], ["a"])], flags["r"])
    batch.text[0, -1] = 1
    with torch.no_grad():
        output = network(**batch.inputs())
    expected = compute(state, **flags, text=text, mel=mel, activations=activations)
    for name, value in zip(("mean", "log_variance", "frames", "refined", "stop"), expected):
        assert torch.allclose(getattr(output, name)[0], value, atol=1e-4), name


def test_the_command_imports_with_a_hugging_face_tokenizer(tmp_path, capsys):
    words = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", "one", "two", "three"])}
    library = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=library, unk_token="<unk>").save_pretrained(tmp_path / "tokenizer")
    source = write(tmp_path / "reference.pt", make_state(**FLAGS["layer, plain, learned"]))
    target = tmp_path / "new" / "ours.ckpt"
    arguments = ["import-reference", "--checkpoint", source, "-o", target, "--tokenizer", tmp_path / "tokenizer"]
    assert main([*map(str, arguments), "--eos", "2", "--heads", str(HEADS)]) == 0
    assert "r = 2, learned positions" in capsys.readouterr().out
    tts = Synthesizer.from_checkpoint(target)
    assert tts.tokenizer.encode("two three") == [6, 7]
    assert torch.equal(tts.network.text_embedding.weight[1], tts.network.text_embedding.weight[2 + 2])
    speech = tts(["two three"], options=DecodingOptions(max_length=0.3))[0]
    assert torch.isfinite(speech.waveform).all() and len(speech.mel) > 0
    assert main([*map(str, arguments), "--eos", "99"]) == 2
    assert capsys.readouterr().err.startswith("error: --eos 99")


def test_what_does_not_fit_is_refused(tmp_path):
    state = make_state(**FLAGS["rms, gated, rope"])
    target = tmp_path / "ours.ckpt"

    def attempt(changed, **options):
        options = {"eos": EOS, "heads": HEADS, **options}
        return import_reference(write(tmp_path / "x.pt", changed), target, TOKENIZER, **options)

    with pytest.raises(UserError, match=r"no place for: speaker_embedding\.weight"):
        attempt({**state, "speaker_embedding.weight": torch.zeros(3, D)})
    with pytest.raises(UserError, match=r"it has no stop_projection\.weight"):
        attempt({name: value for name, value in state.items() if "stop" not in name})
    with pytest.raises(UserError, match=r"heads=5"):
        attempt(state, heads=5)
    with pytest.raises(UserError, match=r"--eos 99"):
        attempt(state, eos=99)
    with pytest.raises(UserError, match=r"activation='gelu'"):
        attempt(state, activation="gelu")
    with pytest.raises(UserError, match=r"tokenizer has 26 ids, the checkpoint 12"):
        import_reference(
            tmp_path / "x.pt", target, SymbolTokenizer("characters", "abcdefghijklmnopqrstuvwxyz"), EOS, HEADS
        )
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
        import_reference(tmp_path / "other.pt", target, TOKENIZER, EOS)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="not a checkpoint"):
        import_reference(tmp_path / "text.pt", target, TOKENIZER, EOS)
    with pytest.raises(UserError, match="no such file"):
        import_reference(tmp_path / "gone.pt", target, TOKENIZER, EOS)
    assert not target.exists() and not list(tmp_path.glob("*.partial"))
