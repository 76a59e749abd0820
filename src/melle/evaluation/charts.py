"""Which plots a report shows: errors against training, voices of same and other speakers, errors by length, lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from melle.evaluation.metrics import measured, title_of
from melle.evaluation.plots import (
    DARK,
    LIGHT,
    Canvas,
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
    rates_by_length,
    similarities,
    svg_uri,
    values_of,
)
from melle.evaluation.scores import SystemScore


@dataclass(frozen=True)
class Chart:
    """A plot in both themes: its title, a sentence on how to read it, and a legend where it names nobody itself."""

    title: str
    note: str
    legend: list[Look]
    light: str  # data URIs
    dark: str


def last_of_runs(rows: Sequence[SystemScore]) -> list[SystemScore]:
    """The last checkpoint of every run."""
    last: dict[str, SystemScore] = {}
    for row in rows:
        if row.run is not None and (row.run not in last or (row.step or 0) >= (last[row.run].step or 0)):
            last[row.run] = row
    return list(last.values())


def judges_of(rows: Sequence[SystemScore], kind: str) -> list[str]:
    """Names of those who measured ``kind``, such as "wer": the recognisers."""
    return [name.partition("/")[2] for name in measured(rows) if name.partition("/")[0] == kind]


def make_charts(rows: Sequence[SystemScore], titles: dict[str, str], looks: Looks) -> list[Chart]:
    """All plots of one protocol that can be drawn."""
    final = [row for row in rows if row.run is None] + last_of_runs(rows)
    recognisers = judges_of(rows, "wer")
    charts: list[Chart] = []

    def add(title: str, note: str, draw: Callable[[Canvas], Figure], shown: Sequence[SystemScore] = ()) -> None:
        legend = list(dict.fromkeys(looks[key(row)] for row in shown))
        charts.append(Chart(title, note, legend, *(svg_uri(draw, Canvas(theme, looks)) for theme in (LIGHT, DARK))))

    # One scale for all recognisers, so that they can be compared.
    scored = {judge: [row for row in rows if f"wer/{judge}" in row.metrics] for judge in recognisers}
    highest = max((rate(row, judge)[2] for judge, some in scored.items() for row in some), default=0.0)
    for judge in recognisers:
        who = title_of(judge, titles)
        if curves(scored[judge]):
            note = "Bands and bars: 95 % interval, a bootstrap over utterances. Dashed: toplines."
            add(
                f"Word error rate by training, {who}",
                note,
                partial(by_step, scored[judge], judge, highest),
                scored[judge],
            )
        else:
            note = "Bars: 95 % interval, a bootstrap over utterances."
            add(f"Word error rate, {who}", note, partial(by_system, scored[judge], judge, highest))
    for judge in judges_of(final, "sim_o"):
        shown = [row for row in final if values_of(row, f"sim_o/{judge}")]
        note = (
            "Filled: cosine with the own prompt. Outlined: mean cosine with other speakers' prompts. Upright lines: "
            "their means. The farther apart, the clearer whose voice it is."
        )
        if shown:
            add(f"Similarity of voices, {title_of(judge, titles)}", note, partial(similarities, shown, judge))
    edges = length_edges(final)
    lengthwise = {judge: [row for row in final if values_of(row, f"words/{judge}")] for judge in recognisers}
    rates = {judge: rates_by_length(shown, judge, edges) for judge, shown in lengthwise.items() if len(edges) > 2}
    top = max((100 * one.high for some in rates.values() for row in some for one in row.values()), default=0.0)
    for judge, found in rates.items():
        note = "Utterances by the length of their recording, as many in each group as in another. Bars: 95 % interval."
        if shown := lengthwise[judge]:
            draw = partial(by_length, shown, found, edges, top)
            add(f"Word error rate by length, {title_of(judge, titles)}", note, draw, shown)
    spoken = [row for row in final if row.run is not None and row.utterances]
    if spoken:
        note = "An utterance a mark; on the dashed line it is as long as its recording. Crosses: did not end by itself."
        add("Length of speech", note, partial(lengths, spoken), spoken)
    return charts
