"""Command lines as people type them, and what Hydra makes of them."""

import string
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st

from melle.configs.build import errors_of_values
from melle.configs.explain import explain, explained
from melle.configs.overrides import readable_arguments
from melle.errors import UserError

ROOT = Path(__file__).parents[2]
LISTS = ("callbacks", "logger", "augment")


def composed(*arguments: str, default: str | None = None):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", readable_arguments(list(arguments), LISTS, default))


PATHS = ["/data/ünï/x.jsonl", "a#b", "~/x", "a(1)/b)", "it's/x", "lr=1,x=2/last.ckpt", "a b", "=", "日本/語", "a\\b"]
TEXT = st.text(string.printable.strip() + "éß中 ", min_size=1)


@pytest.mark.parametrize("path", PATHS)
def test_a_plain_path_is_what_was_typed(path):
    assert composed(f"data.train={path}", "name=x").data.train == path


@given(TEXT)
def test_a_text_without_structure_stays_what_was_typed(text):
    assume(text == text.strip() and "${" not in text and "\\" not in text)
    (argument,) = readable_arguments([f"data.val=/{text}"], LISTS)
    assert OverridesParser.create().parse_override(argument).value() == f"/{text}"


@pytest.mark.parametrize("name", ["1e5", "null", "true", "7", "Été", "plain"])
def test_a_name_stays_what_was_typed(name):
    assert composed(f"name={name}").name == name


def test_names_and_paths_of_digits_stay_texts():
    assert composed("run_dir=2024", "name=x", "seed=2024").run_dir == "2024"
    for typed, read in (
        ("+name=1e5", "+name='1e5'"),
        ("output=1_0", "output='1_0'"),
        ("data.train=7", "data.train='7'"),
        ("data.test=null", "data.test=null"),
        ("resume=false", "resume=false"),
        ("seed=7", "seed=7"),
    ):
        assert readable_arguments([typed], LISTS) == [read]


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("data.train=/a=b/c,/d(e)/f", ["/a=b/c", "/d(e)/f"]),
        ("data.train=/a=b/c", ["/a=b/c"]),
        ("data.train=/plain,/ünï", ["/plain", "/ünï"]),
        ("name=1e5,null,x", ["1e5", "null", "x"]),
        ("seed=1,2", [1, 2]),
        ("asr=null,whisper", ["none", "whisper"]),
        ("optim.optimizer.lr=choice(1e-3,2e-3)", [1e-3, 2e-3]),
        ("data.test_seconds=[1,2],[3,4]", [[1, 2], [3, 4]]),
    ],
)
def test_each_value_of_a_sweep_is_what_was_typed(argument, values):
    _, readable = readable_arguments(["-m", argument], LISTS)
    override = OverridesParser.create().parse_override(readable)
    jobs = override.sweep_string_iterator() if override.is_sweep_override() else [readable.partition("=")[2]]
    key = argument.partition("=")[0]
    assert [OverridesParser.create().parse_override(f"{key}={text}").value() for text in jobs] == values


@pytest.mark.parametrize("config", ["train", "evaluate"])
@pytest.mark.parametrize("form", ["{}=null", "~{}", "{}=none"])
def test_judges_can_be_left_out(config, form):
    groups = ("asr", "speaker", "quality") if config == "evaluate" else ("asr", "speaker")
    arguments = readable_arguments([form.format(group) for group in groups], (*LISTS, *groups))
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(config, arguments)
    assert not any(cfg.get(group) for group in groups)


def test_structure_and_sweeps_are_left_alone():
    given = ["data.test_seconds=[1,2]", "seed=3", "a='b c'", "~data.mel", "x=${y}", "resume=false", "--cfg", "job"]
    assert readable_arguments(given, LISTS) == given
    assert readable_arguments(["-m", "seed=1,2", "data.train=a/b,c/d"], LISTS) == [
        "-m",
        "seed=1,2",
        "data.train=a/b,c/d",
    ]
    assert readable_arguments(["data.train=a/b,c/d"], LISTS) == ["data.train='a/b,c/d'"]


@pytest.mark.parametrize(
    ("argument", "chosen"),
    [
        ("logger=null", None),
        ("~logger", None),
        ("logger=csv", ["csv"]),
        ("logger=tensorboard,csv", ["tensorboard", "csv"]),
        ("logger=[csv,wandb]", ["csv", "wandb"]),
        ("seed=1", ["tensorboard"]),
    ],
)
def test_loggers_can_be_several_one_or_none(argument, chosen):
    logger = composed(argument, "name=x").get("logger")
    assert logger is None if chosen is None else list(logger) == chosen


def test_callbacks_can_be_chosen():
    assert list(composed("callbacks=ema,checkpoint", "name=x").callbacks) == ["ema", "checkpoint", "best"]
    assert composed("callbacks=null", "name=x").get("callbacks") is None


