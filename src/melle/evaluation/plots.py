"""The drawing of the report's plots by matplotlib, in a light and a dark theme."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from melle.evaluation.scores import Results, SystemScore, UtteranceScore
from melle.evaluation.wer import ErrorCounts, ErrorRate, corpus_rate

SIZE = (420, 280)  # of a plot, points; letters are 11 high
LETTERS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"  # the page's
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ((6, 3), (2, 2), (9, 2, 2, 2))  # of toplines
MIN_PER_BIN = 6  # utterances in a bin of lengths
MAX_BINS = 5  # of lengths
BARS = 30  # of a histogram


@dataclass(frozen=True)
class Theme:
    """Colours of the page and of its plots; those of runs can be told apart by colour-blind eyes."""

    name: str
    page: str
    surface: str
    ink: str
    muted: str
    grid: str
    wash: str
    wrong: str
    added: str
    runs: tuple[str, ...]

    def style(self) -> dict:
        return {
            "svg.fonttype": "none",  # text stays text
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "text.color": self.ink,
            "text.parse_math": False,  # a name may hold dollar signs
            "axes.labelcolor": self.ink,
            "axes.edgecolor": self.muted,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": self.grid,
            "grid.linewidth": 0.8,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "lines.linewidth": 1.8,
            "savefig.transparent": True,
            "svg.hashsalt": "melle",  # the same ids every time
        }


LIGHT = Theme(
    "light", page="#f4f6f8", surface="#ffffff", ink="#1a1f26", muted="#5c6672", grid="#dfe4ea", wash="#eef2f6",
    wrong="#b3261e", added="#0b6b4d", runs=("#0072b2", "#d55e00", "#009e73", "#b4518c", "#c98b00", "#3d9fd6"),
)  # fmt: skip
DARK = Theme(
    "dark", page="#101317", surface="#191d23", ink="#e8ebef", muted="#9ba6b3", grid="#303740", wash="#222831",
    wrong="#ff8a80", added="#5fd3a8", runs=("#4aa8e8", "#f3843f", "#2cbf93", "#e08fbd", "#f0b63c", "#9ad4f7"),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a system is drawn, the same in all plots of a page: a topline dashed, a run with markers."""

    name: str
    colour: str  # a theme's: ink, muted, or run-0, run-1, …
    marker: str = ""
    dash: tuple[int, ...] | None = None

    def paint(self, theme: Theme) -> str:
        """The colour in a theme."""
        run = self.colour.removeprefix("run-")
        return theme.runs[int(run)] if run.isdigit() else getattr(theme, self.colour)


Looks = dict[tuple[bool, str], Look]


