"""Pages that stand elsewhere in the repository, and links to them, which are right in both places."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[2]
PAGES = {  # from their place in the repository to that on the site
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "data/README.md": "reference/data.md",
    "data/pretrained/README.md": "reference/english-model.md",
}
MADE = {  # from what a page is generated of, to which links lead in the repository, to that page
    "conf/train.yaml": "reference/configuration/index.md",
    "src/melle/cli.py": "reference/commands.md",
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    from mkdocs.structure.files import File

    for source, place in PAGES.items():
        text = (TOP / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=with_links(text, source, place)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the other pages to what stands elsewhere in the repository."""
    place = page.file.src_uri
    return markdown if place in PAGES.values() else with_links(markdown, f"docs/{place}", place)


def with_links(text: str, source: str, place: str) -> str:
    """The text with links from ``source`` in the repository as links from ``place``; what the site lacks is no link."""

    def link(match: re.Match) -> str:
        words, target = match.groups()
        if re.match("[a-z]+:|#", target):
            return match[0]
        path, mark, anchor = target.partition("#")
        path = os.path.normpath(os.path.join(os.path.dirname(source), path))
        there = {**PAGES, **MADE}.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if there is None and not (TOP / path).exists():
            return match[0]  # which a strict build refuses
        return f"[{words}]({os.path.relpath(there, os.path.dirname(place) or '.')}{mark}{anchor})" if there else words

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", link, text)