def test_the_quickstart_is_what_runs_when_nothing_is_chosen():
    default = "experiment=quickstart"
    assert composed(default=default).name == "quickstart"
    assert composed("seed=3", default=default).optim.optimizer.muon_lr > 0
    paper = composed("model=melle_rope", "trainer.devices=4", "name=x", default=default)
    assert (paper.trainer.max_steps, paper.loss.kl_warmup_steps, paper.optim.schedule.warmup_steps) == (
        400000,
        10000,
        32000,
    )
    assert composed("experiment=vocoder_quickstart", default=default).task == "vocoder"


def test_the_command_reads_its_arguments_so():
    typed = ["train.py", "name=Été", "logger=null", "data.train=/ünï/a=b.jsonl", "--cfg", "job"]
    done = subprocess.run([sys.executable, *typed], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "name: Été" in done.stdout and "train: /ünï/a=b.jsonl" in done.stdout and "TensorBoard" not in done.stdout
    assert "muon_lr" in done.stdout


def test_the_default_stands_among_the_overrides():
    for typed in (["~model.width", "--cfg", "job"], ["seed", "--cfg", "job"]):
        assert readable_arguments(typed, LISTS, "experiment=quickstart")[1] == "experiment=quickstart"
    typed = ["--config-dir", "elsewhere"]
    assert readable_arguments(typed, LISTS, "experiment=quickstart") == [*typed, "experiment=quickstart"]


def test_an_experiment_can_be_left_out():
    assert composed("experiment=null", default="experiment=quickstart").trainer.max_steps == 400000


@pytest.fixture(scope="module")
def conf(tmp_path_factory) -> Path:
    """A small folder of configurations."""
    files = {
        "train": "defaults: [model: small, callbacks: [speech], experiment: null, _self_]\nseed: 0\nsteps: 3\n",
        "model/small": "defaults: [norm: rms]\nwidth: 8\nheads: 2\n",
        "model/large": "width: 80\n",
        "model/norm/rms": "epsilon: 1e-6\n",
        "callbacks/speech": "speech: {_target_: fractions.Fraction, numerator: 3}\n",
        "callbacks/speed": "speed: 1\n",
        "experiment/quickstart": "# @package _global_\nsteps: 4\n",
    }
    folder = tmp_path_factory.mktemp("conf")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(content)
    return folder


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("model.widht=8", "no such key; did you mean model.width?"),
        ("width=8", "no such key; did you mean model.width?"),
        ("modle=small", "no such key; did you mean model?"),
        ("model/nrom=rms", "no such key; did you mean model/norm?"),
        ("~model.widht", "no such key; did you mean model.width?"),
        ("xyzzy=1", "no such key; `python train.py --cfg job` prints those that there are"),
        ("model=smal", "no such option; did you mean small? There are large, small"),
        ("callbacks=[speeed]", "no such option; did you mean speed? There are speech, speed"),
        ("experiment=xyzzy", "no such option; there are quickstart"),
        ("model=null", "this group cannot be left out; choose one of its options"),
        ("model=[a", "cannot be read as KEY=VALUE; put a value with special characters into quotes"),
        ("model", "cannot be read as KEY=VALUE; put a value with special characters into quotes"),
        ("+seed=1", "this key is there already; leave out the +"),
        (
            "speech.denominator=4",
            "not listed in conf/, though there is such a setting; write +speech.denominator=4",
        ),
        ("speech.denominatr=4", "no such key; did you mean +speech.denominator?"),
        ("max_skipped=3", "this key is called max_nonfinite_steps now"),
    ],
)
def test_a_mistyped_override_is_a_sentence_with_the_nearest(conf, typed, says):
    typed = typed.replace("speech.", "callbacks.speech.")
    with initialize_config_dir(str(conf), version_base="1.3"), pytest.raises(Exception) as raised:
        compose("train", [typed, "model.heads=3"])
    said = explain(raised.value, [typed, "model.heads=3"], conf, "train")
    start = typed.replace("[speeed]", "speeed").replace("+seed=1", "+seed")
    assert said == f"{start}: {says.replace(' +speech.', ' +callbacks.speech.')}"


def test_a_mistake_ends_a_script_with_status_2_and_others_are_raised(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "trainer.max_stesp=1"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit, match="2"), explained(ROOT / "conf", "train"):
        composed("trainer.max_stesp=1", "name=x")
    said = capsys.readouterr().err
    assert said == "error: trainer.max_stesp=1: no such key; did you mean trainer.max_steps?\n"
    with pytest.raises(ValueError, match="other"), explained(ROOT / "conf", "train"):
        raise ValueError("other")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("data.corpus.hours=x", "data.corpus.hours=x: give a number"),
        ("data.corpus.train_voices=1.5", "data.corpus.train_voices=1.5: give a whole number"),
        ("data.corpus.folder=3", "data.corpus.folder=3: give text or a path"),
        ("data.corpus=x", "data.corpus=x: give settings of the corpus, "),
        ("data.corpus.hours=-1", "hours=-1 of the corpus of digits must be above 0"),
    ],
)
def test_a_value_of_a_wrong_type_is_a_sentence_that_names_its_key(typed, says):
    cfg = composed(typed, "name=x", default="experiment=quickstart")
    with pytest.raises(UserError) as caught, errors_of_values():
        print(cfg.data.test)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)
