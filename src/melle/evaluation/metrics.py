"""The metrics by name: how each is shown, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from melle.evaluation.scores import Results, SystemScore


@dataclass(frozen=True)
class Metric:
    """How a metric is shown (head, digits after the point, as per cent), and whether more of it is better."""

    head: str
    digits: int
    percent: bool = False
    better: int = 0  # 1: higher; -1: lower; 0: neither
    narrow: bool = True  # whether narrow tables have it, too

    def show(self, value: float | None) -> str:
        return "" if value is None else f"{100 * value if self.percent else value:.{self.digits}f}"


# A name may go on with whose it is: "wer/whisper", "sim_o/resemblyzer".
METRICS = {
    "wer": Metric("WER %", 1, True, -1),
    "wer_plain": Metric("plain WER %", 1, True, -1),  # without the recogniser's hint
    "cer": Metric("CER %", 1, True, -1),
    "sim_o": Metric("SIM-o", 3, better=1),  # cosine with the prompt's voice
    "sim_r": Metric("SIM-r", 3, better=1),  # with that of the prompt through mel and the row's vocoder
    "sim_others": Metric("others", 3),  # mean cosine with the other speakers' prompts
    "nearest_right": Metric("nearest %", 0, True, 1),  # utterances most like a prompt of the right speaker
    "utmos": Metric("UTMOS", 2, better=1),
    "dnsmos": Metric("DNSMOS", 2, better=1),
    "dnsmos_signal": Metric("signal", 2, better=1),
    "dnsmos_background": Metric("background", 2, better=1),
    "dnsmos_p808": Metric("P.808", 2, better=1),
    "mel_distance": Metric("mel dist.", 3, better=-1),  # of a recording and what a vocoder makes of its mel
    "natural_stops": Metric("stops %", 1, True, 1),  # utterances that the model ended by itself
    "duration_ratio": Metric("length", 2),  # seconds spoken per second recorded
    "words_per_second": Metric("words/s", 2, narrow=False),
    "pitch": Metric("pitch Hz", 0, narrow=False),  # median F0, mean over utterances
    "pitch_deviation": Metric("± semitones", 1, narrow=False),  # of F0 within utterances, mean over them
    "real_time_factor": Metric("RTF", 2, better=-1),  # seconds of computing per second of speech
}
RATES = ("wer", "wer_plain", "cer")


def metric_of(name: str) -> Metric:
    """The metric of a name such as "wer/whisper"; what is not known is shown as a plain number."""
    kind = name.partition("/")[0]
    return METRICS.get(kind, Metric(kind, 3))


def whose(name: str, names: dict[str, str]) -> str:
    """Who measured it, as shown: "whisper base" for "wer/whisper"."""
    return names.get(name.partition("/")[2], name.partition("/")[2])


def measured(rows: Sequence[SystemScore]) -> list[str]:
    """Names of the metrics that any of the rows has, in the order of ``METRICS``, then of their judges."""
    found = dict.fromkeys(name for row in rows for name in row.metrics)
    order = list(METRICS)
    kinds = {name: name.partition("/")[0] for name in found}
    judges = list(dict.fromkeys(name.partition("/")[2] for name in found))
    return sorted(
        found,
        key=lambda name: (
            judges.index(name.partition("/")[2]),
            order.index(kinds[name]) if kinds[name] in order else len(order),
        ),
    )


def format_tables(results: Results) -> str:
    """The scores as aligned plain text, a table for every protocol, without the columns that no system has."""
    tables = []
    for protocol in results.protocols:
        rows = results.of(protocol)
        count = len({utterance.id for row in rows for utterance in row.utterances})
        samples = max(row.samples for row in rows)
        head = f"{protocol}: {count} utterances" + (f", {samples} samples of each (± over them)" if samples > 1 else "")
        tables.append(f"{head}\n{_align(cells(rows, {}, narrow=True))}")
    legend = [f"{name}: {title}" for name, title in results.names.items() if name != title]
    legend += [f"checkpoints speak through {results.speaking}"] if results.speaking else []
    return "\n\n".join([*tables, *(["\n".join(legend)] if legend else [])])


def cells(rows: Sequence[SystemScore], names: dict[str, str], narrow: bool = False) -> list[list[str]]:
    """The table as text: two lines of heads (what, and by whom), then the rows, and below each its best of N.

    ``narrow``: without what is of less weight.
    """
    columns: list[list[str]] = []

    def add(what: str, who: str, values: Sequence[str]) -> None:
        if any(values):
            columns.append([what, who, *values])

    lines = [(row, best) for row in rows for best in ([False, True] if row.best else [False])]
    add("system", "", [f"  best of {row.samples}" if best else row.system for row, best in lines])
    add("step", "", ["" if best or row.step is None else str(row.step) for row, best in lines])
    for name in measured(rows):
        metric, who, shown = metric_of(name), whose(name, names), []
        if narrow and not metric.narrow:
            continue
        for row, best in lines:
            text = metric.show((row.best if best else row.metrics).get(name))
            deviation = None if best else row.deviations.get(name)
            shown.append(text if deviation is None else f"{text} ± {metric.show(deviation)}")
        add(metric.head, who, shown)
        if name.startswith("wer/"):
            add("95 % interval", who, [_interval(row, name, best) for row, best in lines])
            add("S+D+I/words", who, [_edits(row, name, best) for row, best in lines])
    return [list(line) for line in zip(*columns)]


def _interval(row: SystemScore, name: str, best: bool) -> str:
    if best or name not in row.intervals:
        return ""
    return " - ".join(f"{100 * end:.1f}" for end in row.intervals[name])


def _edits(row: SystemScore, name: str, best: bool) -> str:
    if best or name not in row.edits:
        return ""
    *edits, words = row.edits[name]
    return f"{'+'.join(map(str, edits))}/{words}"


def _align(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        ).rstrip()
        for line in table
    ]
    return "\n".join([*lines[:2], "  ".join("-" * width for width in widths), *lines[2:]])
