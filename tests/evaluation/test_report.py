"""The page, read by a parser: whole, alone, harmless, and with the audio that the files hold."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from invented import EVIL, invent
from PIL import Image

from melle.evaluation.examples import AudioFiles, as_flac, choose_examples
from melle.evaluation.plots import shorten
from melle.evaluation.report import write_report
from melle.evaluation.tables import make_table

VOID = {"meta", "img", "br", "source"}  # have no end


class Page(HTMLParser):
    """Fails where elements are not nested; keeps elements with their attributes, and the text."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):  # of SVG
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def charts(self) -> list[str]:
        return [image["alt"] for image in self.all("img") if image["src"].startswith("data:image/svg")]

    def pictures(self) -> list[dict[str, str]]:
        return [image for image in self.all("img") if image["src"].startswith("data:image/png")]


def read(folder, results, count=1) -> Page:
    path = write_report(folder, results, count)
    assert path == folder / "report.html" and not list(folder.glob("*.partial"))
    content = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://", content)
    page = Page(content)
    assert not page.all("script") and not page.all("link")
    for _, attributes in page.elements:
        for name in ("src", "srcset", "href"):
            assert name not in attributes or re.match(r"data:|#", attributes[name])
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    aims = [attributes["href"][1:] for _, attributes in page.elements if "href" in attributes]
    assert set(aims) <= set(identities)
    return page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def results(folder):
    return invent(folder)


@pytest.fixture(scope="module")
def page(folder, results):
    return read(folder, results)


def test_every_part_is_there(page, results):
    assert page.charts() == [
        "Word error rate by training, whisper base",
        "Similarity of voices, resemblyzer",
        "Word error rate by length, whisper base",
        "Length of speech",
    ]
    assert "3 checkpoints of 2 runs · 2 toplines · 1 protocol · 12 utterances · 2026-01-31" in page.text
    assert len(page.all("article")) == 2 * 3  # of two runs the best, the worst and another one
    assert len(page.all("audio")) == len(page.pictures()) == 2 * 3 * 3
    for row in results.systems:
        assert row.system in page.text
    assert EVIL in page.text  # in the settings
    assert "RTF: seconds of computing" in page.text and "naturalness" not in page.text


def test_the_page_holds_the_files_samples_and_pictures_of_them(page, folder, results):
    last = results.systems[3]  # of the first run
    best = choose_examples(last, 1)["best"][0]
    recording = next(u.audio for u in results.systems[0].utterances if u.id == best.id)
    for attributes, name in zip(page.all("audio"), (best.prompt_audio, recording, best.audio)):
        kind, _, content = attributes["src"].partition(",")
        assert kind == "data:audio/flac;base64"
        found, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
        expected, _ = soundfile.read(folder / name, dtype="int16")
        assert rate == 16000 and np.abs(found.astype(int) - expected).max() <= 1
    for attributes in page.pictures():
        picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))
        assert picture.size == (260, 90) and np.asarray(picture.convert("L")).std() > 5


def test_other_audio_becomes_16_bit_flac_and_flac_stays(tmp_path):
    samples = np.array([0.0, 0.5, -0.5, 1.5, -1.5])
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    found, rate = soundfile.read(io.BytesIO(as_flac(tmp_path / "a.wav")))
    assert rate == 8000 and found == pytest.approx(samples.clip(-1, 1), abs=2e-4)
    soundfile.write(tmp_path / "a.flac", samples.clip(-1, 1), 8000)
    assert as_flac(tmp_path / "a.flac") == (tmp_path / "a.flac").read_bytes()


def test_what_comes_from_data_is_text(folder, results):
    def spoil(row):
        spoilt = [
            replace(u, id=f"{EVIL}{n}", text=EVIL, speaker=EVIL, transcripts={"whisper": EVIL}, finish_reason=EVIL)
            for n, u in enumerate(row.utterances)
        ]
        run = None if row.run is None else f"$x_{EVIL}\\frac{row.run}\0"
        return replace(row, protocol=EVIL, system=f"{EVIL}{row.system}", run=run, utterances=spoilt)

    names = {"whisper": EVIL, "resemblyzer": EVIL}
    rows = [spoil(row) for row in results.systems]
    page = read(folder, replace(results, systems=rows, names=names))
    assert len(page.charts()) == 4
    assert page.text.count(EVIL) > 40
    assert not any(EVIL in (value or "") for _, a in page.elements for name, value in a.items() if name != "alt")
    read(folder, replace(results, systems=[row for row in rows if row.step != 200]))  # bars with the names


def test_audio_that_is_missing_or_broken_is_left_out(tmp_path):
    results = invent(tmp_path, count=3)
    last = results.systems[3].utterances
    (tmp_path / last[0].audio).unlink()
    (tmp_path / last[1].prompt_audio).write_bytes(b"fLaC, or not")  # of both runs
    rows = [replace(row, utterances=[replace(u, audio=None) for u in row.utterances[:1]] + row.utterances[1:])
            if row.run is None else row for row in results.systems]  # fmt: skip
    page = read(tmp_path, replace(results, systems=rows))
    assert len(page.all("article")) == 6
    assert len(page.all("audio")) == len(page.pictures()) == 18 - 1 - 2 - 2


def test_without_audio_the_rest_stands(tmp_path):
    page = read(tmp_path, invent(tmp_path, count=3, sound=False))
    assert not page.all("audio") and not page.pictures()
    assert len(page.all("article")) == 6 and len(page.charts()) == 3


