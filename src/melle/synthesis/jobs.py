"""Many texts from a file to a folder, in batches; one that cannot be spoken is reported and does not stop the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from melle.audio import save_audio
from melle.data.manifest import portable
from melle.devices import BrokenDevice, device_errors
from melle.errors import UserError
from melle.files import check_writable
from melle.synthesis.options import check_seed
from melle.synthesis.speech import Speech
from melle.synthesis.subtitles import write_subtitles
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.voices import find_voice
from melle.text.languages import find_language
from melle.text.normalise import HALF

MAX_NAME = 200  # bytes of UTF-8; most file systems take 255, endings included
FIELDS = {"text": str, "id": str, "prompt": str, "prompt_text": str, "voice": str, "seed": int}


@dataclass(frozen=True)
class Job:
    """One text to speak; ``id`` names its file."""

    id: str
    text: str
    prompt: Path | None
    prompt_text: str | None
    seed: int


def read_jobs(path: Path, voice: dict[str, Any], seed: int, model: Path | None = None) -> list[Job]:
    """The jobs of a JSONL file. Raises UserError for a line that is none.

    Paths count from the file's folder. ``voice`` (prompt, prompt_text) and ``seed`` are for jobs without their own;
    jobs without an id are named after their line. ``model``: the exported model whose voices jobs may name.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold the other ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a JSONL file in UTF-8") from None
    jobs: dict[str, Job] = {}
    for number, line in enumerate(lines, 1):
        line = line.removeprefix("\ufeff")  # of files that were joined
        if not line.strip():
            continue
        job = _read_job(line, f"{path}:{number}", path.parent, f"{number:05d}", voice, seed, model)
        if job.id in jobs:
            raise UserError(f'{path}:{number}: the id "{job.id}" was there before; give every job its own')
        jobs[job.id] = job
    if not jobs:
        raise UserError(f'{path}: holds no job; write lines such as {{"text": "four two"}}')
    return list(jobs.values())


def run_jobs(
    tts: Synthesizer,
    jobs: Sequence[Job],
    folder: Path,
    batch_size: int = 16,
    retries: int = 0,
    subtitles: str | None = None,
    **how: Any,
) -> int:
    """Speak jobs to ``folder``/ID.wav, and write ``folder``/results.jsonl; returns how many failed.

    ``subtitles``: an ending, such as ".srt"; then the times of each one's words are in ``folder``/ID.srt, too.

    Files that are there are left as they are, so that the same command goes on where it was interrupted. Jobs of like
    length share a batch, the longest first, so that a lack of memory shows at once. A batch that cannot be spoken, or
    asks for more memory than there is, is tried again in halves. Raises UserError where the device broke: each further
    job would fail, too.
    """
    check_writable(folder, folder=True)
    folder.mkdir(parents=True, exist_ok=True)
    left = [job for job in jobs if not (folder / f"{job.id}.wav").exists()]
    left.sort(key=lambda job: len(job.text), reverse=True)
    how["words"], language = subtitles is not None, find_language(how.get("language"), tts.tokenizer)
    failed = 0
    with (
        tqdm(total=len(jobs), initial=len(jobs) - len(left), desc=str(folder), unit="text") as progress,
        (folder / "results.jsonl").open("a", encoding="utf-8") as results,
    ):
        for start in range(0, len(left), batch_size):
            batch = left[start : start + batch_size]
            try:
                outcomes = _speak(tts, batch, retries, how)
            except BrokenDevice as error:
                raise UserError(f"{error}: the same command goes on with the {len(left) - start} texts left") from None
            for job, outcome in zip(batch, outcomes):
                line: dict[str, Any] = {"id": job.id, "text": job.text}
                if isinstance(outcome, str):
                    failed += 1
                    line["error"] = outcome
                    tqdm.write(f"{job.id}: {outcome}")
                else:
                    if subtitles is not None:  # first, as what has its sound is done
                        write_subtitles(folder / f"{job.id}{subtitles}", outcome.words, language)
                    save_audio(folder / f"{job.id}.wav", outcome.waveform, outcome.sample_rate)
                    line |= {"seconds": round(outcome.seconds, 3), "finish_reason": outcome.finish_reason}
                    line["seed"] = outcome.seed
                    if outcome.parts:
                        line["parts"] = outcome.parts
                results.write(json.dumps(line, ensure_ascii=False) + "\n")
                results.flush()
            progress.update(len(batch))
    return failed


def _speak(tts: Synthesizer, batch: Sequence[Job], retries: int, how: dict[str, Any]) -> list[Speech | str]:
    """What was said, or why it was not."""
    try:
        with device_errors(tts.device, f"speaking a batch of {len(batch)}", "give fewer at a time (--batch-size)"):
            return list(
                tts(
                    [job.text for job in batch],
                    [job.prompt for job in batch],
                    [job.prompt_text for job in batch],
                    seed=[job.seed for job in batch],
                    retries=retries,
                    **how,
                )
            )
    except BrokenDevice:
        raise
    except (UserError, RuntimeError) as error:
        if len(batch) == 1:
            reason = " ".join(str(error).split())[:300]
            return [reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"]
    half = len(batch) // 2
    return _speak(tts, batch[:half], retries, how) + _speak(tts, batch[half:], retries, how)


def _read_job(
    line: str, where: str, folder: Path, name: str, voice: dict[str, Any], seed: int, model: Path | None
) -> Job:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:  # of numbers of thousands of digits, too
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(f'{where}: not JSON ({reason}); write a line such as {{"text": "four two"}}') from None
    if not isinstance(values, dict) or "text" not in values:
        raise UserError(f'{where}: has no "text"; write a line such as {{"text": "four two"}}')
    for field, value in values.items():
        if field not in FIELDS:
            raise UserError(f'{where}: unknown field "{field}"; there are {", ".join(FIELDS)}')
        if value is not None and (not isinstance(value, FIELDS[field]) or isinstance(value, bool)):
            raise UserError(f'{where}: "{field}" is {json.dumps(value)}; give {FIELDS[field].__name__}')
        if isinstance(value, str) and HALF.search(value):
            raise UserError(f'{where}: "{field}" holds half of a character (\\ud800 to \\udfff alone); correct it')
    own = {field: value for field, value in values.items() if value is not None}
    if "voice" in own and "prompt" in own:
        raise UserError(f'{where}: "voice" and "prompt" both name the voice to speak in; give one of them')
    if ("prompt" in own) != ("prompt_text" in own):
        raise UserError(f'{where}: "prompt" and "prompt_text" belong together')
    try:
        named = find_voice(model, own["voice"]) if "voice" in own else None
        check_seed(own.get("seed", seed))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    own_name = own.get("id", name)
    if not re.fullmatch(r"[\w.,=@+ -]*\w[\w.,=@+ -]*", own_name) or len(own_name.encode()) > MAX_NAME:
        raise UserError(
            f'{where}: the id "{own_name[:80]}" cannot name a file; use letters, digits, dots and hyphens, '
            f"{MAX_NAME} bytes at most"
        )
    prompt, prompt_text = voice["prompt"], voice["prompt_text"]
    if named is not None:
        prompt, prompt_text = named
    if "prompt" in own:
        prompt, prompt_text = portable(folder, own["prompt"]), own["prompt_text"]
    return Job(own_name, own.get("text", ""), prompt, prompt_text, own.get("seed", seed))
