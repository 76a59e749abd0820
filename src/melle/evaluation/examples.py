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
    judged = recogniser is not None or encoder is not None
    pools = {"best": order, "worst": order[::-1]} if judged else {}
    pools["at random"] = random.Random(0).sample(order, len(order))
    chosen: dict[str, list[UtteranceScore]] = {}
    taken: set[str] = set()
    for name, pool in pools.items():
        first = {utterance.id: utterance for utterance in reversed(pool)}  # of several samples of one utterance
        chosen[name] = [u for u in pool if first[u.id] is u and u.id not in taken][:count]
        taken |= {utterance.id for utterance in chosen[name]}
    return {name: group for name, group in chosen.items() if group}


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
