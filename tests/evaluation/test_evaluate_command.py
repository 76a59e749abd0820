import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from tones import write_checkpoint

from evaluate import check_objective, evaluate
from melle.errors import UserError

ROOT = Path(__file__).parents[2]
JUDGES = ["asr.whisper._target_=tones.ToneAsr", "speaker.resemblyzer._target_=tones.ToneSpeaker"]
UNJUDGED = ["asr=none", "speaker=none"]
SMALL = ["vocoder.griffin_lim.iterations=2", "protocol.cross_sentence.min_prompt_seconds=0.1", "device=cpu"]


def config(*overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("evaluate", overrides=[*SMALL, *overrides])


def run(folder: Path, *arguments: str, **how):
    command = [sys.executable, str(ROOT / "evaluate.py"), *arguments]
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": "ascii",  # as of some consoles, and where the output is redirected
    }  # threads as here
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, **how)


def rows(folder: Path) -> list[dict]:
    """What the results say, without times."""
    systems = json.loads((folder / "results.json").read_text())["systems"]
    for row in systems:
        row["metrics"].pop("real_time_factor", None)
        row["deviations"].pop("real_time_factor", None)
        for utterance in row["utterances"]:
            utterance.pop("computing")
    return systems


def test_evaluate_is_a_function(checkpoint, manifest, capsys):
    metrics = evaluate(config(f"checkpoint={checkpoint}", f"data.test={manifest}", *JUDGES, "utterances=6"))
    assert metrics["wer/whisper"] > 0.5
    assert {"sim_o/resemblyzer", "sim_r/resemblyzer", "eos_rate", "real_time_factor"} <= metrics.keys()
    head, *table = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head == "cross_sentence: 6 utterances"
    assert [line.split()[0] for line in table[3:]] == ["recordings", "recordings", "tiny/last"]
    folder = checkpoint.parents[1] / "evaluation"  # in the run's folder
    assert rows(folder)[-1]["system"] == "tiny/last"
    assert {"report.html", "results.csv", "tensorboard", "lists"} <= {path.name for path in folder.iterdir()}


