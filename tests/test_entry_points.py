"""What a wheel has in the place of a clone: the scripts with their configurations, and commands that name no clone."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from melle import entry_points
from melle.errors import DataError, UserError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder as an environment has it after a wheel was installed."""
    folder = tmp_path_factory.mktemp("site-packages")
    for package in ("melle", "hydra_plugins"):
        shutil.copytree(ROOT / "src" / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["copy_scripts"](folder / "melle")
    return folder


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        ("train", ["data.train=é.jsonl", "name=mine", "--cfg", "job"], ["train: é.jsonl", "name: mine", "muon_lr"]),
        ("evaluate", ["quality=pitch", "--cfg", "job"], ["test_seconds", "melle.evaluation.judges.pitch.Pitch"]),
    ],
)
def test_scripts_of_a_wheel_compose_its_own_configuration(wheel, tmp_path, command, arguments, says):
    code = f"import melle.entry_points as i; assert i.SCRIPTS.is_dir(); i.{command}()"
    environment = {**os.environ, "PYTHONPATH": str(wheel), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert all(part in run.stdout for part in says)
    assert not any(tmp_path.iterdir())


def test_commands_name_no_clone_where_there_is_none(monkeypatch, tmp_path):
    typed = 'run `python train.py name=a`: python -m pip install -e ".[eval,nemo]"; or python evaluate.py'
    error, faulty = UserError(typed), DataError("kind", typed)
    assert str(error) == str(faulty) == entry_points.as_installed(typed) == typed
    monkeypatch.setattr(entry_points, "SCRIPTS", tmp_path)
    instead = 'run `melle-train name=a`: python -m pip install "melle-lightning[eval,nemo]"; or melle-evaluate'
    assert str(error) == str(faulty) == entry_points.as_installed(typed) == instead


def test_a_wheel_holds_every_file_that_is_no_module():
    section = (ROOT / "pyproject.toml").read_text().split("[tool.setuptools.package-data]\n")[1].split("\n[")[0]
    held = set()
    for package, patterns in re.findall(r'(?m)^"?([\w.]+)"? = \[(.+?)\]', section):
        folder = ROOT / "src" / package.replace(".", "/")
        held |= {path for pattern in re.findall(r'"(.+?)"', patterns) for path in folder.glob(pattern)}
    files = {path for path in (ROOT / "src" / "melle").rglob("*") if path.suffix not in ("", ".py", ".pyc")}
    assert files == held and len(files) > 5
