"""What is written for TensorBoard, read back by its own reader."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from invented import TOPLINES, invent
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from melle.evaluation.tensorboard import write_tensorboard


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"audio": 0, "scalars": 0}).Reload()


@pytest.fixture
def results(tmp_path):
    return invent(tmp_path, count=4)


def test_curves_level_lines_and_audio(tmp_path, results):
    events = write_tensorboard(tmp_path, results, count=2)
    assert events == tmp_path / "tensorboard"
    assert sorted(path.name for path in events.iterdir()) == [
        "first",
        "recordings",
        "recordings-through-mel-and-Griffin-Lim",
        "second",
    ]
    first = read(events / "first")
    rows = [row for row in results.systems if row.run == "first"]
    assert set(first.Tags()["scalars"]) == {f"evaluation/cross-sentence/{name}" for name in rows[0].metrics}
    curve = first.Scalars("evaluation/cross-sentence/wer/whisper")
    assert [event.step for event in curve] == [100, 200]
    assert [event.value for event in curve] == pytest.approx([row.metrics["wer/whisper"] for row in rows])
    level = read(events / "recordings").Scalars("evaluation/cross-sentence/wer/whisper")
    assert [event.step for event in level] == [100, 200]
    assert [event.value for event in level] == pytest.approx([results.systems[0].metrics["wer/whisper"]] * 2)

    tags = [f"evaluation/cross-sentence/anna-00{number}" for number in range(2)]
    assert sorted(first.Tags()["audio"]) == tags
    audio = first.Audio(tags[0])
    assert [event.step for event in audio] == [100, 200]
    file = soundfile.info(tmp_path / rows[1].utterances[0].audio)
    assert audio[1].sample_rate == 16000 and audio[1].length_frames == file.frames
    assert sorted(read(events / "recordings").Tags()["audio"]) == tags


def test_it_replaces_its_own_and_nothing_else(tmp_path, results):
    training = tmp_path / "tensorboard" / "first" / "events.out.tfevents.1.host"
    training.parent.mkdir(parents=True)
    training.write_bytes(b"")
    write_tensorboard(tmp_path, results)
    others = [row for row in results.systems if row.run != "second"]
    write_tensorboard(tmp_path, replace(results, systems=others), count=0)
    names = sorted(path.parent.name for path in (tmp_path / "tensorboard").glob("*/*"))
    assert names == ["first", "first", *sorted(name.replace(" ", "-") for name in TOPLINES)]
    assert training.exists() and not (tmp_path / "tensorboard" / "second").exists()
    first = read(tmp_path / "tensorboard" / "first")
    assert len(first.Scalars("evaluation/cross-sentence/wer/whisper")) == 2 and not first.Tags()["audio"]


def test_odd_names_missing_audio_and_no_steps(tmp_path):
    results = invent(tmp_path, {"../a b": (3,), "../A-b": (3,), "..": (4,)}, count=2, sound=False)
    events = write_tensorboard(tmp_path, results)
    assert sorted(path.name for path in events.iterdir())[:3] == ["A-b-2", "a-b", "recordings"]
    assert (events / "run").is_dir() and not (tmp_path / "events").exists()
    level = write_tensorboard(tmp_path, replace(results, systems=results.of("cross-sentence")[:1])) / "recordings"
    assert [event.step for event in read(level).Scalars("evaluation/cross-sentence/wer/whisper")] == [0]
