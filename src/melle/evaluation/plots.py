"""The report's plots by matplotlib: error rates by training and by length, similarities of voices, lengths of speech.

They are drawn for a light page; a dark one inverts them (``templates/report.css``).
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from melle.evaluation.metrics import judges_of
from melle.evaluation.scores import Results, SystemScore
from melle.evaluation.wer import corpus_rate

WIDTH, HEIGHT = 420, 280  # of a plot, points; letters are 11 high
LETTERS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"  # the page's
INK, MUTED = "#1a1f26", "#5c6672"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b4518c", "#c98b00", "#3d9fd6")  # of runs; distinct to colour-blind eyes
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ((6, 3), (2, 2), (9, 2, 2, 2))  # of toplines
MIN_PER_BIN = 6  # utterances in a bin of lengths
MAX_BINS = 5  # of lengths
BARS = 30  # of a histogram
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "melle",  # the same ids every time
    "savefig.transparent": True,
    "font.size": 11,
    "axes.titlesize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dfe4ea",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "errorbar.capsize": 3,
}
INTERVAL = "95 % interval, a bootstrap over utterances."
BY_STEP = f"Bands and bars: {INTERVAL} Dashed: toplines."
SIMILARITIES = (
    "Filled: cosine with the own prompt. Outlined: mean cosine with other speakers' prompts. Upright lines: their "
    "means. The farther apart, the clearer whose voice it is."
)
BY_LENGTH = f"Utterances by the length of their recording, in groups of the same size. Bars: {INTERVAL}"
LENGTHS = "An utterance a mark; on the dashed line it is as long as its recording. Crosses: did not end by itself."
Styles = dict[tuple[bool, str], dict[str, Any]]  # of lines, by ``SystemScore.series``


@dataclass(frozen=True)
class Chart:
    """A plot: its title, a sentence on how to read it, and the image as a data URI."""

    title: str
    note: str
    image: str


def styles_of(results: Results) -> Styles:
    """How every run and every topline is drawn in all plots of a page: a topline dashed, a run with markers."""
    toplines = dict.fromkeys(row.series for row in results.systems if row.run is None)
    runs = dict.fromkeys(row.series for row in results.systems if row.run is not None)
    found: Styles = {}
    for number, series in enumerate(toplines):
        dashes = (0, DASHES[number % len(DASHES)])
        found[series] = {"color": (INK, MUTED)[number % 2], "linestyle": dashes, "linewidth": 1.3}
    edge = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.8}
    for number, series in enumerate(runs):  # past six runs colours come again, with other markers
        marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
        found[series] = {"color": COLOURS[number % len(COLOURS)], "marker": marker, **edge}
    return found


def last_of_runs(rows: Sequence[SystemScore]) -> list[SystemScore]:
    """The last checkpoint of every run; a run's checkpoints stand in the order of their steps."""
    return list({row.run: row for row in rows if row.run is not None}.values())


def make_charts(rows: Sequence[SystemScore], titles: dict[str, str], styles: Styles) -> list[Chart]:
    """All plots of one protocol that can be drawn."""
    charts: list[Chart] = []

    def add(title: str, judge: str, note: str, figure: Figure | None) -> None:
        if figure is not None:
            charts.append(Chart(title + (f", {titles.get(judge, judge)}" if judge else ""), note, _svg(figure)))

    final = [row for row in rows if row.run is None] + last_of_runs(rows)
    recognisers = judges_of(rows, "wer")
    with matplotlib.rc_context(STYLE):
        for judge in recognisers:
            scored = [row for row in rows if f"wer/{judge}" in row.metrics]
            steps = {(row.run, row.step) for row in scored if row.run is not None}
            if len(steps) > len({run for run, _ in steps}):  # a run has several
                add("Word error rate by training", judge, BY_STEP, _by_step(scored, judge, styles))
            else:
                add("Word error rate", judge, f"Bars: {INTERVAL}", _by_system(scored, judge, styles))
        for judge in judges_of(final, "sim_o"):
            add("Similarity of voices", judge, SIMILARITIES, _similarities(final, judge, styles))
        for judge in recognisers:
            add("Word error rate by length", judge, BY_LENGTH, _by_length(final, judge, styles))
        add("Length of speech", "", LENGTHS, _lengths(final, styles))
    return charts


