"""From records to scores: compared with the texts, the prompts and the recordings, and summed up."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from melle.errors import UserError
from melle.evaluation.judges.base import DIGITS, Recogniser, similarities
from melle.evaluation.metrics import METRICS, judge_of
from melle.evaluation.protocols import Case
from melle.evaluation.scores import SystemScore, UtteranceScore
from melle.evaluation.systems import PROMPTS
from melle.evaluation.tasks import Item, Trial
from melle.evaluation.wer import ErrorCounts, corpus_rate, count_characters, count_errors

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


LABELS = ("id", "sample", "inputs")  # of a record, which are no scores


@dataclass(frozen=True)
class Utterance:
    """One utterance of a system: its score, its errors by metric ("wer/whisper"), and seconds of computing."""

    score: UtteranceScore
    counts: dict[str, ErrorCounts]
    computing: float | None


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


def score_system(trial: Trial, utterances: Sequence[Utterance], seed: int) -> SystemScore:
    """One row of the table."""
    by_sample, by_case = defaultdict(list), defaultdict(list)
    for number, utterance in enumerate(utterances):
        by_sample[utterance.score.sample].append(utterance)
        by_case[number % len(trial.cases)].append(utterance)
    metrics, cases = _metrics(utterances), list(by_case.values())
    several = [_metrics(sample) for sample in by_sample.values()] if trial.samples > 1 else []
    rates = {
        name: corpus_rate([_total(one.counts[name] for one in case) for case in cases], seed)
        for name in _names(one.counts for one in utterances)
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
        edits={name: rate.counts.edits for name, rate in rates.items()},
        deviations=deviations,
        best=best_of_samples(cases) if several else {},
        utterances=[utterance.score for utterance in utterances],
    )


def _metrics(utterances: Sequence[Utterance]) -> dict[str, float]:
    """Rates are of the whole corpus, the rest are means over the utterances that have the value."""
    scores = [utterance.score for utterance in utterances]
    counts = _names(one.counts for one in utterances)
    found = {name: _total(one.counts[name] for one in utterances).rate for name in counts}
    for name in _names(score.values for score in scores):
        values = [(score.values[name], score.speaker) for score in scores if name in score.values]
        kind = name.partition("/")[0]
        if kind in METRICS:
            found[name] = statistics.fmean(value for value, _ in values)
        elif kind == "nearest":
            right = statistics.fmean(value == speaker for value, speaker in values)
            found[f"nearest_right/{judge_of(name)}"] = right
    reasons = [score.finish_reason for score in scores if score.finish_reason is not None]
    if reasons:
        found["natural_stops"] = statistics.fmean(reason in ("stop", "unfinished") for reason in reasons)
    spoken = sum(score.seconds for score in scores)
    found["duration_ratio"] = spoken / max(sum(score.recording_seconds for score in scores), 1e-9)
    computing = [one.computing for one in utterances if one.computing is not None]
    if computing:
        found["real_time_factor"] = sum(computing) / max(spoken, 1e-9)
    return found


def best_of_samples(cases: Sequence[Sequence[Utterance]]) -> dict[str, float]:
    """Of every case the sample that is best by each metric: the paper's upper bound (§4.3, table 2).

    Samples without a value do not count, nor do cases of which no sample has one.
    """
    best: dict[str, float] = {}
    for name in _names(one.counts for case in cases for one in case):
        best[name] = _total(min((one.counts[name] for one in case), key=lambda c: c.errors) for case in cases).rate
    for name in _names(one.score.values for case in cases for one in case):
        metric = METRICS.get(name.partition("/")[0])
        if metric is not None and metric.better == 1:
            values = [[one.score.values[name] for one in case if name in one.score.values] for case in cases]
            best[name] = statistics.fmean(max(of_case) for of_case in values if of_case)
    return best


def _total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    return sum(counts, ErrorCounts())


def _names(groups: Iterable[dict[str, Any]]) -> list[str]:
    """Of all entries of any of them, in the order of their first appearance."""
    return list(dict.fromkeys(name for group in groups for name in group))


def _utterances(trial: Trial, prompts: dict[str, Trial], folder: Path) -> list[Utterance]:
    found = {judge: _records(trial, judge) for judge in trial.judges}
    speech = _records(trial, None) if trial.system.saves_audio else [None] * len(trial.items)
    compared: dict[str, list[dict[str, float | str]]] = {}
    if PROMPTS in prompts:  # as they were recorded, and through the vocoder of this system
        both = prompts[PROMPTS], prompts[f"{PROMPTS} through mel and {trial.system.vocoding.name}"]
        cases, voices = [item.case for item in trial.items], both[0].cases
        for judge in trial.judges:
            if trial.judges[judge].kind == "speaker":
                embeddings = [found[judge], *(_records(one, judge) for one in both)]
                some = [[record["embedding"] for record in records] for records in embeddings]
                compared[judge] = compare_voices(cases, voices, *some)
    return [
        _utterance(
            trial,
            item,
            speech[number],
            {judge: records[number] for judge, records in found.items()},
            {name: values[number] for name, values in compared.items()},
            folder,
        )
        for number, item in enumerate(trial.items)
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
    trial: Trial,
    item: Item,
    speech: dict[str, Any] | None,
    found: dict[str, dict[str, Any]],
    compared: dict[str, dict[str, float | str]],
    folder: Path,
) -> Utterance:
    case, rate = item.case, trial.system.sample_rate
    recorded, given = case.target.duration or 0.0, case.given or 0.0  # seconds
    spoken = speech or {"samples": recorded * rate, "begins": given * rate, "finish_reason": None, "values": {}}
    whole, begins = spoken["samples"] / rate, spoken["begins"] / rate
    values: dict[str, float | str] = dict(spoken["values"])
    references, transcripts, counts = {}, {}, {}
    for key, record in found.items():
        judge, name = trial.judges[key], key.partition(".")[2]
        if isinstance(judge, Recogniser):
            normalise = judge.normalise
            references[name] = reference = normalise(case.target.transcription)
            for suffix, kind, text in (("", "wer", record["text"]), (" plain", "wer_plain", record.get("plain"))):
                if text is not None:
                    transcripts[f"{name}{suffix}"] = text = normalise(text)
                    counts[f"{kind}/{name}"] = errors = count_errors(reference, text)
                    values |= {f"errors/{name}{suffix}": errors.errors, f"words/{name}{suffix}": errors.length}
            counts[f"cer/{name}"] = count_characters(reference, transcripts[name])
        elif judge.kind == "speaker":
            values |= {f"{kind}/{name}": value for kind, value in compared.get(key, {}).items()}
        else:
            values |= {kind: value for kind, value in record.items() if kind not in LABELS}
    values["words_per_second"] = len(case.target.transcription.split()) / max(whole, 1e-9)
    score = UtteranceScore(
        id=case.target.id,
        sample=item.sample,
        speaker=case.target.speaker,
        prompt_id=case.prompt and case.prompt.id,
        text=case.target.transcription,
        seconds=max(whole - begins, 0.0),
        recording_seconds=max(recorded - given, 0.0),
        finish_reason=spoken["finish_reason"],
        audio=os.path.relpath(case.target.audio_path if speech is None else trial.audio(item), folder),
        prompt_audio=case.prompt and os.path.relpath(case.prompt.audio_path, folder),
        references=references,
        transcripts=transcripts,
        values=values,
    )
    computing = spoken["computing"] if spoken["finish_reason"] else None
    return Utterance(score, dict(sorted(counts.items())), computing)
