"""Every command that the README shows parses, and names only what exists."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from evaluate import LISTS
from melle.cli import _parser
from melle.config import readable_arguments

ROOT = Path(__file__).parents[1]


def commands() -> list[list[str]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:  # parts joined by &&
                end = words.index("&&") if "&&" in words else len(words)
                found.append(words[:end])
                words = words[end + 1 :]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_command_parses(command):
    if command[:3] == ["python", "-m", "melle"]:
        _parser().parse_args(command[3:])
    elif script := next((word for word in command if word in ("train.py", "evaluate.py")), None):
        arguments = command[command.index(script) + 1 :]
        if script == "evaluate.py":
            arguments = readable_arguments(arguments, LISTS)
        # Of a sweep's choices the first.
        overrides = [re.sub(r"(=[\w.]+)(,[\w.]+)+$", r"\1", word) for word in arguments if not word.startswith("-")]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            compose(script.removesuffix(".py"), overrides, return_hydra_config=True)
    elif "install" in command:
        section = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]\n")[1].split("\n[")[0]
        known = re.findall(r"(?m)^(\w+) = \[", section)
        for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(command)):
            assert set(extras.split(",")) <= set(known)
    else:
        assert command[0] in ("git", "cd", "tensorboard", "uv", "python", "ruff", "torchrun", "srun")


def test_the_readme_shows_the_commands_that_matter():
    shown = {" ".join(command) for command in commands()}
    assert "python -m pip install -e .[demo]" in shown
    assert "python train.py" in shown
    assert any(line.startswith("python evaluate.py") for line in shown)
    assert "python -m pytest -n 2" in shown
