"""What a check of a manifest says on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from melle.data.filters import Filters

EXAMPLES = 3  # shown of each kind of fault
BARS = 8  # of a histogram


@dataclass
class Tally:
    """What is counted while the lists are written."""

    rejected: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)  # by kind
    letters: Counter[str] = field(default_factory=Counter)
    letter_lines: dict[str, int] = field(default_factory=dict)  # where each was first seen

    def count(self, counts: Counter[str], number: int, audio_path: str | None, kind: str, reason: str) -> None:
        counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(f"line {number}{f', {audio_path}' if audio_path else ''}: {reason}")

    def read(self, text: str, number: int) -> None:
        self.letters.update(text)
        for letter in set(text).difference(self.letter_lines):
            self.letter_lines[letter] = number


def report(manifest: Path, items: Filters, tally: Tally) -> Iterator[str]:
    kept = items.kept
    seconds, speaker = items.seconds[kept], items.speaker[kept]
    yield (
        f"{manifest}: {len(items)} items, {len(items) - kept.sum()} rejected, {kept.sum()} kept; "
        f"kept hours: {seconds.sum() / 3600:.2f}, speakers: {len(np.unique(speaker[speaker >= 0]))}"
    )
    yield from _faults("Rejected", tally.rejected, tally)
    yield from _faults("Kept, but worth a look (--strict rejects them)", tally.warnings, tally)
    yield from _histogram("Seconds per item", seconds, "{:.2f}")
    yield from _histogram("Characters per item", items.characters[kept], "{:.0f}")
    pace = _spread(items.pace[kept], "{:.1f}")
    yield from ("", f"Characters per second: {pace}; odd is less than a third or thrice the median")
    yield from _speakers(seconds, speaker, items.speakers)
    yield from _letters(tally)


def _faults(title: str, counts: Counter[str], tally: Tally) -> Iterator[str]:
    if counts:
        yield from ("", title)
    for kind, count in counts.most_common():
        yield f"  {kind}: {count}"
        yield from (f"      {example}" for example in tally.examples[kind])


def _histogram(title: str, values: np.ndarray, form: str) -> Iterator[str]:
    yield from ("", f"{title}: {_spread(values, form)}")
    counts, edges = np.histogram(values, BARS if np.ptp(values) else 1)
    yield from _bars([f"from {form.format(edge)}" for edge in edges[:-1]], counts)


def _bars(labels: list[str], counts: Iterable[int]) -> Iterator[str]:
    counts, width = list(counts), max(map(len, labels))
    for label, count in zip(labels, counts):
        yield f"  {label:>{width}} {'█' * round(40 * count / max(counts))} {count}"


def _spread(values: np.ndarray, form: str) -> str:
    named = (("min", values.min()), ("median", np.median(values)), ("max", values.max()))
    return ", ".join(f"{name} {form.format(value)}" for name, value in named)


def _speakers(seconds: np.ndarray, speaker: np.ndarray, names: list[str]) -> Iterator[str]:
    named = speaker >= 0
    totals = np.bincount(speaker[named], seconds[named], len(names))
    present = np.flatnonzero(totals)
    if len(present):
        least, most = present[totals[present].argmin()], present[totals[present].argmax()]
        yield from (
            "",
            f"Seconds per speaker: min {totals[least]:.1f} ({names[least]}), median {np.median(totals[present]):.1f}, "
            f"max {totals[most]:.1f} ({names[most]})",
        )
    if not named.all():
        yield from ("", f"{np.count_nonzero(~named)} items name no speaker")


def _letters(tally: Tally) -> Iterator[str]:
    ordered = sorted(tally.letters.items(), key=lambda pair: (-pair[1], pair[0]))
    yield from ("", f"Characters used: {len(ordered)}, {sum(tally.letters.values())} times")
    yield from _bars([_name(letter) for letter, _ in ordered[:BARS]], [count for _, count in ordered[:BARS]])
    rare = [(letter, count) for letter, count in reversed(ordered) if count < 10]
    if rare:
        shown = ", ".join(f"{_name(c)} {count} (line {tally.letter_lines[c]})" for c, count in rare[:20])
        yield f"  rare, each with its first line: {shown}{' …' if len(rare) > 20 else ''}"


def _name(letter: str) -> str:
    if letter == " ":
        return "blank"
    return letter if letter.isprintable() else f"U+{ord(letter):04X}"
