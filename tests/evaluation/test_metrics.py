"""How scores are shown."""

from dataclasses import replace

import pytest
from invented import NAMES, invent

from melle.evaluation.metrics import METRICS, measured, metric_of
from melle.evaluation.scores import Results, SystemScore
from melle.evaluation.tables import format_tables, make_table
from melle.evaluation.wer import ErrorCounts


def row(system="a", run="r", step=1, samples=1, **others) -> SystemScore:
    return SystemScore("cross-sentence", system, run, step, samples, **others)


def test_numbers():
    assert METRICS["wer"].show(0.1234) == "12.3" and METRICS["nearest_right"].show(0.996) == "100"
    assert METRICS["sim_o"].show(0.5) == "0.500" and METRICS["pitch"].show(123.4) == "123"
    assert METRICS["wer"].show(None) == "" and METRICS["wer"].show(0.0) == "0.0"
    assert metric_of("wer/whisper") is METRICS["wer"]
    assert metric_of("something new/x").head == "something new" and metric_of("something new/x").show(1) == "1.000"


def test_order_is_by_judge_and_then_as_listed():
    rows = [
        row(metrics={"sim_others/e": 0.1, "wer/b": 0.1, "pitch": 1.0, "unknown/b": 1.0}),
        row(metrics={"sim_o/e": 0.1, "cer/b": 0.1, "wer/c": 0.1, "wer_plain/b": 0.2, "real_time_factor": 1.0}),
    ]
    assert measured(rows) == [
        "sim_o/e", "sim_others/e", "wer/b", "wer_plain/b", "cer/b", "unknown/b", "pitch", "real_time_factor", "wer/c",
    ]  # fmt: skip
    assert measured([row(metrics={})]) == []


def test_table():
    rows = [
        row("recordings", None, None, metrics={"wer/whisper": 0.05}, intervals={"wer/whisper": (0.0, 0.1)}),
        row(
            step=1000,
            samples=3,
            metrics={"wer/whisper": 0.25, "eos_rate": 0.5},
            intervals={"wer/whisper": (0.2, 0.3)},
            edits={"wer/whisper": ErrorCounts(24, 1, 2, 3)},
            deviations={"wer/whisper": 0.012},
            best={"wer/whisper": 0.125},
        ),
    ]
    table = make_table(rows, NAMES)
    assert [line.name for line in table.lines] == ["recordings", "a", "best of 3"]
    assert [line.kind for line in table.lines] == ["topline", "model", "best"]
    assert [(column.head, column.judge, column.cells) for column in table.columns] == [
        ("step", "", ["", "1000", ""]),
        ("WER %", "whisper base", ["5.0", "25.0 ± 1.2", "12.5"]),
        ("95 % interval", "whisper base", ["0.0 - 10.0", "20.0 - 30.0", ""]),
        ("S+D+I/words", "whisper base", ["", "1+2+3/24", ""]),
        ("EOS %", "", ["", "50.0", ""]),
    ]
    assert [(judge, len(columns)) for judge, columns in table.groups()] == [("", 1), ("whisper base", 3), ("", 1)]
    assert [column.head for column in make_table(rows[:1], NAMES).columns] == ["WER %", "95 % interval"]


def test_tables_are_aligned_and_leave_out_what_nobody_has(tmp_path):
    results = invent(tmp_path, protocols=("cross-sentence", "continuation"), sound=False, samples=3)
    rows = [replace(each, metrics={}, intervals={}, edits={}, deviations={}, best={}) if each.protocol == "continuation"
            else each for each in results.systems]  # fmt: skip
    first, second = format_tables(replace(results, systems=rows)).split("\n\ncontinuation")
    title, *lines = first.splitlines()
    assert title == "cross-sentence: 12 utterances, 3 samples of each (± over them)"
    assert len(lines) == 2 + 1 + 5 + 3  # heads, the line below them, systems, and the best of three of each checkpoint
    columns = [[place for place, sign in enumerate(lines[2]) if sign == " "]]
    for line in lines:  # between the columns there is nothing
        assert all(line[place : place + 1] in ("", " ") for place in columns[0])
        assert line == line.rstrip()
    assert sum(line.startswith("  best of 3") for line in lines) == 3
    assert "UTMOS" not in first and "WER %" not in second and "step" in second
    assert format_tables(Results([], {}, {})) == ""


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_fits_its_column(name):
    metric = METRICS[name]
    assert metric.better in (-1, 0, 1) and metric.head
    _step, column = make_table([row(metrics={name: 0.5})], {}).columns
    assert column.head == metric.head and column.cells == [metric.show(0.5)] and metric.meaning
