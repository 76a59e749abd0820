"""Utterances to look at and listen to: the best, the worst, and some drawn at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from melle.evaluation.html_audio import AudioFiles, HtmlAudio
from melle.evaluation.metrics import METRICS, judge_of, judges_of, metric_of, title_of
from melle.evaluation.scores import SystemScore, UtteranceScore, best_first
from melle.evaluation.systems import RECORDINGS
from melle.evaluation.wer import errors_marked

SHOWN = ("sim_o", "utmos", "dnsmos")  # values of an utterance that are shown, besides errors
PLAIN = " plain"  # ends the name of a recogniser that had no initial prompt


@dataclass(frozen=True)
class Example:
    """One utterance as the page shows it."""

    label: str
    text: str
    # Of every recogniser: its title, its errors ("2/7"), and the runs of ``errors_marked``.
    transcripts: list[tuple[str, str, list[tuple[str, str, str]]]]
    facts: list[str]
    cut: str | None  # why it was ended, where the model did not end it
    audio: list[HtmlAudio]


def choose(row: SystemScore, count: int) -> dict[str, list[UtteranceScore]]:
    """``count`` utterances each "best", "worst" and "at random" of the others; no utterance twice.

    Where nothing says which are good, all are at random, and always the same.
    """
    recogniser, encoder = next(iter(judges_of([row], "wer")), None), next(iter(judges_of([row], "sim_o")), None)
    order = [row.utterances[number] for number in best_first(row.utterances, recogniser, encoder)]
    chosen: dict[str, list[UtteranceScore]] = {}
    if recogniser is not None or encoder is not None:
        chosen["best"] = _take(order, count)
        chosen["worst"] = _take([u for u in reversed(order) if not _among(u, chosen)], count)
    others = [utterance for utterance in row.utterances if not _among(utterance, chosen)]
    random.Random(0).shuffle(others)
    chosen["at random"] = _take(others, count)
    return {name: group for name, group in chosen.items() if group}


def _take(utterances: Sequence[UtteranceScore], count: int) -> list[UtteranceScore]:
    """The first ``count``, of several samples of one utterance the first."""
    first: dict[str, UtteranceScore] = {}
    for utterance in utterances:
        first.setdefault(utterance.id, utterance)
    return list(first.values())[:count]


def _among(utterance: UtteranceScore, chosen: dict[str, list[UtteranceScore]]) -> bool:
    return any(utterance.id == other.id for group in chosen.values() for other in group)


def make_examples(
    row: SystemScore, rows: Sequence[SystemScore], titles: dict[str, str], audio: AudioFiles, count: int
) -> dict[str, list[Example]]:
    """The chosen utterances of a checkpoint ``row``; ``rows`` are all of its protocol."""
    recordings = {
        utterance.id: utterance.audio
        for other in rows
        if other.run is None and other.system == RECORDINGS
        for utterance in other.utterances
    }
    return {
        name: [_example(utterance, row, recordings.get(utterance.id), titles, audio) for utterance in group]
        for name, group in choose(row, count).items()
    }


def _example(
    utterance: UtteranceScore, row: SystemScore, recording: str | None, titles: dict[str, str], audio: AudioFiles
) -> Example:
    label = [
        utterance.id,
        *([] if utterance.speaker is None else [f"speaker {utterance.speaker}"]),
        *([f"sample {utterance.sample + 1} of {row.samples}"] if row.samples > 1 else []),
    ]
    files = {"prompt": utterance.prompt_audio, "recording": recording, "synthesis": utterance.audio}
    return Example(
        label=", ".join(label),
        text=utterance.text,
        transcripts=[_transcript(utterance, name, titles) for name in utterance.transcripts],
        facts=_facts(utterance, titles),
        cut=None if utterance.finish_reason in (None, "stop") else str(utterance.finish_reason),
        audio=audio.embed(files),
    )


def _transcript(
    utterance: UtteranceScore, name: str, titles: dict[str, str]
) -> tuple[str, str, list[tuple[str, str, str]]]:
    judge = name if name in utterance.references else name.removesuffix(PLAIN)
    title = title_of(judge, titles) + ("" if judge == name else ", no initial prompt")
    errors, words = (utterance.values.get(f"{what}/{name}") for what in ("errors", "words"))
    count = "" if errors is None or words is None else f"{errors:g}/{words:g}"
    return title, count, errors_marked(utterance.references.get(judge, ""), utterance.transcripts[name])


def _facts(utterance: UtteranceScore, titles: dict[str, str]) -> list[str]:
    facts = []
    for kind in SHOWN:
        for name, value in utterance.values.items():
            if name.partition("/")[0] == kind and not isinstance(value, str):
                who = f" ({title_of(judge_of(name), titles)})" if "/" in name else ""
                facts.append(f"{METRICS[kind].head} {metric_of(name).show(value)}{who}")
    return [*facts, f"{utterance.seconds:.2f} s, recorded {utterance.recording_seconds:.2f} s"]
