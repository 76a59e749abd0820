"""The results as one HTML page with tables, plots and audio, which needs nothing beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2

from melle.evaluation.examples import SIZE, AudioFiles, make_examples
from melle.evaluation.plots import Styles, last_of_runs, make_charts, styles_of
from melle.evaluation.scores import Results
from melle.evaluation.tables import make_table, meanings
from melle.files import written_whole

TEMPLATES = Path(__file__).with_name("templates")
MAX_RUNS = 3  # with examples


def write_report(folder: Path, results: Results, count: int = 3) -> Path:
    """``folder``/report.html. Audio files are looked for in ``folder``; those that are missing are left out.

    Args:
        count: utterances shown of each kind (best, worst, at random) for the last checkpoint of each run.
    """
    styles, audio = styles_of(results), AudioFiles(folder)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = _counted
    page = environment.get_template("report.html.j2").render(
        facts=_facts(results),
        settings=json.dumps(results.settings, indent=2, ensure_ascii=False, default=str),
        sections=[_section(protocol, results, styles, audio, count) for protocol in results.protocols],
        picture_size=SIZE,
    )
    path = folder / "report.html"
    with written_whole(path) as partial:
        # A lone surrogate, as in the name of a file that is not UTF-8, must not cost the page.
        partial.write_text(page, encoding="utf-8", errors="replace")
    return path


def _facts(results: Results) -> list[str]:
    runs = {row.run for row in results.systems if row.run is not None}
    checkpoints = {(row.run, row.system, row.step) for row in results.systems if row.run is not None}
    toplines = {row.system for row in results.systems if row.run is None}
    utterances = {utterance.id for row in results.systems for utterance in row.utterances}
    facts = [
        f"{_counted(checkpoints, 'checkpoint')} of {_counted(runs, 'run')}" if runs else "",
        _counted(toplines, "topline") if toplines else "",
        _counted(results.protocols, "protocol"),
        _counted(utterances, "utterance"),
        f"checkpoints speak through {results.speaking}" if results.speaking else "",
        str(results.settings.get("date", "")),
    ]
    return [fact for fact in facts if fact]


def _section(protocol: str, results: Results, styles: Styles, audio: AudioFiles, count: int) -> dict[str, Any]:
    """One protocol, as the template shows it."""
    rows = results.of(protocol)
    last = [row for row in last_of_runs(rows) if row.utterances and count > 0]
    return {
        "protocol": protocol,
        "utterances": {utterance.id for row in rows for utterance in row.utterances},
        "table": make_table(rows, results.names),
        "meanings": meanings(rows),
        "charts": make_charts(rows, results.names, styles),
        "examples": [(row, make_examples(row, rows, results.names, audio, count)) for row in last[:MAX_RUNS]],
        "without_examples": last[MAX_RUNS:],
    }


def _counted(items: Any, what: str) -> str:
    """ "2 runs"."""
    return f"{len(items):,} {what}{'' if len(items) == 1 else 's'}"
