"""Pages of reference/configuration: every group of conf/, its options and their keys, from the comments in the YAML."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CONF = Path(__file__).parents[2] / "conf"
PLACE = "reference/configuration"
TITLES = {"": "train.py and evaluate.py"}  # of the group of the files that stand in conf/ itself


class Key(NamedTuple):
    """A key of a YAML file: its name with dots, what the file gives it, and what its comment says."""

    name: str
    value: str
    comment: str


def on_config(config: Any) -> Any:
    """Put the pages into the site's navigation."""
    pages = [f"{PLACE}/{page_name(group)}.md" for group in groups(CONF)]
    for section in config.nav:
        for part in section.get("Reference", []) if isinstance(section, dict) else []:
            if isinstance(part, dict) and "Configuration" in part:
                part["Configuration"] = pages
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    from mkdocs.structure.files import File

    for group, members in groups(CONF).items():
        files.append(File.generated(config, f"{PLACE}/{page_name(group)}.md", content=page(group, members)))
    return files


def groups(conf: Path) -> dict[str, list[Path]]:
    """The YAML files of each group ("model/norm"), the ones in ``conf`` itself first, as the group ""."""
    found: dict[str, list[Path]] = {}
    for file in sorted(conf.rglob("*.yaml"), key=lambda file: (file.parent.relative_to(conf).as_posix(), file.name)):
        group = file.parent.relative_to(conf).as_posix()
        found.setdefault("" if group == "." else group, []).append(file)
    return found


def page_name(group: str) -> str:
    return group.replace("/", "-") or "index"


def page(group: str, members: list[Path]) -> str:
    """Markdown of a group: a section for each option, with what it is and a table of its keys."""
    lines = [f"# {TITLES.get(group, group)}", ""]
    if group:
        options = ", ".join(f"`{file.stem}`" for file in members)
        lines += [f"The group `{group}`, chosen by `{group}=OPTION`: {options}.", ""]
    else:
        lines += ["What both scripts take on the command line as `key=value`; the groups have pages of their own.", ""]
    for file in members:
        text = file.read_text(encoding="utf-8")
        lines += [f"## {f'{group}={file.stem}' if group else f'{file.stem}.py'}", "", about(text), ""]
        keys = keys_of(text)
        if keys:
            lines += ["| key | value | |", "|---|---|---|"]
            lines += [f"| `{key.name}` | {code(key.value)} | {cell(key.comment)} |" for key in keys]
            lines.append("")
    return "\n".join(lines)


def about(text: str) -> str:
    """What the comment at the top of a file says, and which options it starts from."""
    said = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            said.append(line.lstrip("# "))
    defaults = (yaml.safe_load(text) or {}).get("defaults") or []
    starts = [entry if isinstance(entry, str) else ": ".join(map(str, next(iter(entry.items())))) for entry in defaults]
    starts = [
        code(entry)
        for entry in starts
        if entry != "_self_" and "hydra/job_log" not in entry and "hydra/hydra_log" not in entry
    ]
    return plain(" ".join(said)) + (f"\n\nStarts from {', '.join(starts)}." if starts else "")


def keys_of(text: str) -> list[Key]:
    """The keys of a YAML text that have a value, in order, with the comment beside or directly above each."""
    lines, ends = text.splitlines(), token_ends(text)
    found: list[Key] = []

    def visit(node: yaml.Node, prefix: str) -> None:
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if name == "defaults" or key.value == "_target_":
                continue
            comment = comment_beside(lines, ends, key, value) or comment_above(lines, key.start_mark.line)
            nested = isinstance(value, yaml.MappingNode) and value.value and not value.flow_style
            if nested:
                if comment:
                    found.append(Key(name, "", comment))
                visit(value, f"{name}.")
            else:
                found.append(Key(name, written(text, value), comment))

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        visit(root, "")
    return found


def token_ends(text: str) -> dict[int, int]:
    """The column behind the last token of each line: what follows there is a comment."""
    ends: dict[int, int] = {}
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if token.end_mark.index > token.start_mark.index:
            ends[token.end_mark.line] = max(ends.get(token.end_mark.line, 0), token.end_mark.column)
    return ends


def comment_beside(lines: list[str], ends: dict[int, int], key: yaml.Node, value: yaml.Node) -> str:
    """Behind the key or, where its value takes several lines, behind the value."""
    last = value.end_mark.line if value.end_mark.column else value.end_mark.line - 1
    block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    for number in (key.start_mark.line,) if block else (key.start_mark.line, last):
        if number < len(lines):
            rest = lines[number][ends.get(number, 0) :].strip()
            if rest.startswith("#"):
                return rest.lstrip("# ")
    return ""


def comment_above(lines: list[str], number: int) -> str:
    """The lines of comment that stand directly above; above several keys without one, it is said of all of them."""
    indent = len(lines[number]) - len(lines[number].lstrip())
    while number > 0 and lines[number - 1].strip() and "#" not in lines[number - 1]:
        number -= 1  # a neighbour without a comment of its own
    said: list[str] = []
    while number > 0 and lines[number - 1].strip().startswith("#"):
        number -= 1
        if len(lines[number]) - len(lines[number].lstrip()) != indent:
            return ""
        said.insert(0, lines[number].strip().lstrip("# "))
    return "" if number == 0 else " ".join(said)  # what stands at the top is said of the file


def written(text: str, value: yaml.Node) -> str:
    return " ".join(text[value.start_mark.index : value.end_mark.index].split())


def code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def cell(text: str) -> str:
    return plain(text).replace("|", "\\|")


def plain(text: str) -> str:
    """The text as Markdown that shows what is in it."""
    return re.sub(r"([*\[\]])", r"\\\1", html.escape(text, quote=False))
