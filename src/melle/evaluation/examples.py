"""Utterances to look at and listen to: the best, the worst, and some drawn at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from html import escape

from melle.evaluation.charts import judges
from melle.evaluation.metrics import METRICS, metric_of, whose
from melle.evaluation.players import Sounds, players
from melle.evaluation.scores import SystemScore, UtteranceScore, best_first
from melle.evaluation.systems import RECORDINGS
from melle.evaluation.wer import errors_marked

SHOWN = ("sim_o", "utmos", "dnsmos")  # values of an utterance that are told, besides errors
PLAIN = " plain"  # ends the name of a recogniser that listened without its hint


def choose(row: SystemScore, count: int) -> dict[str, list[UtteranceScore]]:
    """``count`` utterances each "best", "worst" and "at random" of the others; no utterance twice.

    Where there is nothing to tell good from bad by, all are at random, and always the same.
    """
    recogniser, encoder = next(iter(judges([row], "wer")), None), next(iter(judges([row], "sim_o")), None)
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


def examples_html(
    row: SystemScore, rows: Sequence[SystemScore], names: dict[str, str], sounds: Sounds, count: int
) -> str:
    """The chosen utterances of a checkpoint ``row``; ``rows`` are all of its protocol."""
    recordings = {
        utterance.id: utterance.audio
        for other in rows
        if other.run is None and other.system == RECORDINGS
        for utterance in other.utterances
    }
    parts = []
    for name, group in choose(row, count).items():
        articles = [_article(utterance, row, recordings.get(utterance.id), names, sounds) for utterance in group]
        parts.append(f"<h4>{escape(name.capitalize())}</h4>{''.join(articles)}")
    return "".join(parts)


def _article(
    utterance: UtteranceScore, row: SystemScore, recording: str | None, names: dict[str, str], sounds: Sounds
) -> str:
    sound = players(sounds, {"prompt": utterance.prompt_audio, "recording": recording, "synthesis": utterance.audio})
    sample = f", sample {utterance.sample + 1} of {row.samples}" if row.samples > 1 else ""
    speaker = "" if utterance.speaker is None else f", speaker {utterance.speaker}"
    return (
        f'<article><div class="said"><p class="id">{escape(f"{utterance.id}{speaker}{sample}")}</p>'
        f'<p class="text">{escape(utterance.text)}</p>{_heard(utterance, names)}'
        f'<ul class="facts">{_facts(utterance, names)}</ul></div>{sound}</article>'
    )


def _heard(utterance: UtteranceScore, names: dict[str, str]) -> str:
    """What every recogniser understood, its errors marked, and their number."""
    lines = []
    for name, transcript in utterance.transcripts.items():
        judge = name if name in utterance.references else name.removesuffix(PLAIN)
        who = names.get(judge, judge) + ("" if judge == name else ", no hint")
        # A dash: it understood nothing, of a text without words.
        text = mark_errors(utterance.references.get(judge, ""), transcript) or "–"
        words, errors = (utterance.values.get(f"{what}/{name}") for what in ("words", "errors"))
        counted = "" if words is None or errors is None else f' <span class="count">{errors:g}/{words:g}</span>'
        lines.append(f"<dt>{escape(who)}{counted}</dt><dd>{text}</dd>")
    return f"<dl>{''.join(lines)}</dl>" if lines else ""


def mark_errors(reference: str, transcript: str) -> str:
    """The transcript as HTML, with what was said instead, left out or added."""
    parts = []
    for kind, said, heard in errors_marked(reference, transcript):
        if kind == "substitute":  # word by word
            words = zip(escape(said).split(), escape(heard).split())
            parts += [f"<mark><s>{missing}</s> {found}</mark>" for missing, found in words]
        elif kind == "delete":
            parts.append(f"<del>{escape(said)}</del>")
        elif kind == "insert":
            parts.append(f"<ins>{escape(heard)}</ins>")
        else:
            parts.append(escape(heard))
    return " ".join(parts)


def _facts(utterance: UtteranceScore, names: dict[str, str]) -> str:
    facts = []
    for kind in SHOWN:
        for name, value in utterance.values.items():
            if name.partition("/")[0] == kind and not isinstance(value, str):
                who = f" ({whose(name, names)})" if "/" in name else ""
                facts.append(f"{METRICS[kind].head} {metric_of(name).show(value)}{who}")
    facts.append(f"{utterance.seconds:.2f} s, recorded {utterance.recording_seconds:.2f} s")
    items = [f"<li>{escape(fact)}</li>" for fact in facts]
    if utterance.finish_reason not in (None, "stop"):
        items.append(f'<li class="cut">ended by guard: {escape(str(utterance.finish_reason))}</li>')
    return "".join(items)
