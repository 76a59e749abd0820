"""What scoring found: of every utterance, and of every system under every protocol."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from melle.evaluation.wer import ErrorCounts, count_characters, count_errors
from melle.files import written_whole

PLAIN = " plain"  # ends the name of a recogniser that had no initial prompt


@dataclass(frozen=True)
class UtteranceScore:
    """One utterance as one system said it. What was not measured has no entry.

    ``references`` and ``transcripts`` hold, for each recogniser, the normalised text and the normalised transcript,
    the latter also as "NAME plain": without the recogniser's initial prompt, where it has one. ``values`` are numbers
    by name: "sim_o/NAME" and the like of a speaker encoder (the name of the speaker who sounds most alike is
    "nearest/NAME"), naturalness, pitch.
    """

    id: str
    sample: int  # from 0: which of the samples of this utterance
    speaker: str | None
    prompt_id: str | None
    text: str  # as it was written
    seconds: float
    recording_seconds: float
    computing: float | None  # seconds; None: not a model's
    finish_reason: str | None
    audio: str | None  # file, from the results' folder; None: was not kept
    prompt_audio: str | None
    references: dict[str, str] = field(default_factory=dict)
    transcripts: dict[str, str] = field(default_factory=dict)
    values: dict[str, float | str] = field(default_factory=dict)

    @cached_property
    def counts(self) -> dict[str, ErrorCounts]:
        """Errors by metric: "wer/NAME" and "cer/NAME" of a recogniser, "wer_plain/NAME" without its prompt."""
        found = {}
        for name, reference in self.references.items():
            found[f"wer/{name}"] = count_errors(reference, self.transcripts[name])
            if f"{name}{PLAIN}" in self.transcripts:
                found[f"wer_plain/{name}"] = count_errors(reference, self.transcripts[f"{name}{PLAIN}"])
            found[f"cer/{name}"] = count_characters(reference, self.transcripts[name])
        return found


@dataclass(frozen=True)
class SystemScore:
    """One row of the table. Rates and shares count from 0 to 1; metrics are listed in ``melle.evaluation.metrics``."""

    protocol: str
    system: str
    run: str | None  # the checkpoint's; None: a topline
    step: int | None  # optimiser steps trained
    samples: int  # of every utterance
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)  # 95 %, of error rates
    edits: dict[str, ErrorCounts] = field(default_factory=dict)  # what error rates are made of
    deviations: dict[str, float] = field(default_factory=dict)  # over the samples
    best: dict[str, float] = field(default_factory=dict)  # were of every utterance the best sample taken, by metric
    utterances: list[UtteranceScore] = field(default_factory=list)

    @property
    def series(self) -> tuple[bool, str]:
        """Whose values these are over the steps: whether a topline's, and its name or the run's."""
        return (True, self.system) if self.run is None else (False, self.run)


@dataclass(frozen=True)
class Results:
    """All rows, protocol by protocol, toplines first; ``names``: titles of judges ("whisper": "whisper base")."""

    systems: list[SystemScore]
    names: dict[str, str]
    settings: dict[str, Any]

    @property
    def protocols(self) -> list[str]:
        return list(dict.fromkeys(row.protocol for row in self.systems))

    @property
    def speaking(self) -> str | None:
        """Of several vocoders the one, or those, through which the checkpoints speak."""
        through = list(dict.fromkeys(self.settings.get("speaks_through", {}).values()))
        return ", ".join(through) if through and len(self.settings.get("vocoder", ())) > 1 else None

    def of(self, protocol: str) -> list[SystemScore]:
        return [row for row in self.systems if row.protocol == protocol]


def write_results(folder: Path, results: Results) -> None:
    """``folder``/results.json with everything, and results.csv with a line for every utterance that was spoken."""
    with written_whole(folder / "results.json") as partial:
        partial.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    rows = [
        {"protocol": row.protocol, "system": row.system, "step": row.step, **_flat(utterance)}
        for row in results.systems
        for utterance in row.utterances
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with written_whole(folder / "results.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(folder: str | Path) -> dict[str, float]:
    """Of the last checkpoint under the first protocol, as ``write_results`` wrote them."""
    results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    rows = results["systems"]
    return [row for row in rows if row["protocol"] == rows[0]["protocol"]][-1]["metrics"]


def _flat(utterance: UtteranceScore) -> dict[str, Any]:
    row = asdict(utterance)
    references, transcripts, values = (row.pop(group) for group in ("references", "transcripts", "values"))
    row |= {f"reference/{name}": text for name, text in references.items()}
    row |= {f"transcript/{name}": text for name, text in transcripts.items()} | values
    for name, counts in utterance.counts.items():
        row |= {f"errors/{name}": counts.errors, f"length/{name}": counts.length}
    return row
