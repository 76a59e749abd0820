"""The generated pages of the site: every key of conf/ and every option of the command line, with what is said of it."""

import argparse
import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def hook(name):
    spec = importlib.util.spec_from_file_location(f"docs_hook_{name}", ROOT / "docs" / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


configuration, commands, top = hook("configuration"), hook("commands"), hook("top")

YAML = """# @package model
# What the file is
# in two lines.
defaults:
  - other
  - _self_

width: 8  # values | of "a # b"
# said of both
first: 1
second: 2
name: "a # b"  # a name
long:
  [a,
   b]  # two letters
inner:  # a part
  _target_: some.Class
  rate: 1e-3  # peak
  deep: {a: 1}  # flow
nothing: null
"""


def test_comments_of_keys():
    assert configuration.keys_of(YAML) == [
        ("width", "8", 'values | of "a # b"'),
        ("first", "1", "said of both"),
        ("second", "2", "said of both"),
        ("name", '"a # b"', "a name"),
        ("long", "[a, b]", "two letters"),
        ("inner", "", "a part"),
        ("inner.rate", "1e-3", "peak"),
        ("inner.deep", "{a: 1}", "flow"),
        ("nothing", "null", ""),
    ]
    assert configuration.about(YAML) == "What the file is in two lines.\n\nStarts from `other`."


def test_a_bar_does_not_end_a_cell(tmp_path):
    (tmp_path / "one.yaml").write_text(YAML)
    rows = [
        line for line in configuration.page("model", [tmp_path / "one.yaml"]).splitlines() if line.startswith("| `")
    ]
    assert rows[0] == '| `width` | `8` | values \\| of "a # b" |'
    assert len(rows) == 9


def conf_files():
    return [file for files in configuration.groups(configuration.CONF).values() for file in files]


@pytest.mark.parametrize("file", conf_files(), ids=lambda file: str(file.relative_to(configuration.CONF)))
def test_every_key_has_a_comment(file):
    keys = configuration.keys_of(file.read_text(encoding="utf-8"))
    # What to type next is its own explanation; Hydra's settings have a documentation of their own.
    bare = [key.name for key in keys if not key.comment and not key.name.startswith(("report.next.", "hydra."))]
    assert not bare


def test_commands_with_their_options():
    parser = argparse.ArgumentParser()
    inner = parser.add_subparsers()
    speak = inner.add_parser("speak", help="say it")
    speak.add_argument("file", help="what | to say")
    speak.add_argument("-o", "--output", default="a.wav", help="where (default: %(default)s)")
    speak.add_argument("--fast", action="store_true", help="100 %% faster")
    more = inner.add_parser("make", help="make things").add_subparsers()
    more.add_parser("one", help="the first").add_argument("--kind", choices=("a", "b"), required=True, help="which")
    page = commands.page(parser)
    for line in (
        "## melle speak",
        "Say it.",
        "| `FILE` | what \\| to say |  |",
        "| `-o OUTPUT`, `--output OUTPUT` | where (default: a.wav) | `a.wav` |",
        "| `--fast` | 100 % faster |  |",
        "## melle make one",
        "| `--kind a\\|b` (needed) | which |  |",
    ):
        assert line in page.splitlines()
    assert "## melle make\n" not in page


PAGES = [ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_that_a_page_points_to_exist(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    folders = ("src", "tests", "benchmarks", "examples", "docs")
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]
    for name, outer, inner in re.findall(r"`([\w/]+\.py)`(?:,\s+`(?:(\w+)\.)?(?!py`)(\w+)`)?", text):
        found = [file.read_text(encoding="utf-8") for file in files if f"/{file.as_posix()}".endswith(f"/{name}")]
        assert found, name
        for word in filter(None, (outer, inner)):
            assert any(re.search(rf"\b(def|class) {word}\b|^{word} = ", code, re.MULTILINE) for code in found), word
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for word in re.findall(r"→ `(\w+)`", text):  # what calls come next
        assert re.search(rf"\b(def|class) {word}\b", code), word


def test_names_in_the_explanations_are_the_codes():
    folders = (ROOT / name for name in ("src", "conf", "tests", "benchmarks"))
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".yaml", ".sh")]
    known = {word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}
    known |= {path.stem for path in files} | {"expandable_segments"}  # PyTorch's
    for page in (ROOT / "docs" / "explanation").glob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        names = re.findall(r"\b[a-z]+_[a-z_0-9]+\b|\b[A-Z][a-z]+[A-Z]\w+\b", " ".join(re.findall(r"`([^`]+)`", text)))
        assert not set(names) - known, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_table_stands_between_empty_lines(page):
    lines = [re.sub(r"^\|.*", "|", line.strip()) for line in page.read_text(encoding="utf-8").splitlines()]
    assert not {("|", other) for other in lines if other not in ("", "|")} & {*pairwise(lines)}
    assert not {(other, "|") for other in lines if other not in ("", "|")} & {*pairwise(lines)}


def test_one_version():
    version = re.search(r'(?m)^version = "(.+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"melle_lightning-{version}-" in (ROOT / "docs" / "howto" / "install.md").read_text()


def test_links_of_pages_from_elsewhere():
    text = "[a](../docs/howto/judge.md#x) [b](pretrained/README.md) [`c`](example/) [d](https://e.org) [e](gone.md)"
    shown = "[a](../howto/judge.md#x) [b](english-model.md) `c` [d](https://e.org) [e](gone.md)"
    assert top.with_links(text, "data/README.md", "reference/data.md") == shown
    assert top.with_links("[a](../../data/README.md)", "docs/howto/a.md", "howto/a.md") == "[a](../reference/data.md)"
    made = top.with_links("[a](../conf/train.yaml) [b](../conf/evaluate.yaml)", "docs/index.md", "index.md")
    assert made == "[a](reference/configuration/index.md) b"
    assert top.with_links("[a](docs/index.md)", "CONTRIBUTING.md", "contributing.md") == "[a](index.md)"


def test_every_extra_is_explained():
    text = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    page = (ROOT / "docs" / "howto" / "install.md").read_text().split("## Extras")[1]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(explained) == sorted(re.findall(r"(?m)^(\w+) = \[", text))


def test_folders_import_from_rows_above():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("| folder of")[1].split("\n\n")[0]
    rows = [re.findall(r"`(\w+)(?:\.py)?`", line.split("|")[1]) for line in table.splitlines()[2:]]
    row = {name: number for number, names in enumerate(rows) for name in names}
    package = ROOT / "src" / "melle"
    for file in package.rglob("*.py"):
        place = file.relative_to(package).parts[0].removesuffix(".py")
        imported = re.findall(r"(?m)^\s*(?:from|import) melle\.(\w+)", file.read_text(encoding="utf-8"))
        too_low = [name for name in imported if row.get(name, 0) > row.get(place, len(rows))]
        assert not too_low, file
    assert len(row) > 15 and all((package / name).exists() or (package / f"{name}.py").exists() for name in row)