def looks_of(results: Results) -> Looks:
    """A look for every run and every topline, by ``key``."""
    found: Looks = {}
    for row in results.systems:
        if key(row) in found:
            continue
        number = sum(topline == (row.run is None) for topline, _ in found)
        if row.run is None:
            found[key(row)] = Look(row.system, ("ink", "muted")[number % 2], dash=DASHES[number % len(DASHES)])
        else:  # past six runs colours come again, with other markers
            marker = MARKERS[(number + number // len(LIGHT.runs)) % len(MARKERS)]
            found[key(row)] = Look(row.run, f"run-{number % len(LIGHT.runs)}", marker)
    return found


def key(row: SystemScore) -> tuple[bool, str]:
    return (True, row.system) if row.run is None else (False, row.run)


@dataclass(frozen=True)
class Canvas:
    """What every plot draws with."""

    theme: Theme
    looks: Looks

    def colour(self, row: SystemScore) -> str:
        return self.looks[key(row)].paint(self.theme)

    def stroke(self, row: SystemScore) -> dict:
        """Of a line with markers."""
        look = self.looks[key(row)]
        return {
            "color": look.paint(self.theme),
            "marker": look.marker,
            "markersize": 6,
            "markeredgecolor": self.theme.surface,
            "markeredgewidth": 0.8,
            "linestyle": "-" if look.dash is None else (0, look.dash),
        }


def svg_uri(draw: Callable[[Canvas], Figure], canvas: Canvas) -> str:
    """A plot as an SVG image inside a page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(canvas.theme.style()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's letters will have it
        FigureCanvasSVG(draw(canvas)).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    content = buffer.getvalue().replace("'DejaVu Sans'", LETTERS).replace("'sans-serif'", LETTERS)
    return data_uri("image/svg+xml", content.encode("utf-8", "replace"))


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def subplots(rows: int = 1, size: Sequence[float] = SIZE) -> tuple[Figure, list[Axes]]:
    """A figure of ``size`` (width, height) with axes under each other that share what is left to right."""
    figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for each in axes:
        each.patch.set_visible(False)
    return figure, list(axes)


def shorten(text: str, most: int = 40) -> str:
    """A name as it may stand in a plot: on one line, without signs that XML forbids, not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def curves(rows: Sequence[SystemScore]) -> list[list[SystemScore]]:
    """The checkpoints of every run in the order of their steps; nothing where no run has two steps."""
    runs: dict[str, list[SystemScore]] = {}
    for row in rows:
        if row.run is not None and row.step is not None:
            runs.setdefault(row.run, []).append(row)
    found = [sorted(curve, key=lambda row: row.step or 0) for curve in runs.values()]
    return found if any(len({row.step for row in curve}) > 1 for curve in found) else []


def rate(row: SystemScore, judge: str) -> tuple[float, float, float]:
    """Word error rate and its interval in per cent; the interval is the rate where none is known."""
    middle = row.metrics.get(f"wer/{judge}", float("nan"))
    low, high = row.intervals.get(f"wer/{judge}", (middle, middle))
    return 100 * middle, 100 * min(low, middle), 100 * max(high, middle)


def by_step(rows: Sequence[SystemScore], judge: str, highest: float, canvas: Canvas) -> Figure:
    figure, (axes,) = subplots()
    for row in rows:
        if row.run is None:
            dash = canvas.looks[key(row)].dash
            axes.axhline(rate(row, judge)[0], color=canvas.colour(row), linestyle=(0, dash), linewidth=1.3)
    for curve in curves(rows):
        stroke = canvas.stroke(curve[0])
        steps = [row.step or 0 for row in curve]
        rates, lows, highs = (np.array(ends) for ends in zip(*(rate(row, judge) for row in curve)))
        if len(curve) > 1:
            axes.fill_between(steps, lows, highs, color=stroke["color"], alpha=0.15, linewidth=0)
            axes.plot(steps, rates, **stroke)
        else:
            axes.errorbar(steps, rates, (rates - lows, highs - rates), capsize=3, elinewidth=1.2, **stroke)
    axes.set(xlabel="optimiser steps", ylabel="WER, %", ylim=(0, 1.05 * highest or 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    return figure


def by_system(rows: Sequence[SystemScore], judge: str, highest: float, canvas: Canvas) -> Figure:
    figure, (axes,) = subplots(size=(SIZE[0], max(SIZE[1] / 2, 60 + 36 * len(rows))))
    for place, row in enumerate(rows):
        middle, low, high = rate(row, judge)
        axes.barh(place, middle, height=0.6, color=canvas.colour(row), alpha=0.75 if row.run else 0.4)
        axes.errorbar(
            middle, place, xerr=[[middle - low], [high - middle]], color=canvas.theme.ink, capsize=3, elinewidth=1.2
        )
    axes.set_yticks(range(len(rows)), [shorten(row.system, 30) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="WER, %", xlim=(0, 1.05 * highest or 1))
    return figure


def similarities(rows: Sequence[SystemScore], judge: str, canvas: Canvas) -> Figure:
    """A histogram under another, on one scale: the share of utterances with each similarity."""
    own = [np.array(values_of(row, f"sim_o/{judge}")) for row in rows]
    others = [np.array(values_of(row, f"sim_others/{judge}")) for row in rows]
    every = np.concatenate(own + others)
    low, high = every.min(), every.max()
    edges = np.linspace(low - 0.02, high + 0.02, BARS + 1)
    figure, axes = subplots(len(rows), (SIZE[0], max(SIZE[1], 40 + 65 * len(rows))))
    tallest = 0.0
    for each, row, mine, theirs in zip(axes, rows, own, others):
        colour = canvas.colour(row)
        for values, filled in ((theirs, False), (mine, True)):
            if len(values):
                shares = 100 * np.histogram(values, edges)[0] / len(values)
                tallest = max(tallest, shares.max())
                each.stairs(shares, edges, fill=filled, color=colour, alpha=0.55 if filled else 1, linewidth=1.3)
    for each, row, mine, theirs in zip(axes, rows, own, others):
        each.set_ylim(0, 1.1 * tallest)
        for values, line in ((theirs, ":"), (mine, "-")):
            if len(values):
                each.axvline(values.mean(), color=canvas.theme.ink, linewidth=1.1, linestyle=line)
        each.set_title(shorten(canvas.looks[key(row)].name), loc="left", fontsize=10, pad=3)
        means = [f"{name} {values.mean():.2f}" for name, values in (("others", theirs), ("own", mine)) if len(values)]
        each.set_title(", ".join(means), loc="right", fontsize=10, pad=3)
        each.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        each.tick_params(labelsize=10)
    axes[-1].set_xlabel("cosine similarity")
    figure.supylabel("% of utterances", fontsize=11)
    return figure


def length_edges(rows: Sequence[SystemScore]) -> np.ndarray:
    """Seconds that part the recordings into groups of one size."""
    seconds = list({utterance.id: utterance.recording_seconds for row in rows for utterance in row.utterances}.values())
    if not seconds:
        return np.array([])
    return np.unique(np.quantile(seconds, np.linspace(0, 1, 1 + min(MAX_BINS, len(seconds) // MIN_PER_BIN))))


def rates_by_length(rows: Sequence[SystemScore], judge: str, edges: np.ndarray) -> list[dict[int, ErrorRate]]:
    """Of every row the error rate of each group of recordings that ``edges`` part, by the group's number."""
    found = []
    for row in rows:
        bins: dict[int, list[ErrorCounts]] = {}
        for utterance in row.utterances:
            if f"words/{judge}" in utterance.values:
                words, errors = (int(utterance.values[f"{what}/{judge}"]) for what in ("words", "errors"))
                bins.setdefault(_bin(utterance, edges), []).append(ErrorCounts(words, errors, 0, 0))
        found.append({number: corpus_rate(bins[number]) for number in sorted(bins)})
    return found


def by_length(
    rows: Sequence[SystemScore],
    rates: Sequence[dict[int, ErrorRate]],
    edges: np.ndarray,
    highest: float,
    canvas: Canvas,
) -> Figure:
    figure, (axes,) = subplots()
    for place, (row, of_row) in enumerate(zip(rows, rates)):
        shift = 0.12 * (place - (len(rows) - 1) / 2) * min(1, 5 / len(rows))
        ends = 100 * np.array([(r.rate - r.low, r.high - r.rate) for r in of_row.values()]).clip(min=0).T
        axes.errorbar(
            np.array(list(of_row)) + shift,
            [100 * r.rate for r in of_row.values()],
            ends,
            capsize=2,
            elinewidth=1,
            **{**canvas.stroke(row), "linewidth": 1.2},
        )
    bins = {utterance.id: _bin(utterance, edges) for row in rows for utterance in row.utterances}
    counts = np.bincount(list(bins.values()), minlength=len(edges) - 1)
    labels = [f"{low:.1f} – {high:.1f}\nn = {n}" for low, high, n in zip(edges, edges[1:], counts)]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="seconds of the recording", ylabel="WER, %", ylim=(0, 1.05 * highest or 1))
    return figure


def _bin(utterance: UtteranceScore, edges: np.ndarray) -> int:
    return int(np.searchsorted(edges[1:-1], utterance.recording_seconds, side="right"))


def lengths(rows: Sequence[SystemScore], canvas: Canvas) -> Figure:
    figure, (axes,) = subplots()
    for row in rows:
        colour = canvas.colour(row)
        for cut in (False, True):
            members = [u for u in row.utterances if (u.finish_reason not in (None, "stop")) == cut]
            axes.plot(
                [utterance.recording_seconds for utterance in members],
                [utterance.seconds for utterance in members],
                linestyle="",
                color=colour,
                marker="x" if cut else canvas.looks[key(row)].marker,
                markersize=7 if cut else 6,
                markeredgewidth=2 if cut else 0.8,
                markeredgecolor=colour if cut else canvas.theme.surface,
                alpha=0.85,
            )
    _diagonal(axes, rows, canvas.theme)
    axes.set(xlabel="seconds of the recording", ylabel="seconds of the synthesis")
    return figure


def _diagonal(axes: Axes, rows: Sequence[SystemScore], theme: Theme) -> None:
    recorded = [utterance.recording_seconds for row in rows for utterance in row.utterances]
    ends = (min(recorded), max(recorded))
    axes.plot(ends, ends, color=theme.muted, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="both")


def values_of(row: SystemScore, name: str) -> list[float]:
    return [float(utterance.values[name]) for utterance in row.utterances if name in utterance.values]