def _by_step(rows: Sequence[SystemScore], judge: str, styles: Styles) -> Figure:
    figure, (axes,) = _figure(legend=rows, styles=styles)
    curves: dict[tuple[bool, str], list[SystemScore]] = {}
    for row in rows:
        curves.setdefault(row.series, []).append(row)
    for series, curve in curves.items():
        style, steps = styles[series], [row.step for row in curve]
        rates, lows, highs = (np.array(ends) for ends in zip(*(_rate(row, judge) for row in curve)))
        if curve[0].run is None:
            axes.axhline(rates[0], **style)
        elif len(curve) > 1:
            axes.fill_between(steps, lows, highs, color=style["color"], alpha=0.15, linewidth=0)
            axes.plot(steps, rates, **style)
        else:
            axes.errorbar(steps, rates, (rates - lows, highs - rates), elinewidth=1.2, **style)
    axes.set(xlabel="optimiser steps", ylabel="WER, %")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    return figure


def _by_system(rows: Sequence[SystemScore], judge: str, styles: Styles) -> Figure:
    figure, (axes,) = _figure(height=max(HEIGHT / 2, 60 + 36 * len(rows)))
    for place, row in enumerate(rows):
        middle, low, high = _rate(row, judge)
        colour = styles[row.series]["color"]
        axes.barh(place, middle, height=0.6, color=colour, alpha=0.75 if row.run else 0.4)
        axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color=INK, elinewidth=1.2)
    axes.set_yticks(range(len(rows)), [shorten(row.system, 30) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("WER, %")
    axes.set_xlim(left=0)
    return figure


def _similarities(rows: Sequence[SystemScore], judge: str, styles: Styles) -> Figure | None:
    """A histogram under another, on one scale: the share of utterances with each similarity."""
    found = [(row, _values(row, f"sim_others/{judge}"), _values(row, f"sim_o/{judge}")) for row in rows]
    found = [(row, others, own) for row, others, own in found if own.size]
    if not found:
        return None
    every = np.concatenate([values for _, *both in found for values in both])
    edges = np.linspace(every.min() - 0.02, every.max() + 0.02, BARS + 1)
    figure, axes = _figure(len(found), max(HEIGHT, 40 + 65 * len(found)), sharey=True)
    for each, (row, others, own) in zip(axes, found):
        means = []
        for name, values, line, filled in (("others", others, ":", False), ("own", own, "-", True)):
            if values.size:
                shares = 100 * np.histogram(values, edges)[0] / values.size
                colour, alpha = styles[row.series]["color"], 0.55 if filled else 1
                each.stairs(shares, edges, fill=filled, color=colour, alpha=alpha, linewidth=1.3)
                each.axvline(values.mean(), color=INK, linewidth=1.1, linestyle=line)
                means.append(f"{name} {values.mean():.2f}")
        each.set_title(shorten(row.series[1]), loc="left", pad=3)
        each.set_title(", ".join(means), loc="right", pad=3)
        each.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        each.tick_params(labelsize=10)
    axes[-1].set_xlabel("cosine similarity")
    figure.supylabel("% of utterances", fontsize=11)
    return figure


def _by_length(rows: Sequence[SystemScore], judge: str, styles: Styles) -> Figure | None:
    name = f"wer/{judge}"
    rows = [row for row in rows if any(name in utterance.counts for utterance in row.utterances)]
    seconds = {utterance.id: utterance.recording_seconds for row in rows for utterance in row.utterances}
    groups = min(MAX_BINS, len(seconds) // MIN_PER_BIN)
    if groups < 2:
        return None
    edges = np.unique(np.quantile(list(seconds.values()), np.linspace(0, 1, groups + 1)))
    bins = dict(zip(seconds, np.searchsorted(edges[1:-1], list(seconds.values()), side="right").tolist()))
    if len(set(bins.values())) < 2:
        return None
    figure, (axes,) = _figure(legend=rows, styles=styles)
    for place, row in enumerate(rows):
        counts = [[u.counts[name] for u in row.utterances if bins[u.id] == n] for n in range(len(edges) - 1)]
        rates = {n: corpus_rate(some) for n, some in enumerate(counts) if some}
        shift = 0.12 * (place - (len(rows) - 1) / 2) * min(1, 5 / len(rows))  # beside each other
        ends = 100 * np.array([(r.rate - r.low, r.high - r.rate) for r in rates.values()]).clip(min=0).T
        style = {**styles[row.series], "linewidth": 1.2}
        middles = [100 * r.rate for r in rates.values()]
        axes.errorbar(np.array(list(rates)) + shift, middles, ends, capsize=2, elinewidth=1, **style)
    sizes = np.bincount(list(bins.values()), minlength=len(edges) - 1)
    labels = [f"{low:.1f} – {high:.1f}\nn = {n}" for low, high, n in zip(edges, edges[1:], sizes)]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="seconds of the recording", ylabel="WER, %")
    axes.set_ylim(bottom=0)
    return figure


def _lengths(rows: Sequence[SystemScore], styles: Styles) -> Figure | None:
    rows = [row for row in rows if row.run is not None and row.utterances]
    if not rows:
        return None
    figure, (axes,) = _figure(legend=rows, styles=styles)
    for row in rows:
        style = {**styles[row.series], "linestyle": "", "alpha": 0.85}
        cross = {**style, "marker": "x", "markersize": 7, "markeredgewidth": 2, "markeredgecolor": style["color"]}
        for cut in (False, True):
            members = [u for u in row.utterances if (u.finish_reason not in (None, "stop")) == cut]
            seconds = [u.recording_seconds for u in members], [u.seconds for u in members]
            axes.plot(*seconds, **(cross if cut else style))
    recorded = [utterance.recording_seconds for row in rows for utterance in row.utterances]
    ends = (min(recorded), max(recorded))
    axes.plot(ends, ends, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    axes.grid(visible=True, axis="both")
    axes.set(xlabel="seconds of the recording", ylabel="seconds of the synthesis")
    axes.set_ylim(bottom=0)
    return figure


def _figure(
    rows: int = 1,
    height: float = HEIGHT,
    legend: Sequence[SystemScore] = (),
    styles: Styles | None = None,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with axes under each other that share what is left to right, and a legend of the systems above."""
    handles = {row.series: Line2D([], [], **(styles or {})[row.series]) for row in legend}
    names = [shorten(name) for _, name in handles]
    columns = 2 if max(map(len, names), default=0) < 24 else 1
    height += 16 * -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    if handles:
        figure.legend(handles.values(), names, loc="outside upper left", ncols=columns)
    return figure, list(figure.subplots(rows, 1, sharex=True, sharey=sharey, squeeze=False)[:, 0])


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's letters will have it
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    content = buffer.getvalue().replace("'DejaVu Sans'", LETTERS).replace("'sans-serif'", LETTERS)
    return data_uri("image/svg+xml", content.encode("utf-8", "replace"))


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def shorten(text: str, most: int = 40) -> str:
    """A name as it may stand in a plot: on one line, without signs that XML forbids, not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def _rate(row: SystemScore, judge: str) -> tuple[float, float, float]:
    """Word error rate and its interval in per cent; the interval is the rate where none is known."""
    middle = row.metrics[f"wer/{judge}"]
    low, high = row.intervals.get(f"wer/{judge}", (middle, middle))
    return 100 * middle, 100 * min(low, middle), 100 * max(high, middle)


def _values(row: SystemScore, name: str) -> np.ndarray:
    return np.array([float(utterance.values[name]) for utterance in row.utterances if name in utterance.values])