def test_several_checkpoints_and_protocols(checkpoint, manifest, tmp_path):
    write_checkpoint(tmp_path / "runs" / "other" / "checkpoints" / "last.ckpt", 3)
    pattern = f"{tmp_path}/runs/*/checkpoints/*.ckpt"
    protocols = ["protocol=[plain,continuation]", "protocol.continuation.prompt_seconds=0.2"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        arguments = [f"checkpoint={pattern}", f"data.test={manifest}", *UNJUDGED, "utterances=2", *protocols, SMALL[0]]
        evaluate(compose("evaluate", overrides=arguments))
    found = [(row["protocol"], row["step"]) for row in rows(tmp_path / "runs" / "evaluation")]
    assert found == [(p, step) for p in ("plain", "continuation") for step in (None, None, 3, 7)]


def test_toplines_alone_and_metrics_that_cannot_be_had(manifest, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    metrics = evaluate(config("checkpoint=null", f"data.test={manifest}", f"output={tmp_path}/out"))
    assert metrics["duration_ratio"] == 1.0 and not any("wer" in name or "sim" in name for name in metrics)
    lines = caplog.messages
    assert any(line.startswith("asr.whisper is left out") and "[eval]" in line for line in lines)
    assert any(line.startswith("speaker.resemblyzer is left out: ") for line in lines)


def test_several_processes_give_the_table_of_one(checkpoint, manifest, tmp_path):
    settings = [f"checkpoint={checkpoint}", f"data.test={manifest}", *JUDGES, "batch_size=1", "samples=2"]
    done = run(tmp_path, *SMALL, *settings, "output=shared", "processes=2")
    evaluate(config(*settings, f"output={tmp_path}/alone"))
    assert done.returncode == 0, done.stderr
    assert r"2 samples of each (\xb1 over them)" in done.stdout
    assert rows(tmp_path / "shared") == rows(tmp_path / "alone")
    assert (tmp_path / "shared" / "report.html").is_file()


def test_a_sweep_over_sampling_settings(checkpoint, manifest, tmp_path):
    arguments = [*SMALL, f"checkpoint={checkpoint}", f"data.test={manifest}", *JUDGES, "utterances=2"]
    done = run(tmp_path, "-m", "decoding.temperature=0.0,1.0", *arguments, "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "sweep" / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert sorted(row["decoding.temperature"] for row in table) == ["0.0", "1.0"]
    assert [float(row["wer/whisper"]) for row in table] == sorted(float(row["wer/whisper"]) for row in table)
    names = {path.name.rpartition("-")[0] for path in checkpoint.parents[1].glob("*-*")}  # the rest names what is fixed
    assert names == {"evaluation-decoding.temperature-0.0", "evaluation-decoding.temperature-1.0"}


def test_bad_input_is_a_user_error(checkpoint, manifest, tmp_path):
    with pytest.raises(UserError, match="no such checkpoint"):
        evaluate(config(f"checkpoint={tmp_path}/none.ckpt", f"data.test={manifest}"))
    with pytest.raises(UserError, match="no such checkpoint"):  # before the manifest
        evaluate(config(f"checkpoint={tmp_path}/none.ckpt", f"data.test={tmp_path}/none.jsonl"))
    with pytest.raises(UserError, match=r"the folder of a run; give its checkpoint, .*/checkpoints/last\.ckpt"):
        evaluate(config(f"checkpoint={checkpoint.parents[1]}", f"data.test={manifest}"))
    unmade = "no such manifest; no corpus was made with these settings of data.corpus, .*"
    demo = [f"checkpoint={checkpoint}", f"data.corpus.folder={tmp_path}/demo"]
    with pytest.raises(UserError, match=f"{unmade} the data.test that its config.yaml names"):
        evaluate(config(*demo))
    (checkpoint.parents[1] / "config.yaml").write_text(f"data: {{test: {manifest}}}")
    with pytest.raises(UserError, match=f"{unmade} data.test={manifest}, as its config.yaml says"):
        evaluate(config(*demo))
    with pytest.raises(UserError, match="samples=x must be a whole number"):
        evaluate(config(f"checkpoint={checkpoint}", f"data.test={manifest}", *UNJUDGED, "samples=x"))
    with pytest.raises(UserError, match="no such manifest"):
        evaluate(config(f"checkpoint={checkpoint}", f"data.test={tmp_path}/none.jsonl"))
    with pytest.raises(UserError, match="not a checkpoint"):
        evaluate(config(f"checkpoint={manifest}", f"data.test={manifest}"))
    with pytest.raises(UserError, match="processes=0"):
        evaluate(config(f"checkpoint={checkpoint}", f"data.test={manifest}", *UNJUDGED, "processes=0"))
    with pytest.raises(UserError, match=r"add speaker\.unispeech\.checkpoint=…"):
        evaluate(config(f"checkpoint={checkpoint}", f"data.test={manifest}", "asr=none", "speaker=unispeech"))
    with pytest.raises(UserError, match="objective=were: there is no such metric; choose one of wer, wer_plain, cer, "):
        evaluate(config(f"checkpoint={checkpoint}", f"data.test={manifest}", "objective=were/whisper"))
    with pytest.raises(UserError, match=r"objective=wer/x: .* choose one of wer/whisper$"):
        check_objective("wer/x", {"wer/whisper": 0.0})
    check_objective(None, {})
    with pytest.raises(UserError, match="of 40 to 50 s"):
        evaluate(config(f"checkpoint={checkpoint}", f"data.test={manifest}", "data.test_seconds=[40,50]"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["asr.whisper.model=bsae"], "model=bsae: no such folder, and no size of Whisper"),
        (["asr=hubert", "asr.hubert.model=models/hubert"], "model=models/hubert: no such file or folder"),
        (["asr.whisper.normaliser=english_"], "normaliser=english_"),
        (["speaker=wavlm", "speaker.wavlm.model=models/wavlm"], "models/wavlm: no such file or folder"),
        (["speaker=unispeech", "speaker.unispeech.checkpoint=x.pth"], "speaker.unispeech.checkpoint=x.pth: cannot be "),
        (["quality=utmos", "quality.utmos.model=tarepan/SpeechMOS"], "quality.utmos.model=tarepan/SpeechMOS: no such"),
        (["vocoder=[griffin_lim,vocos]", "vocoder.vocos.model=x.ckpt"], "x.ckpt"),
        (
            ["vocoder=[griffin_lim,hifigan]", "vocoder.hifigan.model=models/hifigan"],
            "vocoder.hifigan.model=models/hifigan",
        ),
    ],
)
def test_what_is_mistyped_is_one_sentence_before_anything_is_spoken(checkpoint, manifest, tmp_path, wrong, says):
    if any("bsae" in each for each in wrong):  # without its package Whisper says that first
        pytest.importorskip("faster_whisper")
    judges = [one for one, group in zip(UNJUDGED, ("asr", "speaker")) if not any(w.startswith(group) for w in wrong)]
    with pytest.raises(UserError) as caught:
        evaluate(config(f"checkpoint={checkpoint}", f"data.test={manifest}", f"output={tmp_path}/out", *judges, *wrong))
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_command_fails_in_one_line_and_leaves_nothing_behind(manifest, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    for arguments, code in ([f"data.test={manifest}", "checkpoint=none.ckpt"], 2), (["chekpoint=x"], 2):
        done = run(folder, *arguments)
        assert done.returncode == code
        assert "Traceback" not in done.stderr and done.stdout == ""
    assert "chekpoint" in done.stderr
    assert list(folder.iterdir()) == []
