"""The drawing of the report's plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from melle.evaluation.scores import Results, SystemScore, UtteranceScore
from melle.evaluation.svg import INK, MUTED, RUN_COLOURS, SIZE, SURFACE, plain, subplots
from melle.evaluation.wer import ErrorCounts, corpus_rate

MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ((6, 3), (2, 2), (9, 2, 2, 2))  # of ceilings
LEAST = 6  # utterances in a bin of lengths
BINS = 5  # of lengths, at most
BARS = 30  # of a histogram


@dataclass(frozen=True)
class Look:
    """How a system is drawn, the same in all plots of a page: a ceiling dashed, a run with markers."""

    name: str
    colour: str
    marker: str = ""
    dash: tuple[int, ...] | None = None


Looks = dict[tuple[bool, str], Look]


def looks_of(results: Results) -> Looks:
    """A look for every run and every ceiling, by ``key``."""
    found: Looks = {}
    for row in results.systems:
        if key(row) in found:
            continue
        kin = sum(ceiling == (row.run is None) for ceiling, _ in found)
        if row.run is None:
            found[key(row)] = Look(row.system, (INK, MUTED)[kin % 2], dash=DASHES[kin % len(DASHES)])
        else:  # past six runs colours come again, with other markers
            marker = MARKERS[(kin + kin // len(RUN_COLOURS)) % len(MARKERS)]
            found[key(row)] = Look(row.run, RUN_COLOURS[kin % len(RUN_COLOURS)], marker)
    return found


def key(row: SystemScore) -> tuple[bool, str]:
    return (True, row.system) if row.run is None else (False, row.run)


def curves(rows: Sequence[SystemScore], judge: str) -> list[list[SystemScore]]:
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


def by_step(rows: Sequence[SystemScore], judge: str, looks: Looks, highest: float) -> Figure:
    figure, (axes,) = subplots()
    for row in rows:
        if row.run is None:
            look = looks[key(row)]
            axes.axhline(rate(row, judge)[0], color=look.colour, linestyle=(0, look.dash), linewidth=1.3)
    for curve in curves(rows, judge):
        look = looks[key(curve[0])]
        steps = [row.step or 0 for row in curve]
        rates, lows, highs = (np.array(ends) for ends in zip(*(rate(row, judge) for row in curve)))
        if len(curve) > 1:
            axes.fill_between(steps, lows, highs, color=look.colour, alpha=0.15, linewidth=0)
            axes.plot(steps, rates, **_stroke(look))
        else:
            axes.errorbar(steps, rates, (rates - lows, highs - rates), capsize=3, elinewidth=1.2, **_stroke(look))
    axes.set(xlabel="optimiser steps", ylabel="WER, %", ylim=(0, 1.05 * highest or 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    return figure


def by_system(rows: Sequence[SystemScore], judge: str, looks: Looks, highest: float) -> Figure:
    figure, (axes,) = subplots(size=(SIZE[0], max(SIZE[1] / 2, 60 + 36 * len(rows))))
    for place, row in enumerate(rows):
        middle, low, high = rate(row, judge)
        look = looks[key(row)]
        axes.barh(place, middle, height=0.6, color=look.colour, alpha=0.75 if row.run else 0.4)
        axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color=INK, capsize=3, elinewidth=1.2)
    axes.set_yticks(range(len(rows)), [plain(row.system, 30) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="WER, %", xlim=(0, 1.05 * highest or 1))
    return figure


def similarities(rows: Sequence[SystemScore], judge: str, looks: Looks) -> Figure:
    """A histogram under another, on one scale: the share of utterances with each similarity."""
    own = [np.array(values_of(row, f"sim_o/{judge}")) for row in rows]
    others = [np.array(values_of(row, f"sim_others/{judge}")) for row in rows]
    every = np.concatenate(own + others)
    low, high = every.min(), every.max()
    edges = np.linspace(low - 0.02, high + 0.02, BARS + 1)
    figure, axes = subplots(len(rows), (SIZE[0], max(SIZE[1], 40 + 65 * len(rows))))
    tallest = 0.0
    for each, row, mine, theirs in zip(axes, rows, own, others):
        look = looks[key(row)]
        for values, filled in ((theirs, False), (mine, True)):
            if len(values):
                shares = 100 * np.histogram(values, edges)[0] / len(values)
                tallest = max(tallest, shares.max())
                each.stairs(shares, edges, fill=filled, color=look.colour, alpha=0.55 if filled else 1, linewidth=1.3)
    for each, row, mine, theirs in zip(axes, rows, own, others):
        each.set_ylim(0, 1.1 * tallest)
        for values, line in ((theirs, ":"), (mine, "-")):
            if len(values):
                each.axvline(values.mean(), color=INK, linewidth=1.1, linestyle=line)
        each.set_title(plain(looks[key(row)].name), loc="left", fontsize=10, pad=3)
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
    return np.unique(np.quantile(seconds, np.linspace(0, 1, 1 + min(BINS, len(seconds) // LEAST))))


def by_length(rows: Sequence[SystemScore], judge: str, looks: Looks, edges: np.ndarray) -> Figure:
    figure, (axes,) = subplots()
    groups: list[list[list[UtteranceScore]]] = []  # by row and bin
    for row in rows:
        bins: list[list[UtteranceScore]] = [[] for _ in edges[1:]]
        for utterance in row.utterances:
            if f"words/{judge}" in utterance.values:
                bins[np.searchsorted(edges[1:-1], utterance.recording_seconds, side="right")].append(utterance)
        groups.append(bins)
    for place, (row, bins) in enumerate(zip(rows, groups)):
        look, shift = looks[key(row)], 0.12 * (place - (len(rows) - 1) / 2) * min(1, 5 / len(rows))
        used = [number for number, members in enumerate(bins) if members]
        rates = [corpus_rate([_counts(utterance, judge) for utterance in bins[number]]) for number in used]
        ends = 100 * np.array([(r.rate - r.low, r.high - r.rate) for r in rates]).clip(min=0).T
        axes.errorbar(
            np.array(used) + shift,
            [100 * r.rate for r in rates],
            ends,
            capsize=2,
            elinewidth=1,
            **{**_stroke(look), "linewidth": 1.2},
        )
    counts = [len({utterance.id for bins in groups for utterance in bins[number]}) for number in range(len(edges) - 1)]
    labels = [f"{low:.1f} – {high:.1f}\nn = {n}" for low, high, n in zip(edges, edges[1:], counts)]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="seconds of the recording", ylabel="WER, %")
    axes.set_ylim(bottom=0)
    return figure


def lengths(rows: Sequence[SystemScore], looks: Looks) -> Figure:
    figure, (axes,) = subplots()
    for row in rows:
        look = looks[key(row)]
        for cut in (False, True):
            members = [u for u in row.utterances if (u.finish_reason not in (None, "stop")) == cut]
            axes.plot(
                [utterance.recording_seconds for utterance in members],
                [utterance.seconds for utterance in members],
                linestyle="",
                color=look.colour,
                marker="x" if cut else look.marker,
                markersize=7 if cut else 6,
                markeredgewidth=2 if cut else 0.8,
                markeredgecolor=look.colour if cut else SURFACE,
                alpha=0.85,
            )
    _diagonal(axes, rows)
    axes.set(xlabel="seconds of the recording", ylabel="seconds of the synthesis")
    return figure


def _diagonal(axes: Axes, rows: Sequence[SystemScore]) -> None:
    recorded = [utterance.recording_seconds for row in rows for utterance in row.utterances]
    ends = (min(recorded), max(recorded))
    axes.plot(ends, ends, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="both")


def _stroke(look: Look) -> dict:
    return {
        "color": look.colour,
        "marker": look.marker,
        "markersize": 6,
        "markeredgecolor": SURFACE,
        "markeredgewidth": 0.8,
        "linestyle": "-" if look.dash is None else (0, look.dash),
    }


def values_of(row: SystemScore, name: str) -> list[float]:
    return [float(utterance.values[name]) for utterance in row.utterances if name in utterance.values]


def _counts(utterance: UtteranceScore, judge: str) -> ErrorCounts:
    words, errors = (int(utterance.values[f"{what}/{judge}"]) for what in ("words", "errors"))
    return ErrorCounts(words, errors, 0, 0)
