"""From records to scores: compared with the texts, the prompts and the recordings, and summed up."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from melle.errors import UserError
from melle.evaluation.judges.base import DIGITS, Recogniser, similarities
from melle.evaluation.metrics import METRICS, judge_of, kind_of
from melle.evaluation.protocols import Case
from melle.evaluation.scores import PLAIN, SystemScore, UtteranceScore
from melle.evaluation.systems import PROMPTS
from melle.evaluation.tasks import Item, Trial
from melle.evaluation.wer import ErrorCounts, corpus_rate

LABELS = ("id", "sample", "inputs")  # of a record, which are no scores
Embeddings = Sequence[Sequence[float]]


def distinct_voices(cases: Sequence[Case]) -> list[Case]:
    """Every voice that is given, once, as a case of its own: several targets may share a prompt."""
    found = {key: case for case in reversed(cases) if (key := case.voice_key) is not None}
    return [case if case.prompt is None else Case(case.prompt, case.prompt) for case in reversed(found.values())]


def compare_voices(
    cases: Sequence[Case], prompts: Sequence[Case], voices: Embeddings, original: Embeddings, vocoded: Embeddings
) -> list[dict[str, float | str]]:
    """Cosines of the voices of A cases with B prompts (of ``distinct_voices``), as recorded and through the vocoder.

    Gives "sim_o" and "sim_r" with the own prompt and, where there are other speakers, "sim_others" (their mean, as
    recorded) and "nearest" (the speaker of the prompt that is most alike).
    """
    index = {prompt.voice_key: number for number, prompt in enumerate(prompts)}
    spoken, *both = (torch.tensor(some, dtype=torch.float64) for some in (voices, original, vocoded))
    recorded, resynthesised = (similarities(spoken, some) for some in both)  # (A, B)
    compared: list[dict[str, float | str]] = []
    for case, like, like_vocoded in zip(cases, recorded.tolist(), resynthesised.tolist()):
        own, speaker = index[case.voice_key], case.target.speaker
        found: dict[str, float | str] = {"sim_o": round(like[own], DIGITS), "sim_r": round(like_vocoded[own], DIGITS)}
        speakers = [prompt.target.speaker for prompt in prompts]
        others = [x for x, other in zip(like, speakers) if None not in (speaker, other) and other != speaker]
        if others:
            # A recording that is the prompt of another case would win by being itself.
            itself = index.get((case.target.audio_path.resolve(), None))
            fair = [number for number in range(len(prompts)) if number != itself]
            nearest = max(fair, key=lambda number: like[number])
            found |= {"sim_others": round(sum(others) / len(others), DIGITS), "nearest": speakers[nearest] or ""}
        compared.append(found)
    return compared


def aggregate(trials: Sequence[Trial], folder: Path, seed: int) -> list[SystemScore]:
    """A score for every system but the prompts, protocol by protocol. Paths of audio are relative to ``folder``.

    ``seed`` is the bootstrap's. Raises UserError where records are missing.
    """
    scores = []
    for protocol in dict.fromkeys(trial.protocol for trial in trials):
        own = [trial for trial in trials if trial.protocol == protocol]
        prompts = {trial.system.name: trial for trial in own if trial.system.prompts}
        scores += [score_system(t, _utterances(t, prompts, folder), seed) for t in own if not t.system.prompts]
    return scores


def score_system(trial: Trial, utterances: Sequence[UtteranceScore], seed: int) -> SystemScore:
    """One row of the table."""
    count = len(trial.cases)
    samples = [utterances[start : start + count] for start in range(0, len(utterances), count)]
    metrics, cases = _metrics(utterances), list(zip(*samples))
    several = [_metrics(sample) for sample in samples] if trial.samples > 1 else []
    rates = {
        name: corpus_rate([_total(name, case) for case in cases], seed) for name in _names(u.counts for u in utterances)
    }
    deviations = {
        name: statistics.stdev(one[name] for one in several)
        for name in metrics
        if several and all(name in one for one in several)
    }
    return SystemScore(
        protocol=trial.protocol,
        system=trial.system.name,
        run=trial.system.run,
        step=trial.system.step,
        samples=trial.samples,
        metrics=metrics,
        intervals={name: (rate.low, rate.high) for name, rate in rates.items()},
        edits={name: rate.counts for name, rate in rates.items()},
        deviations=deviations,
        best=best_of_samples(cases) if several else {},
        utterances=list(utterances),
    )


def _metrics(utterances: Sequence[UtteranceScore]) -> dict[str, float]:
    """Rates are of the whole corpus, the rest are means over the utterances that have the value."""
    found = {name: _total(name, utterances).rate for name in _names(u.counts for u in utterances)}
    for name in _names(u.values for u in utterances):
        values = [(u.values[name], u.speaker) for u in utterances if name in u.values]
        if kind_of(name) in METRICS:
            found[name] = statistics.fmean(value for value, _ in values)
        elif kind_of(name) == "nearest":
            right = statistics.fmean(value == speaker for value, speaker in values)
            found[f"nearest_right/{judge_of(name)}"] = right
    spoken = sum(u.seconds for u in utterances)
    found["duration_ratio"] = spoken / max(sum(u.recording_seconds for u in utterances), 1e-9)
    by_model = [u for u in utterances if u.finish_reason is not None]
    if by_model:
        found["eos_rate"] = statistics.fmean(u.finish_reason in ("stop", "unfinished") for u in by_model)
        found["real_time_factor"] = sum(u.computing or 0.0 for u in by_model) / max(spoken, 1e-9)
    return found


def best_of_samples(cases: Sequence[Sequence[UtteranceScore]]) -> dict[str, float]:
    """Of every case the sample that is best by each metric: the paper's upper bound (§4.3, table 2).

    Samples without a value do not count, nor do cases of which no sample has one.
    """
    best: dict[str, float] = {}
    for name in _names(u.counts for case in cases for u in case):
        fewest = (min((u.counts[name] for u in case), key=lambda counts: counts.errors) for case in cases)
        best[name] = sum(fewest, ErrorCounts()).rate
    for name in _names(u.values for case in cases for u in case):
        if kind_of(name) in METRICS and METRICS[kind_of(name)].better == 1:
            values = [[u.values[name] for u in case if name in u.values] for case in cases]
            best[name] = statistics.fmean(max(of_case) for of_case in values if of_case)
    return best


def _total(name: str, utterances: Iterable[UtteranceScore]) -> ErrorCounts:
    return sum((utterance.counts[name] for utterance in utterances), ErrorCounts())


def _names(groups: Iterable[dict[str, Any]]) -> list[str]:
    """Of all entries of any of them, in the order of their first appearance."""
    return list(dict.fromkeys(name for group in groups for name in group))


def _utterances(trial: Trial, prompts: dict[str, Trial], folder: Path) -> list[UtteranceScore]:
    found: dict[str, Sequence[dict[str, Any]]] = {key: _records(trial, key) for key in trial.judges}
    for key, judge in trial.judges.items():
        if judge.kind == "speaker":  # compared with the prompts as recorded, and through the vocoder of this system
            both = prompts[PROMPTS], prompts[f"{PROMPTS} through mel and {trial.system.named_vocoder.name}"]
            records = [found[key], *(_records(one, key) for one in both)]
            embeddings = [[record["embedding"] for record in some] for some in records]
            found[key] = compare_voices([item.case for item in trial.items], both[0].cases, *embeddings)
    speech = _records(trial, None) if trial.system.saves_audio else [None] * len(trial.items)
    return [
        _utterance(trial, item, spoken, dict(zip(found, records)), folder)
        for item, spoken, *records in zip(trial.items, speech, *found.values())
    ]


def _records(trial: Trial, judge: str | None) -> list[dict[str, Any]]:
    """Of every item."""
    records = trial.records(judge)
    known = records.read()
    if any(item.inputs not in known for item in trial.items):
        raise UserError(
            f"{records.path}: incomplete, or written by a command with other settings; run the same command again, and "
            "only one at a time for a folder"
        )
    return [known[item.inputs] for item in trial.items]


def _utterance(
    trial: Trial, item: Item, speech: dict[str, Any] | None, found: dict[str, dict[str, Any]], folder: Path
) -> UtteranceScore:
    case, rate = item.case, trial.system.sample_rate
    recorded, given = case.target.duration or 0.0, case.given or 0.0  # seconds
    spoken = speech or {"samples": recorded * rate, "begins": given * rate, "finish_reason": None, "values": {}}
    whole, begins = spoken["samples"] / rate, spoken["begins"] / rate
    values: dict[str, float | str] = dict(spoken["values"])
    references, transcripts = {}, {}
    for key, record in found.items():
        judge, name = trial.judges[key], key.partition(".")[2]
        if isinstance(judge, Recogniser):
            references[name] = judge.normalise(case.target.transcription)
            transcripts[name] = judge.normalise(record["text"])
            if "plain" in record:
                transcripts[f"{name}{PLAIN}"] = judge.normalise(record["plain"])
        elif judge.kind == "speaker":
            values |= {f"{kind}/{name}": value for kind, value in record.items()}
        else:
            values |= {kind: value for kind, value in record.items() if kind not in LABELS}
    values["words_per_second"] = len(case.target.transcription.split()) / max(whole, 1e-9)
    return UtteranceScore(
        id=case.target.id,
        sample=item.sample,
        speaker=case.target.speaker,
        prompt_id=case.prompt and case.prompt.id,
        text=case.target.transcription,
        seconds=max(whole - begins, 0.0),
        recording_seconds=max(recorded - given, 0.0),
        computing=spoken["computing"] if spoken["finish_reason"] else None,
        finish_reason=spoken["finish_reason"],
        audio=os.path.relpath(case.target.audio_path if speech is None else trial.audio(item), folder),
        prompt_audio=case.prompt and os.path.relpath(case.prompt.audio_path, folder),
        references=references,
        transcripts=transcripts,
        values=values,
    )
