"""The tables of scores: their columns and lines, for the console and for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from melle.evaluation.metrics import judge_of, kind_of, measured, metric_of
from melle.evaluation.scores import Results, SystemScore


@dataclass(frozen=True)
class Line:
    """Of a system's scores, or below it of the best of its samples."""

    row: SystemScore
    best: bool = False

    @property
    def name(self) -> str:
        return f"best of {self.row.samples}" if self.best else self.row.system

    @property
    def kind(self) -> str:
        return "topline" if self.row.run is None else "best" if self.best else "model"


@dataclass(frozen=True)
class Column:
    """``head`` says what, ``judge`` by whom; ``cells`` are a text for every line, ``bold`` those that stand out."""

    head: str
    judge: str
    cells: list[str]
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """One protocol's scores; the column with the systems' names is not among ``columns``."""

    lines: list[Line]
    columns: list[Column]

    def groups(self) -> list[tuple[str, list[Column]]]:
        """The columns by the judges that stand above them."""
        return [(judge, list(columns)) for judge, columns in groupby(self.columns, lambda column: column.judge)]


def make_table(rows: Sequence[SystemScore], titles: dict[str, str], narrow: bool = False) -> Table:
    """Toplines and checkpoints; of several checkpoints the best values are bold. ``narrow``: without minor columns."""
    lines = [Line(row, best) for row in rows for best in ([False, True] if row.best else [False])]

    def own(show: Callable[[SystemScore], str]) -> list[str]:
        """Cells of what only a row itself has."""
        return ["" if line.best else show(line.row) for line in lines]

    columns = [Column("step", "", own(lambda row: "" if row.step is None else str(row.step)))]
    for name in measured(rows):
        metric, title = metric_of(name), titles.get(judge_of(name), judge_of(name))
        if narrow and not metric.narrow:
            continue
        columns.append(Column(metric.head, title, [_cell(line, name) for line in lines], _bold(lines, name)))
        if kind_of(name) == "wer":
            interval = own(lambda row, name=name: " - ".join(f"{100 * end:.1f}" for end in row.intervals.get(name, ())))
            columns.append(Column("95 % interval", title, interval))
            columns.append(Column("S+D+I/words", title, own(lambda row, name=name: str(row.edits.get(name, "")))))
    return Table(lines, [column for column in columns if any(column.cells)])


def meanings(rows: Sequence[SystemScore]) -> list[tuple[str, str]]:
    """What the columns mean."""
    metrics = [metric_of(kind) for kind in dict.fromkeys(map(kind_of, measured(rows)))]
    found = [(metric.head, metric.meaning) for metric in metrics if metric.meaning]
    if any(row.samples > 1 for row in rows):
        found.append(("±", "standard deviation over the samples"))
    if any(row.best for row in rows):
        found.append(("best of N", "of every utterance its best sample"))
    return found


def format_tables(results: Results) -> str:
    """The scores as aligned plain text, a table for every protocol, without the columns that no system has."""
    texts = []
    for protocol in results.protocols:
        rows = results.of(protocol)
        count = len({utterance.id for row in rows for utterance in row.utterances})
        samples = max(row.samples for row in rows)
        head = f"{protocol}: {count} utterances" + (f", {samples} samples of each (± over them)" if samples > 1 else "")
        texts.append(f"{head}\n{_align(make_table(rows, {}, narrow=True))}")
    legend = [f"{name}: {title}" for name, title in results.names.items() if name != title]
    legend += [f"checkpoints speak through {results.speaking}"] if results.speaking else []
    return "\n\n".join([*texts, *(["\n".join(legend)] if legend else [])])


def _cell(line: Line, name: str) -> str:
    metric = metric_of(name)
    if line.best:
        return metric.show(line.row.best.get(name))
    deviation = line.row.deviations.get(name)
    return metric.show(line.row.metrics.get(name)) + ("" if deviation is None else f" ± {metric.show(deviation)}")


def _bold(lines: Sequence[Line], name: str) -> frozenset[int]:
    """The best among the checkpoints, by what is shown of it; of one checkpoint none is."""
    metric, models = metric_of(name), {n: line.row for n, line in enumerate(lines) if line.kind == "model"}
    values = {n: row.metrics[name] for n, row in models.items() if name in row.metrics}
    if not metric.better or len(values) < 2:
        return frozenset()
    best = metric.show((max if metric.better > 0 else min)(values.values()))
    return frozenset(number for number, value in values.items() if metric.show(value) == best)


def _align(table: Table) -> str:
    names = [f"  {line.name}" if line.best else line.name for line in table.lines]
    columns = [["system", "", *names], *([column.head, column.judge, *column.cells] for column in table.columns)]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]).rstrip()
        for cells in zip(*columns)
    ]
    heads = lines[:2] if lines[1] else lines[:1]  # where nobody judged, there is no line of judges
    return "\n".join([*heads, "  ".join("-" * width for width in widths), *lines[2:]])
