"""Sweeps: every job has a run of its own, one table says what came of each, and a failed job ends nothing."""

import csv
import math
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from melle.checkpoint import load_model
from melle.configs.sweeps import fixed_keys, format_rows, job_arguments, sweep_rows
from melle.evaluation import metrics as of_evaluation
from melle.training.record import monitor_and_mode, read_metrics, write_metrics
from tests.training.test_train import ROOT, SMALL

# A sweep as train.py makes it, whose training is one formula.
APP = """
import sys, hydra
from melle.configs.build import build
from melle.errors import UserError
from melle.training.record import monitor_and_mode, read_metrics, write_metrics

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    if cfg.x == 3:
        raise UserError("x=3 | is too much")
    result = float("nan") if cfg.x == 4 else float(cfg.x - 1.5) ** 2
    write_metrics(cfg.run_dir, {"step": 2.0, "validation/total": 7.0, "validation/regression": result, "train/kl": 1.0})
    with open("commands.txt", "a") as file:
        print(*sys.argv[1:], file=file)
    return result

main()
"""


@pytest.fixture
def sweep(tmp_path: Path):
    """Runs APP with these arguments; returns the finished process and the rows of the table."""
    train = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/train.yaml"))
    config = {"name": "app", "x": 0, "y": 0, "run_dir": train["run_dir"], "hydra": train["hydra"]}
    overrides = ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]
    (tmp_path / "conf/hydra/sweeper").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create({"defaults": overrides, **config}), tmp_path / "conf/config.yaml")
    (tmp_path / "conf/hydra/sweeper/optuna.yaml").write_text((ROOT / "conf/hydra/sweeper/optuna.yaml").read_text())
    (tmp_path / "app.py").write_text(APP)

    def run(*arguments: str):
        command = [sys.executable, "app.py", "-m", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        (table,) = (tmp_path / "runs/sweeps").glob("*/table.csv")
        with table.open() as file:
            return done, list(csv.DictReader(file))

    return run


def test_a_failed_job_is_a_row_and_the_others_run(sweep, tmp_path):
    done, rows = sweep("x=4,3,2,0", "y=1")
    assert [row["x"] for row in rows] == ["2", "0", "4", "3"]  # best first, then what has no result
    assert [row["validation/regression"] for row in rows] == ["0.25", "2.25", "nan", ""]
    assert [row["outcome"] for row in rows] == [*["done"] * 3, "failed: UserError: x=3 | is too much"]
    assert set(rows[0]) == {"x", "step", "validation/regression", "validation/total", "outcome", "run"}
    assert done.returncode == 1 and "1 of 4 jobs failed" in done.stderr
    assert "| 2 | 2    | 0.25       | 7     | done" in done.stdout
    # Folders are named by what varies; a number stands for the rest.
    runs = [tmp_path / row["run"] for row in rows]
    assert all(run.name.startswith(f"app-x-{row['x']}-") and (run / "hydra").is_dir() for run, row in zip(runs, rows))
    commands = (tmp_path / "commands.txt").read_text().splitlines()
    assert commands == [f'x={row["x"]} y=1 run_dir="{row["run"]}"' for row in (rows[2], rows[0], rows[1])]


def test_optuna_searches_and_passes_over_what_fails(sweep, tmp_path):
    pytest.importorskip("optuna")
    done, rows = sweep("hydra/sweeper=optuna", "hydra.sweeper.n_trials=12", "hydra.sweeper.sampler.seed=1", "x=0,2,3,4")
    assert len(rows) == 12 and {row["x"] for row in rows} == {"0", "2", "3", "4"}, done.stderr
    (best,) = (tmp_path / "runs/sweeps").glob("*/best.yaml")
    assert OmegaConf.load(best) == {"value": 0.25, "overrides": {"x": "2"}}


def test_a_sweep_against_the_mode_of_the_best_is_refused_at_once(tmp_path):
    """By train.py itself: nothing is trained, and one sentence says what to add."""
    pytest.importorskip("optuna")
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-m",
        "hydra/sweeper=optuna",
        "seed=1,2",
        "experiment=quickstart",
    ]
    command += ["callbacks.best.monitor=samples/eos_rate", "callbacks.best.mode=max"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "callbacks.best.mode=max of samples/eos_rate, where the sweep would minimize it" in done.stderr
    assert "add hydra.sweeper.direction=maximize" in done.stderr and not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("mode", "direction", "fits"),
    [("min", "minimize", True), ("max", "maximize", True), ("max", "minimize", False), ("min", "maximize", False)],
)
def test_the_direction_of_a_search_is_that_of_the_best_checkpoint(mode, direction, fits):
    optuna = pytest.importorskip("optuna")
    from hydra_plugins.melle_optuna import OptunaStudy

    study = OptunaStudy(0, 1, direction, optuna.samplers.RandomSampler())
    study.config = OmegaConf.create({"callbacks": {"best": {"mode": mode, "monitor": "m"}}})
    if fits:
        study.sweep([])
    else:
        with pytest.raises(CompactHydraException, match=f"mode={mode} of m"):
            study.sweep([])
    study.config = OmegaConf.create({"objective": "sim"})  # evaluate.py has no best checkpoint
    study.sweep([])


@pytest.mark.parametrize(
    ("objective", "direction", "fits"),
    [
        ("sim_o/resemblyzer", "minimize", False),
        ("sim_o/resemblyzer", "maximize", True),
        ("wer/whisper", "minimize", True),
        (None, "maximize", False),
        ("duration_ratio", "maximize", True),
    ],
)
def test_the_direction_of_a_search_is_that_of_the_objective(objective, direction, fits):
    optuna = pytest.importorskip("optuna")
    from hydra_plugins.melle_optuna import OptunaStudy

    study = OptunaStudy(0, 1, direction, optuna.samplers.RandomSampler())
    study.config = OmegaConf.create({"objective": objective})
    if fits:
        study.sweep([])
    else:
        with pytest.raises(CompactHydraException, match=r"objective=.* is better the .* it is.*direction="):
            study.sweep([])


