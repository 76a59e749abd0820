"""The report's plots by matplotlib: error rates by training and by length, similarities of voices, lengths of speech.

They are drawn for a light page; a dark one inverts them (``templates/report.css``).
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from melle.evaluation.metrics import judges_of, title_of
from melle.evaluation.scores import Results, SystemScore, UtteranceScore
from melle.evaluation.wer import ErrorCounts, ErrorRate, corpus_rate

WIDTH, HEIGHT = 420, 280  # of a plot, points; letters are 11 high
LETTERS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"  # the page's
INK, MUTED, GRID = "#1a1f26", "#5c6672", "#dfe4ea"
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b4518c",
    "#c98b00",
    "#3d9fd6",
)  # of runs; distinct to colour-blind eyes
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
    "axes.labelsize": 11,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "errorbar.capsize": 3,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
INTERVAL = "95 % interval, a bootstrap over utterances."
Styles = dict[tuple[bool, str], dict[str, Any]]  # of lines, by ``SystemScore.series``


@dataclass(frozen=True)
class Chart:
    """A plot: its title, a sentence on how to read it, and the image as a data URI."""

    title: str
    note: str
    image: str


def styles_of(results: Results) -> Styles:
    """How every run and every topline is drawn in all plots of a page: a topline dashed, a run with markers."""
    found: Styles = {}
    for row in results.systems:
        if row.series in found:
            continue
        number = sum(topline == (row.run is None) for topline, _ in found)
        if row.run is None:
            dash = DASHES[number % len(DASHES)]
            found[row.series] = {"color": (INK, MUTED)[number % 2], "linestyle": (0, dash), "linewidth": 1.3}
        else:  # past six runs colours come again, with other markers
            marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
            edge = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.8}
            found[row.series] = {"color": COLOURS[number % len(COLOURS)], "marker": marker, **edge}
    return found


def make_charts(rows: Sequence[SystemScore], titles: dict[str, str], styles: Styles) -> list[Chart]:
    """All plots of one protocol that can be drawn."""
    with matplotlib.rc_context(STYLE):
        return list(_charts(rows, titles, styles))


def last_of_runs(rows: Sequence[SystemScore]) -> list[SystemScore]:
    """The last checkpoint of every run."""
    last: dict[str, SystemScore] = {}
    for row in rows:
        if row.run is not None and (row.run not in last or (row.step or 0) >= (last[row.run].step or 0)):
            last[row.run] = row
    return list(last.values())


def _charts(rows: Sequence[SystemScore], titles: dict[str, str], styles: Styles) -> Iterator[Chart]:
    final = [row for row in rows if row.run is None] + last_of_runs(rows)
    recognisers = judges_of(rows, "wer")
    # One scale for all recognisers, so that they can be compared.
    scored = {judge: [row for row in rows if f"wer/{judge}" in row.metrics] for judge in recognisers}
    highest = max((_rate(row, judge)[2] for judge, some in scored.items() for row in some), default=0.0)
    for judge, some in scored.items():
        who = title_of(judge, titles)
        if runs := _curves(some):
            note = f"Bands and bars: {INTERVAL} Dashed: toplines."
            yield Chart(f"Word error rate by training, {who}", note, _by_step(some, runs, judge, highest, styles))
        else:
            yield Chart(f"Word error rate, {who}", f"Bars: {INTERVAL}", _by_system(some, judge, highest, styles))
    for judge in judges_of(final, "sim_o"):
        if shown := [row for row in final if _values(row, f"sim_o/{judge}").size]:
            note = (
                "Filled: cosine with the own prompt. Outlined: mean cosine with other speakers' prompts. Upright "
                "lines: their means. The farther apart, the clearer whose voice it is."
            )
            yield Chart(f"Similarity of voices, {title_of(judge, titles)}", note, _similarities(shown, judge, styles))
    edges = _length_edges(final)
    lengthwise = {judge: [row for row in final if _values(row, f"words/{judge}").size] for judge in recognisers}
    rates = {judge: [_rates_by_length(row, judge, edges) for row in some] for judge, some in lengthwise.items()}
    highest = max((100 * one.high for some in rates.values() for row in some for one in row.values()), default=0.0)
    for judge, some in lengthwise.items():
        if some and len(edges) > 2:
            note = f"Utterances by the length of their recording, in groups of the same size. Bars: {INTERVAL}"
            image = _by_length(some, rates[judge], edges, highest, styles)
            yield Chart(f"Word error rate by length, {title_of(judge, titles)}", note, image)
    if spoken := [row for row in final if row.run is not None and row.utterances]:
        note = "An utterance a mark; on the dashed line it is as long as its recording. Crosses: did not end by itself."
        yield Chart("Length of speech", note, _lengths(spoken, styles))


def _curves(rows: Sequence[SystemScore]) -> list[list[SystemScore]]:
    """The checkpoints of every run in the order of their steps; nothing where no run has two steps."""
    runs: dict[str, list[SystemScore]] = {}
    for row in rows:
        if row.run is not None and row.step is not None:
            runs.setdefault(row.run, []).append(row)
    found = [sorted(curve, key=lambda row: row.step or 0) for curve in runs.values()]
    return found if any(len({row.step for row in curve}) > 1 for curve in found) else []


def _by_step(
    rows: Sequence[SystemScore], runs: Sequence[Sequence[SystemScore]], judge: str, highest: float, styles: Styles
) -> str:
    figure, (axes,) = _figure(legend=rows, styles=styles)
    for row in rows:
        if row.run is None:
            axes.axhline(_rate(row, judge)[0], **styles[row.series])
    for curve in runs:
        style = styles[curve[0].series]
        steps = [row.step for row in curve]
        rates, lows, highs = (np.array(ends) for ends in zip(*(_rate(row, judge) for row in curve)))
        if len(curve) > 1:
            axes.fill_between(steps, lows, highs, color=style["color"], alpha=0.15, linewidth=0)
            axes.plot(steps, rates, **style)
        else:
            axes.errorbar(steps, rates, (rates - lows, highs - rates), elinewidth=1.2, **style)
    axes.set(xlabel="optimiser steps", ylabel="WER, %", ylim=(0, 1.05 * highest or 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    return _svg(figure)


def _by_system(rows: Sequence[SystemScore], judge: str, highest: float, styles: Styles) -> str:
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
    axes.set(xlabel="WER, %", xlim=(0, 1.05 * highest or 1))
    return _svg(figure)


def _similarities(rows: Sequence[SystemScore], judge: str, styles: Styles) -> str:
    """A histogram under another, on one scale: the share of utterances with each similarity."""
    values = [[_values(row, f"{kind}/{judge}") for kind in ("sim_others", "sim_o")] for row in rows]
    every = np.concatenate([some for pair in values for some in pair])
    edges = np.linspace(every.min() - 0.02, every.max() + 0.02, BARS + 1)
    figure, axes = _figure(len(rows), max(HEIGHT, 40 + 65 * len(rows)))
    tallest = 0.0
    for each, row, pair in zip(axes, rows, values):
        means = []
        for name, some, line, filled in zip(("others", "own"), pair, (":", "-"), (False, True)):
            if some.size:
                shares = 100 * np.histogram(some, edges)[0] / some.size
                tallest = max(tallest, shares.max())
                colour, alpha = styles[row.series]["color"], 0.55 if filled else 1
                each.stairs(shares, edges, fill=filled, color=colour, alpha=alpha, linewidth=1.3)
                each.axvline(some.mean(), color=INK, linewidth=1.1, linestyle=line)
                means.append(f"{name} {some.mean():.2f}")
        each.set_title(shorten(row.series[1]), loc="left", pad=3)
        each.set_title(", ".join(means), loc="right", pad=3)
        each.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        each.tick_params(labelsize=10)
    for each in axes:
        each.set_ylim(0, 1.1 * tallest)
    axes[-1].set_xlabel("cosine similarity")
    figure.supylabel("% of utterances", fontsize=11)
    return _svg(figure)


def _by_length(
    rows: Sequence[SystemScore],
    rates: Sequence[dict[int, ErrorRate]],
    edges: np.ndarray,
    highest: float,
    styles: Styles,
) -> str:
    figure, (axes,) = _figure(legend=rows, styles=styles)
    for place, (row, of_row) in enumerate(zip(rows, rates)):
        shift = 0.12 * (place - (len(rows) - 1) / 2) * min(1, 5 / len(rows))  # beside each other
        ends = 100 * np.array([(r.rate - r.low, r.high - r.rate) for r in of_row.values()]).clip(min=0).T
        middles = [100 * r.rate for r in of_row.values()]
        style = {**styles[row.series], "linewidth": 1.2}
        axes.errorbar(np.array(list(of_row)) + shift, middles, ends, capsize=2, elinewidth=1, **style)
    bins = {utterance.id: _bin(utterance, edges) for row in rows for utterance in row.utterances}
    counts = np.bincount(list(bins.values()), minlength=len(edges) - 1)
    labels = [f"{low:.1f} – {high:.1f}\nn = {n}" for low, high, n in zip(edges, edges[1:], counts)]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="seconds of the recording", ylabel="WER, %", ylim=(0, 1.05 * highest or 1))
    return _svg(figure)


def _lengths(rows: Sequence[SystemScore], styles: Styles) -> str:
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
    return _svg(figure)


def _figure(
    rows: int = 1, height: float = HEIGHT, legend: Sequence[SystemScore] = (), styles: Styles | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with axes under each other that share what is left to right, and a legend of the systems above."""
    handles = {row.series: Line2D([], [], **(styles or {})[row.series]) for row in legend}
    names = [shorten(name) for _, name in handles]
    columns = 2 if max(map(len, names), default=0) < 24 else 1
    height += 16 * -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    if handles:
        figure.legend(handles.values(), names, loc="outside upper left", ncols=columns)
    return figure, list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])


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
    middle = row.metrics.get(f"wer/{judge}", float("nan"))
    low, high = row.intervals.get(f"wer/{judge}", (middle, middle))
    return 100 * middle, 100 * min(low, middle), 100 * max(high, middle)


