"""From what the judges heard to scores: compared with the texts, the prompts and the recordings."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melle.evaluation.ears import DIGITS, Ear, Recogniser, VoiceEar
from melle.evaluation.metrics import METRICS
from melle.evaluation.protocols import Case
from melle.evaluation.scores import SystemScore, UtteranceScore
from melle.evaluation.speaker import similarities
from melle.evaluation.systems import PROMPTS, Recordings, voice_key
from melle.evaluation.wer import ErrorCounts, corpus_rate, count_characters, count_errors
from melle.evaluation.work import Part, Workshop


@dataclass(frozen=True)
class Row:
    """One utterance of a system: number of its case, what is told of it, and its errors by name ("wer/whisper")."""

    number: int
    score: UtteranceScore
    counts: dict[str, ErrorCounts]
    computing: float | None  # seconds


def gather(shop: Workshop, parts: Sequence[Part], folder: Path, seed: int) -> list[SystemScore]:
    """A score for every system but the prompts, protocol by protocol. Paths of sound count from ``folder``."""
    scores = []
    for protocol in dict.fromkeys(part.protocol for part in parts):
        own = [part for part in parts if part.protocol == protocol]
        prompts = {part.system.name: part for part in own if _is_prompts(part)}
        for part in own:
            if not _is_prompts(part):
                # Those of the row: as they were recorded, and through its own vocoder.
                compared = {name: prompts[name] for name in (PROMPTS, part.system.sound.prompts) if name in prompts}
                scores.append(_score(part, _rows(shop, part, compared, folder), seed))
    return scores


def _is_prompts(part: Part) -> bool:
    return isinstance(part.system, Recordings) and part.system.prompts


def _score(part: Part, rows: list[Row], seed: int) -> SystemScore:
    by_sample, by_case = defaultdict(list), defaultdict(list)
    for row in rows:
        by_sample[row.score.sample].append(row)
        by_case[row.number].append(row)
    metrics = _metrics(rows)
    rates = {
        name: corpus_rate([_sum(row.counts[name] for row in of_case) for of_case in by_case.values()], seed)
        for name in (rows[0].counts if rows else {})
    }
    several = [_metrics(of_sample) for of_sample in by_sample.values()] if part.samples > 1 else []
    return SystemScore(
        protocol=part.protocol,
        system=part.system.name,
        run=part.system.run,
        step=part.system.step,
        samples=part.samples,
        metrics=metrics,
        intervals={name: (rate.low, rate.high) for name, rate in rates.items()},
        edits={
            name: (c.substitutions, c.deletions, c.insertions, c.length)
            for name, c in ((name, rate.counts) for name, rate in rates.items())
        },
        deviations={
            name: statistics.stdev(one[name] for one in several)
            for name in metrics
            if several and all(name in one for one in several)
        },
        best=_best(list(by_case.values())) if several else {},
        utterances=[row.score for row in rows],
    )


def _metrics(rows: Sequence[Row]) -> dict[str, float]:
    """What a table shows of utterances. Rates are of the whole corpus, the rest are means over utterances."""
    found: dict[str, float] = {}
    for name in rows[0].counts if rows else ():
        found[name] = _rate(row.counts[name] for row in rows)
    for name in dict.fromkeys(name for row in rows for name in row.score.values):
        if name.partition("/")[0] in METRICS:
            found[name] = statistics.fmean(row.score.values[name] for row in rows if name in row.score.values)
    for name in dict.fromkeys(name for row in rows for name in row.score.values if name.startswith("nearest/")):
        right = [row.score.values[name] == row.score.speaker for row in rows if name in row.score.values]
        found[f"nearest_right/{name.partition('/')[2]}"] = statistics.fmean(right)
    reasons = [row.score.finish_reason for row in rows if row.score.finish_reason is not None]
    if reasons:
        found["natural_stops"] = statistics.fmean(reason == "stop" for reason in reasons)
    spoken = sum(row.score.seconds for row in rows)
    found["duration_ratio"] = spoken / max(sum(row.score.recording_seconds for row in rows), 1e-9)
    computing = [row.computing for row in rows if row.computing is not None]
    if computing:
        found["real_time_factor"] = sum(computing) / max(spoken, 1e-9)
    return found


def _best(cases: Sequence[Sequence[Row]]) -> dict[str, float]:
    """Of every case the sample that is best by each metric: the paper's upper bound (§4.3, table 2)."""
    best: dict[str, float] = {}
    for name in cases[0][0].counts:
        best[name] = _rate(min((row.counts[name] for row in rows), key=lambda c: c.errors) for rows in cases)
    for name in cases[0][0].score.values:
        metric = METRICS.get(name.partition("/")[0])
        if metric is not None and metric.better == 1:
            found = [[row.score.values[name] for row in rows if name in row.score.values] for rows in cases]
            best[name] = statistics.fmean(max(values) for values in found if values)
    return best


def _rows(shop: Workshop, part: Part, prompts: dict[str, Part], folder: Path) -> list[Row]:
    heard = {ear.key: shop.of(part, ear) for ear in part.ears}
    speech = shop.of(part, None) if part.kept else None
    voices = {
        ear.key: {name: _embeddings(shop, prompt, ear) for name, prompt in prompts.items()}
        for ear in part.ears
        if isinstance(ear, VoiceEar)
    }
    rows, given = [], _Given.to(part.cases, prompts[PROMPTS].cases) if prompts else None
    for sample in range(part.samples):
        compared = {
            ear.name: _compare(heard[ear.key][sample], given, voices[ear.key], part.system.sound.prompts)
            for ear in part.ears
            if isinstance(ear, VoiceEar) and given is not None
        }
        for number, case in enumerate(part.cases):
            own = {ear: heard[ear.key][sample][number] for ear in part.ears}
            said = None if speech is None else speech[sample][number]
            rows.append(
                _row(shop, part, number, sample, case, said, own, {n: c[number] for n, c in compared.items()}, folder)
            )
    return rows