def test_rows_go_by_what_the_sweep_goes_by():
    jobs = [{"run": name, "overrides": [f"x={name}"], "outcome": "done"} for name in "abc"]
    metrics = [{"validation/regression": 1.0, "own": 2.0}, {"validation/regression": 2.0, "own": 3.0}, {}]
    best = OmegaConf.create({"callbacks": {"best": {"monitor": "own", "mode": "max"}}})
    for config, order in (({}, "abc"), ({"callbacks": {"best": None}}, "abc"), (best, "bac")):
        metric, mode = monitor_and_mode(OmegaConf.create(config))
        _, rows = sweep_rows(jobs, metrics, metric, ("validation/",), mode)
        assert "".join(row[-1] for row in rows) == order
    assert monitor_and_mode(OmegaConf.create({"task": "vocoder", "callbacks": {"best": None}})) == (
        "validation/mel_distance",
        "min",
    )
    assert of_evaluation.monitor_and_mode(OmegaConf.create({"objective": "utmos/x"})) == ("utmos/x", "max")


def test_what_optuna_draws_from():
    optuna = pytest.importorskip("optuna")
    from hydra_plugins.melle_optuna import distribution

    texts = ["a=1,x", "a=int(interval(2,5))", "a=interval(2,5)", "a=tag(log,interval(1e-4,1))", "a=range(1,6,2)"]
    d = optuna.distributions
    assert [distribution(override) for override in OverridesParser.create().parse_overrides(texts)] == [
        d.CategoricalDistribution(["1", "x"]),
        d.IntDistribution(2, 5),
        d.FloatDistribution(2, 5),
        d.FloatDistribution(1e-4, 1, log=True),
        d.CategoricalDistribution(["1", "3", "5"]),
    ]


def test_rows_hold_only_what_varies(tmp_path):
    write_metrics(tmp_path / "b", {"step": 5.0, "samples/wer": 0.5, "validation/regression": 1.0})
    jobs = [
        {"run": "a", "overrides": ["lr=1e-3", "model/norm=rms"], "outcome": "not ended"},
        {"run": str(tmp_path / "b"), "overrides": ["lr=1e-3", "model/norm=layer", "+new=k=v"], "outcome": "done"},
    ]
    metrics = [{}, read_metrics(tmp_path / "b")]
    columns, rows = sweep_rows(jobs, metrics, "validation/regression", ("validation/", "samples/"))
    assert columns == ["model/norm", "+new", "step", "validation/regression", "samples/wer", "outcome", "run"]
    assert rows == [
        ["layer", "k=v", 5.0, 1.0, 0.5, "done", str(tmp_path / "b")],
        ["rms", "", "", "", "", "not ended", "a"],
    ]


def test_readable_table():
    rows = [["rms", 0.123456, "done"], ["a|b", math.nan, "failed: E: " + "long " * 40]]
    lines = format_rows(["model/norm", "validation/regression", "outcome"], rows, "validation/").splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].startswith("| model/norm | regression | outcome ")
    assert lines[2].startswith("| rms        | 0.1235     | done ")
    assert lines[3].startswith("| a\\|b       | nan        | failed: E: long ") and lines[3].endswith("… |")


def test_the_command_of_one_job():
    overrides = ["a=1", "~b", "run_dir=x"]
    config = OmegaConf.create({"run_dir": "runs/x-a=1,c=2", "hydra": {"overrides": {"task": overrides}}})
    arguments = ["-cd", "my conf", "--multirun", "a=1,2", "~b", "--config-name=other", "hydra.sweep.dir=x"]
    expected = ["-cd", "my conf", "--config-name=other", "a=1", "~b", 'run_dir="runs/x-a=1,c=2"']
    assert job_arguments(arguments, config) == expected
    assert fixed_keys(["a=1", "b=1,2", "model/norm=rms", "a=3,4", "+c=5"]) == ["model/norm", "c"]


@pytest.mark.parametrize("place", ["it's my $HOME", 'a "b" c', "back\\slash", "a,b=c", "é (1)", "#~"])
def test_a_jobs_folder_is_read_as_it_is_named(place):
    config = OmegaConf.create({"run_dir": place, "hydra": {"overrides": {"task": []}}})
    (argument,) = job_arguments([], config)
    assert OverridesParser.create().parse_override(argument).value() == place
    assert shlex.split(shlex.join([argument])) == [argument]  # as the record of a run has it


def test_jobs_of_a_sweep_have_runs_of_their_own(tmp_path, tone_manifests):
    splits = [f"data.{split}={tone_manifests / f'{split}.jsonl'}" for split in ("train", "val", "test")]
    small = [*SMALL, *splits, "trainer.max_steps=2", "optim.schedule.warmup_steps=1", "trainer.val_check_interval=1"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", "model/norm=layer,rms", "report.utterances=0", *small]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    runs = sorted(path for path in (tmp_path / "runs").iterdir() if path.name != "sweeps")
    assert len(runs) == 2 and all((run / "hydra").is_dir() for run in runs)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    norms = {load_model(run / "checkpoints/last.ckpt").description.network["norm"] for run in runs}
    assert norms == {"layer", "rms"}
    (table,) = (tmp_path / "runs/sweeps").glob("*/table.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model/norm"]: row["outcome"] for row in rows} == {"layer": "done", "rms": "done"}
    assert sorted(tmp_path / row["run"] for row in rows) == runs