def _length_edges(rows: Sequence[SystemScore]) -> np.ndarray:
    """Seconds that part the recordings into groups of one size."""
    seconds = list({utterance.id: utterance.recording_seconds for row in rows for utterance in row.utterances}.values())
    if not seconds:
        return np.array([])
    return np.unique(np.quantile(seconds, np.linspace(0, 1, 1 + min(MAX_BINS, len(seconds) // MIN_PER_BIN))))


def _rates_by_length(row: SystemScore, judge: str, edges: np.ndarray) -> dict[int, ErrorRate]:
    """The error rate of each group of recordings that ``edges`` part, by the group's number."""
    bins: dict[int, list[ErrorCounts]] = {}
    for utterance in row.utterances:
        if f"words/{judge}" in utterance.values and len(edges) > 2:
            words, errors = (int(utterance.values[f"{what}/{judge}"]) for what in ("words", "errors"))
            bins.setdefault(_bin(utterance, edges), []).append(ErrorCounts(words, errors, 0, 0))
    return {number: corpus_rate(bins[number]) for number in sorted(bins)}


def _bin(utterance: UtteranceScore, edges: np.ndarray) -> int:
    return int(np.searchsorted(edges[1:-1], utterance.recording_seconds, side="right"))


def _values(row: SystemScore, name: str) -> np.ndarray:
    return np.array([float(utterance.values[name]) for utterance in row.utterances if name in utterance.values])
