"""The results as one HTML page with tables, plots and sound, which needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from melle.evaluation.charts import Chart, charts_of, last_of_runs
from melle.evaluation.examples import examples_html
from melle.evaluation.players import Sounds
from melle.evaluation.plots import Look, Looks, looks_of
from melle.evaluation.scores import Results, SystemScore
from melle.evaluation.svg import colour
from melle.evaluation.tables import table_html
from melle.files import written_whole

MOST_RUNS = 3  # with examples
# Whatever stands in a text or a name, the page loads and runs nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
SHAPES = {  # of markers, around 0
    "": "",
    "o": '<circle r="4"/>',
    "s": '<rect x="-3.5" y="-3.5" width="7" height="7"/>',
    "^": '<path d="M0-4.5 4.5 4H-4.5z"/>',
    "v": '<path d="M0 4.5 4.5-4H-4.5z"/>',
    "D": '<path d="M0-5 5 0 0 5-5 0z"/>',
    "P": '<path d="M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z"/>',
}


def write_report(folder: Path, results: Results, count: int = 3) -> Path:
    """``folder``/report.html. Audio files are looked for in ``folder``; of those that are not there is no player.

    Args:
        count: utterances shown of each kind (best, worst, at random) for the last checkpoint of each run.
    """
    looks, sounds = looks_of(results), Sounds(folder)
    sections = [
        _section(number, protocol, results, looks, sounds, count) for number, protocol in enumerate(results.protocols)
    ]
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>MELLE evaluation</title>\n<style>\n{style}</style></head>\n<body>"
        f"{_header(results)}<main>{''.join(sections)}</main></body></html>\n"
    )
    path = folder / "report.html"
    with written_whole(path) as partial:
        # A lone surrogate, as in the name of a file that is not UTF-8, must not cost the page.
        partial.write_text(page, encoding="utf-8", errors="replace")
    return path


def _header(results: Results) -> str:
    runs = {row.run for row in results.systems if row.run is not None}
    checkpoints = {(row.run, row.system, row.step) for row in results.systems if row.run is not None}
    ceilings = {row.system for row in results.systems if row.run is None}
    utterances = {utterance.id for row in results.systems for utterance in row.utterances}
    facts = [
        f"{_number(len(checkpoints), 'checkpoint')} of {_number(len(runs), 'run')}" if runs else "",
        _number(len(ceilings), "ceiling") if ceilings else "",
        _number(len(results.protocols), "protocol"),
        _number(len(utterances), "utterance"),
        f"checkpoints speak through {results.speaking}" if results.speaking else "",
        str(results.settings.get("date", "")),
    ]
    links = "".join(
        f'<a href="#protocol-{number}">{escape(protocol)}</a>' for number, protocol in enumerate(results.protocols)
    )
    settings = json.dumps(results.settings, indent=2, ensure_ascii=False, default=str)
    return (
        f"<header><h1>MELLE evaluation</h1><p>{escape(' · '.join(fact for fact in facts if fact))}</p>"
        f"<nav>{links}</nav><details><summary>Settings</summary><pre>{escape(settings)}</pre></details></header>"
    )


def _section(number: int, protocol: str, results: Results, looks: Looks, sounds: Sounds, count: int) -> str:
    rows = results.of(protocol)
    utterances = {utterance.id for row in rows for utterance in row.utterances}
    charts = "".join(_chart(chart) for chart in charts_of(rows, results.names, looks, f"chart-{number}"))
    return (
        f'<section id="protocol-{number}"><h2>{escape(protocol)} '
        f"<small>{_number(len(utterances), 'utterance')}</small></h2>"
        f"{table_html(rows, results.names)}"
        f"{f'<div class=charts>{charts}</div>' if charts else ''}{_examples(rows, results, sounds, count)}</section>"
    )


def _chart(chart: Chart) -> str:
    names = "".join(f"<li>{_swatch(look)}{escape(look.name)}</li>" for look in chart.looks)
    legend = f'<ul class="legend">{names}</ul>' if names else ""
    return (
        f'<figure class="chart"><figcaption>{escape(chart.title)}</figcaption>{legend}{chart.svg}'
        f'<p class="note">{escape(chart.note)}</p></figure>'
    )


def _swatch(look: Look) -> str:
    dashes = "" if look.dash is None else f' stroke-dasharray="{" ".join(map(str, look.dash))}"'
    return (
        '<svg class="swatch" viewBox="-14 -6 28 12" width="28" height="12" aria-hidden="true" '
        f'style="fill: {colour(look.colour)}; stroke: {colour(look.colour)}">'
        f'<path d="M-14 0h28" stroke-width="2"{dashes}/><g stroke="none">{SHAPES[look.marker]}</g></svg>'
    )


def _examples(rows: Sequence[SystemScore], results: Results, sounds: Sounds, count: int) -> str:
    last = [row for row in last_of_runs(rows) if row.utterances]
    if not last or count < 1:
        return ""
    parts = [
        '<h3>Examples</h3><p class="note">Best and worst by errors per word, then by similarity to the prompt. '
        "In transcripts: <mark><s>text</s> heard</mark> another word, <del>missing</del>, <ins>added</ins>; beside the "
        "recogniser its errors of how many words. Pictures of a row share their colours, recording and synthesis also "
        "their scale of time.</p>"
    ]
    for number, row in enumerate(last[:MOST_RUNS]):
        step = "" if row.step is None else f" <small>step {row.step:,}</small>"
        parts.append(
            f"<details{'' if number else ' open'}><summary><h3>{escape(row.system)}{step}</h3></summary>"
            f"{examples_html(row, rows, results.names, sounds, count)}</details>"
        )
    if len(last) > MOST_RUNS:
        parts.append(f'<p class="note">The other {_number(len(last) - MOST_RUNS, "run")} have no examples here.</p>')
    return "".join(parts)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
