import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from tones import write_checkpoint

from evaluate import evaluate
from melle.errors import UserError

ROOT = Path(__file__).parents[2]


def config(*overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("evaluate", overrides=["vocoder.iterations=2", "min_prompt_seconds=0.1", *overrides])


def test_evaluate_is_a_function(checkpoint, manifest, capsys):
    cfg = config(
        f"checkpoint={checkpoint}",
        f"test={manifest}",
        "asr._target_=tones.ToneAsr",
        "speaker._target_=tones.ToneSpeaker",
        "utterances=6",
        "device=cpu",
    )
    metrics = evaluate(cfg)
    assert metrics["wer"] > 0.5 and {"similarity", "natural_stops", "real_time_factor"} <= set(metrics)
    table, last = capsys.readouterr().out.split("\n6 utterances")
    assert [line.split()[0] for line in table.splitlines()[2:]] == ["recordings", "recordings", "tiny/last"]
    assert "results.json" in last
    results = json.loads((checkpoint.parents[1] / "results.json").read_text())  # in the run's folder
    assert results["systems"][-1]["system"] == "tiny/last"


def test_several_checkpoints_of_several_runs(checkpoint, manifest, tmp_path):
    write_checkpoint(tmp_path / "runs" / "other" / "checkpoints" / "last.ckpt", 3)
    pattern = f"{tmp_path}/runs/*/checkpoints/*.ckpt"
    evaluate(config(f"checkpoint={pattern}", f"test={manifest}", "asr=none", "speaker=none", "utterances=2"))
    results = json.loads((tmp_path / "runs" / "results.json").read_text())
    assert [system["step"] for system in results["systems"]] == [None, None, 3, 7]
    both = f"[{checkpoint},{tmp_path}/runs/other/checkpoints/last.ckpt]"
    output = tmp_path / "chosen"
    evaluate(config(f"checkpoint={both}", f"test={manifest}", "asr=none", "speaker=none", f"output={output}"))
    assert len(json.loads((output / "results.json").read_text())["systems"]) == 4


def test_ceilings_alone_and_metrics_that_cannot_be_had(manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    metrics = evaluate(config("checkpoint=null", f"test={manifest}", f"output={tmp_path}/out"))
    assert metrics == {"duration_ratio": 1.0}
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("Word error rate is left out") and "[eval]" in line for line in lines)
    assert any(line.startswith("Speaker similarity is left out") and "[speaker]" in line for line in lines)


def test_bad_input_is_a_user_error(checkpoint, manifest, tmp_path):
    with pytest.raises(UserError, match="no such checkpoint"):
        evaluate(config(f"checkpoint={tmp_path}/none.ckpt", f"test={manifest}"))
    with pytest.raises(UserError, match="no such manifest"):
        evaluate(config(f"checkpoint={checkpoint}", f"test={tmp_path}/none.jsonl"))
    with pytest.raises(UserError, match="not a checkpoint"):
        evaluate(config(f"checkpoint={manifest}", f"test={manifest}"))


def test_the_command_fails_in_one_line_and_leaves_nothing_behind(tmp_path):
    for arguments, code in (["checkpoint=none.ckpt"], 2), (["chekpoint=x"], 1):
        command = [sys.executable, str(ROOT / "evaluate.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code
        assert "Traceback" not in done.stderr and done.stdout == ""
    assert "chekpoint" in done.stderr
    assert list(tmp_path.iterdir()) == []
