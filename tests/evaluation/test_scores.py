"""Results as files, and the order of utterances."""

import csv
import json
from dataclasses import asdict, fields, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from invented import invent

from melle.evaluation.examples import best_first
from melle.evaluation.scores import Results, SystemScore, UtteranceScore, write_results
from melle.evaluation.wer import ErrorCounts


def test_json_holds_everything(tmp_path):
    results = invent(tmp_path, protocols=("cross-sentence", "continuation"), sound=False)
    write_results(tmp_path, results)
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    rows = []
    for row in content["systems"]:
        utterances = [UtteranceScore(**utterance) for utterance in row["utterances"]]
        row |= {"utterances": utterances}
        row["intervals"] = {name: tuple(ends) for name, ends in row["intervals"].items()}
        row["edits"] = {name: ErrorCounts(**counts) for name, counts in row["edits"].items()}
        rows.append(SystemScore(**row))
    assert Results(rows, content["names"], content["settings"]) == results
    assert results.protocols == ["cross-sentence", "continuation"]
    assert [row.protocol for row in results.of("continuation")] == ["continuation"] * 5


def test_csv_has_a_line_for_every_utterance(tmp_path):
    results = invent(tmp_path, sound=False, count=3)
    odd = replace(results.systems[-1].utterances[0], text='a, "b"\nc é', values={"new": 1.5})
    results.systems[-1].utterances[0] = odd
    write_results(tmp_path, results)
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    spoken = [(row, utterance) for row in results.systems for utterance in row.utterances]
    assert len(lines) == len(spoken) == 15
    for line, (row, utterance) in zip(lines, spoken):
        assert (line["protocol"], line["system"]) == (row.protocol, row.system)
        assert line["step"] == ("" if row.step is None else str(row.step))
        values = asdict(utterance)
        expected = values.pop("values") | {f"reference/{name}": text for name, text in values.pop("references").items()}
        expected |= {f"transcript/{name}": text for name, text in values.pop("transcripts").items()} | values
        expected |= {f"errors/{name}": counts.errors for name, counts in utterance.counts.items()}
        expected |= {f"length/{name}": counts.length for name, counts in utterance.counts.items()}
        assert {key: text for key, text in line.items() if key in expected and key != "step"} == {
            key: "" if value is None else str(value) for key, value in expected.items()
        }
        assert all(not text for key, text in line.items() if key not in {*expected, "protocol", "system", "step"})
    assert lines[12]["text"] == odd.text and lines[12]["new"] == "1.5"


def test_no_results(tmp_path):
    write_results(tmp_path, Results([], {}, {}))
    assert json.loads((tmp_path / "results.json").read_text()) == {"systems": [], "names": {}, "settings": {}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "results.json"]


def utterance(values: dict) -> UtteranceScore:
    """With so many words, of which so many errors are left out."""
    needed = {field.name: None for field in fields(UtteranceScore)}
    words, errors = values["words"], values["errors"]
    texts = {"a": "one " * words}, {"a": "one " * (words - errors)} if words else {"a": "one " * errors}
    texts = [{name: text.strip() for name, text in some.items()} for some in texts]
    return UtteranceScore(**(needed | {"references": texts[0], "transcripts": texts[1], "values": values}))


scores = st.fixed_dictionaries(
    {"errors": st.integers(0, 3), "words": st.sampled_from([0, 3, 4])},
    optional={"sim_o/e": st.sampled_from([-0.5, 0.1, 0.7])},
)


@given(st.lists(scores, max_size=8))
def test_best_first_is_what_picking_the_best_again_and_again_gives(values):
    utterances = [utterance(each) for each in values]
    left, order = list(range(len(values))), []

    def better(one: dict, other: dict) -> bool:
        # Errors per word, compared without dividing; a text without words counts as one word.
        mine = one["errors"] * max(other["words"], 1)
        theirs = other["errors"] * max(one["words"], 1)
        return mine < theirs or (mine == theirs and one.get("sim_o/e", 0) > other.get("sim_o/e", 0))

    while left:
        best = next(n for n in left if not any(better(values[other], values[n]) for other in left))
        order.append(best)
        left.remove(best)
    assert all(a is utterances[n] for a, n in zip(best_first(utterances, "a", "e"), order))
    voices = [each.get("sim_o/e", 0) for each in values]
    ordered = [one.values.get("sim_o/e", 0) for one in best_first(utterances, None, "e")]
    assert ordered == sorted(voices, reverse=True)
    assert best_first(utterances, None, None) == utterances


def test_files_are_replaced_whole(tmp_path: Path):
    for count in (3, 1):
        write_results(tmp_path, invent(tmp_path, sound=False, count=count))
    assert len((tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()) == 1 + 5
