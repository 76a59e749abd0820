"""Every command that the README and the pages of docs/ show parses or composes, and their links lead somewhere."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from evaluate import LISTS
from melle.cli import make_parser
from melle.config import readable_arguments

ROOT = Path(__file__).parents[1]
FILES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md", "data/pretrained/README.md")]
PAGES = [*FILES, *sorted(ROOT.glob("docs/**/*.md"))]
OURS = re.compile(r"(python -m melle |python -m benchmarks\.|python (train|evaluate)\.py )")
OTHERS = (
    "cd",
    "docker",
    "git",
    "mkdocs",
    "ruff",
    "source",
    "tensorboard",
    "uv",
)  # not ours to check


def commands_of(page: Path) -> list[list[str]]:
    """Of its blocks of shell, and those in running text that begin as ours do and are not abridged."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, flags=re.DOTALL)
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(span.split()) for span in spans if OURS.match(span) and "…" not in span]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while words:  # parts joined by &&
            end = words.index("&&") if "&&" in words else len(words)
            found.append(words[:end])
            words = words[end + 1 :]
    return found


SHOWN = {" ".join(command): command for page in PAGES for command in commands_of(page)}


@pytest.fixture(scope="module", autouse=True)
def configuration():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


class Parsed(Exception):
    """Raised in the place of running a command."""


def only_parse(parser, arguments, parse=argparse.ArgumentParser.parse_args):
    parse(parser, arguments)
    raise Parsed


@pytest.mark.parametrize("command", SHOWN.values(), ids=SHOWN)
def test_command_parses(command, monkeypatch):
    if command[0] == "melle":
        command = ["python", "-m", *command]
    if command[0] in ("melle-train", "melle-evaluate"):
        command = ["python", f"{command[0].removeprefix('melle-')}.py", *command[1:]]
    if command[:3] == ["python", "-m", "melle"]:
        if len(command) <= 5 and not any(word.startswith("-") for word in command[3:]):  # the name alone
            with pytest.raises(SystemExit, match="0"):
                make_parser().parse_args([*command[3:], "--help"])
        else:
            make_parser().parse_args(command[3:])
    elif script := next((word for word in command if word in ("train.py", "evaluate.py")), None):
        arguments = command[command.index(script) + 1 :]
        if script == "evaluate.py":
            arguments = readable_arguments(arguments, LISTS)
        # Of a sweep's choices the first, and one number of an interval.
        overrides = [re.sub(r"(=[\w.]+)(,[\w.]+)+$", r"\1", word) for word in arguments if not word.startswith("-")]
        overrides = [re.sub(r"=(tag|interval)\(.*[(,]([\d.e-]+),.*$", r"=\2", word) for word in overrides]
        compose(script.removesuffix(".py"), overrides, return_hydra_config=True)
    elif "install" in command:
        section = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]\n")[1].split("\n[")[0]
        known = re.findall(r"(?m)^(\w+) = \[", section)
        for extras in re.findall(r"\[([\w,]+)\]", " ".join(command)):
            assert set(extras.split(",")) <= set(known)
    elif command[:2] == ["python", "-m"] and command[2].startswith("benchmarks."):
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
        with pytest.raises(Parsed):
            importlib.import_module(command[2]).main(command[3:])
    else:
        known = command[0] in OTHERS or command[1:3] in (["-m", "pytest"], ["-m", "venv"], ["-m", "pip"])
        assert known or (ROOT / command[1]).is_file()


def test_the_readme_shows_the_commands_that_matter():
    shown = {" ".join(command) for command in commands_of(ROOT / "README.md")}
    assert "python -m pip install -e .[phonemes]" in shown
    assert "python -m pip install -e .[demo]" in shown
    assert "python train.py" in shown
    assert any(line.startswith("python evaluate.py") for line in shown)
    assert "python -m pytest -n 2" in shown


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    "page", FILES, ids=lambda page: str(page.relative_to(ROOT))
)  # those of docs/ are mkdocs's to check
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", link):
            assert (page.parent / link.partition("#")[0]).exists(), link