def _row(
    shop: Workshop,
    part: Part,
    number: int,
    sample: int,
    case: Case,
    said: dict[str, Any] | None,
    heard: dict[Ear, dict[str, Any]],
    compared: dict[str, dict[str, float | str]],
    folder: Path,
) -> Row:
    recorded, given = case.target.duration or 0.0, case.given or 0.0
    whole, begins = recorded, given  # seconds
    if said is not None:
        whole, begins = said["samples"] / part.system.sample_rate, said["begins"] / part.system.sample_rate
    values: dict[str, float | str] = dict((said or {}).get("values", {}))
    references, transcripts, counts = {}, {}, {}
    for ear, found in heard.items():
        if isinstance(ear, Recogniser):
            normalise = ear.asr.normalise
            references[ear.name] = reference = normalise(case.target.transcription)
            transcripts[ear.name] = understood = normalise(found["text"])
            counts[f"wer/{ear.name}"] = errors = count_errors(reference, understood)
            counts[f"cer/{ear.name}"] = count_characters(reference, understood)
            values |= {f"errors/{ear.name}": errors.errors, f"words/{ear.name}": errors.length}
            if "plain" in found:
                transcripts[f"{ear.name} plain"] = plain = normalise(found["plain"])
                counts[f"wer_plain/{ear.name}"] = again = count_errors(reference, plain)
                values |= {f"errors/{ear.name} plain": again.errors, f"words/{ear.name} plain": again.length}
        elif isinstance(ear, VoiceEar):
            values |= {f"{kind}/{ear.name}": value for kind, value in compared.get(ear.name, {}).items()}
        else:
            values |= found
    values["words_per_second"] = len(case.target.transcription.split()) / max(whole, 1e-9)
    audio = case.target.audio_path if said is None else shop.sound / part.audio(number, sample)
    score = UtteranceScore(
        id=case.target.id,
        sample=sample,
        speaker=case.target.speaker,
        prompt_id=case.prompt and case.prompt.id,
        text=case.target.transcription,
        seconds=max(whole - begins, 0.0),
        recording_seconds=max(recorded - given, 0.0),
        finish_reason=said and said["finish_reason"],
        audio=os.path.relpath(audio, folder),
        prompt_audio=case.prompt and os.path.relpath(case.prompt.audio_path, folder),
        references=references,
        transcripts=transcripts,
        values=values,
    )
    by_model = said is not None and said["finish_reason"] is not None
    return Row(number, score, dict(sorted(counts.items())), said["computing"] if by_model else None)


@dataclass(frozen=True)
class _Given:
    """Which of B voices were given for A cases."""

    own: Tensor  # (A,): the number of a case's own
    others: Tensor  # (A, B): whether it is another speaker's
    fair: Tensor  # (A, B): whether it may be compared: a recording that is the prompt of another one hears itself
    speakers: list[str | None]  # of the voices

    @classmethod
    def to(cls, cases: Sequence[Case], voices: Sequence[Case]) -> _Given:
        index = {voice_key(voice): number for number, voice in enumerate(voices)}
        numbers = {None: -1}  # of the speakers
        of_cases, of_voices = (
            torch.tensor([numbers.setdefault(one.target.speaker, len(numbers)) for one in some])
            for some in (cases, voices)
        )
        others = (of_cases[:, None] != of_voices) & (of_cases >= 0)[:, None] & (of_voices >= 0)
        fair = torch.ones_like(others)
        for number, case in enumerate(cases):
            if (itself := index.get((case.target.audio_path.resolve(), None))) is not None:
                fair[number, itself] = False
        own = torch.tensor([index[voice_key(case)] for case in cases])
        return cls(own, others, fair, [voice.target.speaker for voice in voices])


def _compare(
    heard: Sequence[dict[str, Any]], given: _Given, voices: dict[str, Tensor], vocoded: str
) -> list[dict[str, float | str]]:
    """How each voice compares with its own prompt, as recorded and ``vocoded``, and with those of other speakers."""
    embeddings = torch.tensor([found["embedding"] for found in heard], dtype=torch.float64)
    original = similarities(embeddings, voices[PROMPTS])  # (A, B)
    resynthesised = similarities(embeddings, voices[vocoded])
    own = [like.gather(1, given.own[:, None])[:, 0].tolist() for like in (original, resynthesised)]
    count = given.others.sum(1)
    others = (original * given.others).sum(1) / count.clamp(min=1)
    nearest = original.masked_fill(~given.fair, -torch.inf).argmax(1)
    compared: list[dict[str, float | str]] = []
    for sim_o, sim_r, there, mean, number in zip(*own, count.tolist(), others.tolist(), nearest.tolist()):
        compared.append({"sim_o": round(sim_o, DIGITS), "sim_r": round(sim_r, DIGITS)})
        if there:
            compared[-1] |= {"sim_others": round(mean, DIGITS), "nearest": given.speakers[number] or ""}
    return compared


def _embeddings(shop: Workshop, prompts: Part, ear: VoiceEar) -> Tensor:
    (found,) = shop.of(prompts, ear)
    return torch.tensor([one["embedding"] for one in found], dtype=torch.float64)


def _sum(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    lengths, *edits = zip(*((c.length, c.substitutions, c.deletions, c.insertions) for c in counts))
    return ErrorCounts(sum(lengths), *map(sum, edits))


def _rate(counts: Iterable[ErrorCounts]) -> float:
    total = _sum(counts)
    return total.errors / max(total.length, 1)
