"""The report's plots: errors against training, voices of same and other speakers, scores by length, lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from melle.evaluation.metrics import measured, whose
from melle.evaluation.plots import (
    Look,
    Looks,
    by_length,
    by_step,
    by_system,
    curves,
    key,
    length_edges,
    lengths,
    rate,
    similarities,
    values_of,
)
from melle.evaluation.scores import SystemScore
from melle.evaluation.svg import STYLE, inline


@dataclass(frozen=True)
class Chart:
    """A plot with its title, a sentence on how to read it, and whom it shows where it does not name them itself."""

    title: str
    note: str
    svg: str
    looks: list[Look]


def last_of_runs(rows: Sequence[SystemScore]) -> list[SystemScore]:
    """The last checkpoint of every run."""
    last: dict[str, SystemScore] = {}
    for row in rows:
        if row.run is not None and (row.run not in last or (row.step or 0) >= (last[row.run].step or 0)):
            last[row.run] = row
    return list(last.values())


def judges(rows: Sequence[SystemScore], kind: str) -> list[str]:
    """Who measured ``kind``, such as "wer": the recognisers."""
    return [name.partition("/")[2] for name in measured(rows) if name.partition("/")[0] == kind]


def charts_of(rows: Sequence[SystemScore], names: dict[str, str], looks: Looks, name: str) -> list[Chart]:
    """All plots of one protocol that can be drawn; ``name`` keeps their ids apart from other protocols'."""
    final = [row for row in rows if row.run is None] + last_of_runs(rows)
    charts: list[Chart] = []

    def add(title: str, note: str, figure: Figure, shown: Sequence[SystemScore] = ()) -> None:
        own = list(dict.fromkeys(looks[key(row)] for row in shown))
        charts.append(Chart(title, note, inline(figure, f"{name}-{len(charts)}", title), own))

    with matplotlib.rc_context(STYLE):
        recognisers = judges(rows, "wer")
        # One scale for all recognisers, so that they can be compared.
        highest = max(
            (rate(row, judge)[2] for judge in recognisers for row in rows if f"wer/{judge}" in row.metrics), default=0.0
        )
        for judge in recognisers:
            heard = [row for row in rows if f"wer/{judge}" in row.metrics]
            who = whose(f"wer/{judge}", names)
            if curves(heard, judge):
                add(
                    f"Word error rate by training, {who}",
                    "Bands and bars: 95 % interval, a bootstrap over utterances. Dashed: ceilings.",
                    by_step(heard, judge, looks, highest),
                    heard,
                )
            else:
                add(
                    f"Word error rate, {who}",
                    "Bars: 95 % interval, a bootstrap over utterances.",
                    by_system(heard, judge, looks, highest),
                )
        for judge in judges(final, "sim_o"):
            shown = [row for row in final if values_of(row, f"sim_o/{judge}")]
            if shown:
                add(
                    f"Similarity of voices, {whose(f'sim_o/{judge}', names)}",
                    "Filled: cosine with the own prompt. Outlined: mean cosine with other speakers' prompts. "
                    "Upright lines: their means. The farther apart, the clearer whose voice it is.",
                    similarities(shown, judge, looks),
                )
        edges = length_edges(final)
        told = {judge: [row for row in final if values_of(row, f"words/{judge}")] for judge in recognisers}
        drawn = {judge: by_length(told[judge], judge, looks, edges) for judge in told if told[judge] and len(edges) > 2}
        for judge, figure in drawn.items():
            figure.axes[0].set_ylim(0, max(other.axes[0].get_ylim()[1] for other in drawn.values()))
            add(
                f"Word error rate by length, {whose(f'wer/{judge}', names)}",
                "Utterances by the length of their recording, as many in each group as in another (n). "
                "Bars: 95 % interval.",
                figure,
                told[judge],
            )
        spoken = [row for row in final if row.run is not None and row.utterances]
        if spoken:
            add(
                "Length of speech",
                "An utterance a mark; on the dashed line it is as long as its recording. "
                "Crosses: did not end by itself.",
                lengths(spoken, looks),
                spoken,
            )
    return charts
