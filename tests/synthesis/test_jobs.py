"""Lists of jobs are read as people and their machines write them."""

import json

from melle.synthesis.jobs import read_jobs


def test_joined_files_and_paths_of_windows(tmp_path):
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "a.wav").touch()
    job = {"text": "one", "prompt": "voices\\a.wav", "prompt_text": "two"}
    lines = ["\ufeff" + json.dumps(job | {"id": str(number)}) + "\n" for number in range(2)]
    (tmp_path / "jobs.jsonl").write_text("".join(lines), encoding="utf-8")
    jobs = read_jobs(tmp_path / "jobs.jsonl", {"prompt": None, "prompt_text": None}, 0)
    assert [job.id for job in jobs] == ["0", "1"]
    assert all(job.prompt == tmp_path / "voices" / "a.wav" for job in jobs)
