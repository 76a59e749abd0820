"""Every command that the README and the pages of docs/ show parses or composes, and their links lead somewhere."""

import argparse
import ast
import importlib
import inspect
import json
import re
import shlex
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

import train
from evaluate import LISTS
from melle.cli import make_parser
from melle.configs.build import build
from melle.configs.overrides import readable_arguments

ROOT = Path(__file__).parents[1]
FILES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md", "data/pretrained/README.md")]
PAGES = [*FILES, *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"(?ms)^ *```(\w*)\n(.*?)^ *```$")
OURS = re.compile(r"(python -m \w|python \w+(/\w+)*\.py |melle(-train|-evaluate)? \w|uv |docker |mkdocs )")
OTHERS = (
    "apt-get",
    "bash",
    "cd",
    "cp",
    "docker",
    "git",
    "mkdocs",
    "rm",
    "ruff",
    "source",
    "tensorboard",
    "uv",
)  # not ours to check


def commands_of(page: Path) -> list[list[str]]:
    """Of its blocks of shell, and those in running text that begin as ours do and are not abridged."""
    text = page.read_text(encoding="utf-8")
    blocks = [block for language, block in FENCE.findall(text) if language == "bash"]
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    blocks += [" ".join(span.split()) for span in spans if OURS.match(span) and "…" not in span]
    return split_commands(blocks)


def commands_of_container(dockerfile: Path) -> list[list[str]]:
    """What it runs, what it starts, and the commands in its comments."""
    text = dockerfile.read_text(encoding="utf-8")
    blocks = re.findall(r"(?m)^RUN (.+)$", text) + re.findall(r"(?m)^#.*?(docker .+)$", text)
    found = split_commands([*blocks, shlex.join(json.loads(text.split("\nCMD ")[1]))])
    inside = [line[line.index("melle") + 1 :] for line in found if line[:2] == ["docker", "run"]]
    return found + [line for line in inside if line]


def commands_of_workflow(workflow: Path) -> list[list[str]]:
    """What its steps run."""
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return split_commands(
        [step["run"].replace("> /dev/null", "") for job in jobs for step in job["steps"] if "run" in step]
    )


def split_commands(blocks: list[str]) -> list[list[str]]:
    """The words of each command; parts joined by && are commands of their own."""
    found = []
    for line in (line for block in blocks for line in block.replace("\\\n", " ").splitlines()):
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            found.append(words[:end])
            words = words[end + 1 :]
    return found


SOURCES = [line for page in PAGES for line in commands_of(page)]
SOURCES += commands_of_container(ROOT / "Dockerfile") + commands_of_workflow(ROOT / ".github/workflows/ci.yml")
SHOWN = {" ".join(command): command for command in SOURCES}


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
        lists, default = (LISTS, None) if script == "evaluate.py" else (train.LISTS, "experiment=quickstart")
        arguments = readable_arguments(arguments, lists, default)
        # Of a sweep's choices the first, and one number of an interval.
        overrides = [
            re.sub(r"(=[\w.]+)(,[\w.]+)+$", r"\1", word) for word in arguments if "=" in word and word[0] != "-"
        ]
        overrides = [re.sub(r"=(tag|interval)\(.*[(,]([\d.e-]+),.*$", r"=\2", word) for word in overrides]
        cfg = compose(script.removesuffix(".py"), overrides, return_hydra_config=True)
        if script == "train.py":
            build(cfg.optim.schedule)  # fits the number of steps
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", link):
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_no_command_escapes_the_tests():
    languages = Counter(language for page in PAGES for language, _ in FENCE.findall(page.read_text(encoding="utf-8")))
    assert languages.keys() == {"bash", "console", "json", "python", "yaml"}
    fences = sum(page.read_text(encoding="utf-8").count("```") for page in PAGES)
    assert fences == 2 * sum(languages.values())  # each is closed, and is seen
    assert len(SHOWN) > 100
    for word in ("docker build", "docker run", "uv pip install", "srun", "torchrun", "melle serve", "melle-train"):
        assert any(word in line for line in SHOWN), word
    assert any(
        line.startswith("python -m melle serve --model data/pretrained --host") for line in SHOWN
    )  # Dockerfile's


def test_code_in_python_names_what_there_is():
    melle = importlib.import_module("melle")
    blocks = [block for page in PAGES for language, block in FENCE.findall(page.read_text()) if language == "python"]
    for block in blocks:
        tree = ast.parse(re.sub(r'(?m)^"(\w+)": (.*),$', r"\1 = \2", inspect.cleandoc(block)))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "melle":
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "tts":
                assert hasattr(melle.Synthesizer, node.attr)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in ("speech", "chunk"):
                known = {"speech": melle.Speech, "chunk": melle.synthesis.speech.Chunk}[node.value.id]
                openai = {"write_to_file"}  # of an answer of OpenAI's client
                assert hasattr(known, node.attr) or node.attr in {*known.__dataclass_fields__, *openai}
    assert len(blocks) > 5


def test_bodies_of_requests_are_accepted():
    from melle.serving.speech import SpeechRequest

    text = (ROOT / "docs" / "howto" / "serve.md").read_text(encoding="utf-8")
    bodies = re.findall(r"(?m)^ +-d '(.+?)'", text)
    assert bodies and all(SpeechRequest.model_validate_json(body).voice == "emma" for body in bodies)


def test_what_the_pages_write_is_not_for_git(tmp_path):
    given = [(word, after) for command in SHOWN.values() for word, after in pairwise(command)]
    outputs = {after for word, after in given if word in ("-o", "--subtitles")} | {"runs/x", "build/site", "dist"}
    outputs = {path for path in outputs if not path.startswith(("/", "FOLDER", "folder"))}
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    kept = ["data/README.md", "data/example/train.jsonl", "data/pretrained/voices/emma.ogg", "conf/model/melle.yaml"]
    names = "\n".join([*(f"{path}/x" for path in outputs if "." not in path), *outputs, *kept])
    check = ["git", "-C", tmp_path, "check-ignore", "--no-index", "--stdin"]
    ignored = subprocess.run(check, input=names, capture_output=True, text=True).stdout.splitlines()
    missed = [path for path in outputs if path not in ignored and f"{path}/x" not in ignored]
    assert not missed and not set(kept) & set(ignored) and len(outputs) > 8
