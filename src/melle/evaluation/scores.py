"""What scoring found: per utterance, per system, as a table and as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from melle.evaluation.wer import WordErrorRate
from melle.files import written_whole


@dataclass(frozen=True)
class UtteranceScore:
    """One utterance of one system. Texts are normalised; None stands for what was not measured."""

    id: str
    speaker: str | None
    prompt_id: str
    reference: str
    hypothesis: str | None
    hypothesis_plain: str | None
    errors: int | None
    errors_plain: int | None
    similarity: float | None  # cosine with the prompt's voice
    similarity_others: float | None  # mean cosine with the other speakers' prompts
    nearest_speaker: str | None  # whose prompt is the most similar
    finish_reason: str | None
    seconds: float
    recording_seconds: float


@dataclass(frozen=True)
class SystemScore:
    """One row of the table. Shares and rates count from 0 to 1; None stands for what was not measured."""

    system: str
    step: int | None
    wer: WordErrorRate | None
    wer_plain: WordErrorRate | None  # without the recogniser's hint
    similarity: float | None
    similarity_others: float | None
    nearest_right: float | None  # share of utterances whose most similar prompt is of the right speaker
    natural_stops: float | None  # share of utterances that the model ended by itself
    duration_ratio: float  # seconds spoken per second recorded
    real_time_factor: float | None
    utterances: list[UtteranceScore]

    def metrics(self) -> dict[str, float]:
        """What was measured, by name."""
        values = {
            "wer": self.wer and self.wer.rate,
            "wer_plain": self.wer_plain and self.wer_plain.rate,
            "similarity": self.similarity,
            "similarity_others": self.similarity_others,
            "nearest_right": self.nearest_right,
            "natural_stops": self.natural_stops,
            "duration_ratio": self.duration_ratio,
            "real_time_factor": self.real_time_factor,
        }
        return {name: value for name, value in values.items() if value is not None}


def format_table(scores: Sequence[SystemScore]) -> str:
    """The scores as aligned plain text, without the columns that no system has."""
    columns = {
        "system": [score.system for score in scores],
        "step": [_number(score.step, "d") for score in scores],
        "WER %": [_percent(score.wer and score.wer.rate, 1) for score in scores],
        "95 % interval": [_interval(score.wer) for score in scores],
        "sub+del+ins/words": [_edits(score.wer) for score in scores],
        "plain WER %": [_percent(score.wer_plain and score.wer_plain.rate, 1) for score in scores],
        "own voice": [_number(score.similarity, ".3f") for score in scores],
        "others": [_number(score.similarity_others, ".3f") for score in scores],
        "nearest right %": [_percent(score.nearest_right, 0) for score in scores],
        "stops %": [_percent(score.natural_stops, 1) for score in scores],
        "length": [_number(score.duration_ratio, ".2f") for score in scores],
        "RTF": [_number(score.real_time_factor, ".2f") for score in scores],
    }
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    widths = [max(map(len, [head, *cells])) for head, cells in columns.items()]
    lines = [list(columns), ["-" * width for width in widths], *zip(*columns.values())]
    first, *others = widths
    return "\n".join(
        "  ".join([line[0].ljust(first), *(cell.rjust(width) for cell, width in zip(line[1:], others))]).rstrip()
        for line in lines
    )


def write_results(path: Path, scores: Sequence[SystemScore], settings: dict) -> None:
    """All scores with every utterance, and what they were measured with, as JSON, whole or not at all."""
    content = {"settings": settings, "systems": [asdict(score) for score in scores]}
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _percent(value: float | None, digits: int) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"


def _interval(rate: WordErrorRate | None) -> str:
    return "" if rate is None else f"{100 * rate.low:.1f} - {100 * rate.high:.1f}"


def _edits(rate: WordErrorRate | None) -> str:
    if rate is None:
        return ""
    counts = rate.counts
    return f"{counts.substitutions}+{counts.deletions}+{counts.insertions}/{counts.words}"