@pytest.mark.parametrize(
    ("options", "charts", "articles"),
    [
        ({"runs": {"one": (5,)}}, ["error", "Similarity", "error", "Length"], 3),
        ({"runs": {}}, ["error", "Similarity", "error"], 0),
        ({"recognisers": ()}, ["Similarity", "Length"], 6),
        ({"encoders": ()}, ["error", "error", "Length"], 6),
        ({"recognisers": (), "encoders": ()}, ["Length"], 2),  # nothing is best or worst
        (
            {"recognisers": ("whisper", "pocketsphinx"), "samples": 2},
            ["error"] * 2 + ["Sim"] + ["error"] * 2 + ["Le"],
            6,
        ),
        ({"runs": {f"run{n}": (n, n) for n in range(8)}, "count": 2}, ["error", "Similarity", "Length"], 6),
    ],
)
def test_what_was_not_measured_is_left_out(tmp_path, options, charts, articles):
    page = read(tmp_path, invent(tmp_path, sound=False, **options))
    assert len(page.charts()) == len(charts)
    assert all(part in title for part, title in zip(charts, page.charts()))
    assert len(page.all("article")) == articles


def test_the_page_is_the_same_every_time(tmp_path):
    results = invent(tmp_path, {"one": (1, 2)}, count=3)
    contents = [write_report(tmp_path, results, count=1).read_bytes() for _ in range(2)]
    assert contents[0] == contents[1]


def test_errors_can_be_told_apart(folder, results):
    row = results.systems[3]
    spoken = [replace(u, references={"whisper": "one <b> two six"}, transcripts={"whisper": "four two six <i>"})
              for u in row.utterances]  # fmt: skip
    content = write_report(folder, replace(results, systems=[replace(row, utterances=spoken)]), 1).read_text()
    shown = " ".join(re.search(r"<dd>(.*?)</dd>", content, flags=re.DOTALL)[1].split())
    assert shown in (
        "<mark><s>one</s> four</mark> <del>&lt;b&gt;</del> two six <ins>&lt;i&gt;</ins>",
        "<del>one</del> <mark><s>&lt;b&gt;</s> four</mark> two six <ins>&lt;i&gt;</ins>",
    )


def test_plots_are_drawn_once_and_a_dark_page_inverts_them(page, folder):
    images = [image["src"] for image in page.all("img") if image["src"].startswith("data:image/svg")]
    svgs = [base64.b64decode(uri.partition(",")[2]).decode() for uri in images]
    assert len(svgs) == 4 and all("system-ui" in svg and "DejaVu" not in svg for svg in svgs)
    content = (folder / "report.html").read_text(encoding="utf-8")
    assert re.search(r"prefers-color-scheme: dark\).*?\.chart img \{ filter: invert", content, flags=re.DOTALL)
    for number in (0, 2):  # what has lines has a legend of all
        names = ("recordings", "recordings through mel and Griffin-Lim", "first", "second")
        assert all(f">{name}</text>" in svgs[number] for name in names)


def test_chosen_utterances_are_the_best_the_worst_and_others(results):
    row = results.systems[3]
    rates = [u.counts["wer/whisper"].rate for u in row.utterances]
    chosen = {
        name: [row.utterances.index(utterance) for utterance in group]
        for name, group in choose_examples(row, 3).items()
    }
    assert list(chosen) == ["best", "worst", "at random"]
    assert [rates[n] for n in chosen["best"]] == sorted(rates)[:3]
    assert [rates[n] for n in chosen["worst"]] == sorted(rates, reverse=True)[:3]
    assert len({n for group in chosen.values() for n in group}) == 9
    assert [len(group) for group in choose_examples(row, 5).values()] == [5, 5, 2]


def test_the_best_checkpoint_of_a_column_stands_out(folder, results):
    *toplines, one, two, three = results.systems
    rows = [*toplines]
    for row, rate, voice, others in ((one, 0.2, 0.5, 0.1), (two, 0.1, 0.5, 0.2), (three, 0.3, 0.4, 0.9)):
        metrics = {"wer/whisper": rate, "sim_o/resemblyzer": voice, "sim_others/resemblyzer": others}
        rows.append(replace(row, metrics=metrics))
    table = make_table(rows, results.names)
    bold = {column.head: [column.cells[number] for number in sorted(column.bold)] for column in table.columns}
    assert bold.pop("SIM-o") == ["0.500", "0.500"]  # of two that look the same both
    assert bold.pop("WER %") == ["10.0"]
    assert not any(bold.values())  # "others" has no better
    assert not any(column.bold for column in make_table([*toplines, one], results.names).columns)
    content = write_report(folder, replace(results, systems=rows), 0).read_text()
    assert re.findall(r"<strong>([^<]*)</strong>", content) == ["0.500", "10.0", "0.500"] and "is bold" in content
    assert "<strong>" not in write_report(folder, replace(results, systems=[*toplines, one]), 0).read_text()


def test_names_in_plots():
    assert shorten("a\nb\0c\ud800") == "a b c "
    assert shorten("x" * 99) == "x" * 19 + "…" + "x" * 20


def test_a_file_is_read_once(folder, results, monkeypatch):
    files = AudioFiles(folder)
    name = results.systems[0].utterances[0].audio
    assert files.read(name) is files.read(name) and files.read(None) is None and files.read("not there.flac") is None
