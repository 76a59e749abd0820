"""What is remembered of every item of a manifest, and which are kept as far as that depends on all of them."""

from __future__ import annotations

from array import array

import numpy as np

from melle.data.inspection import Finding

ODD_PACE = 3.0  # characters per second: more than this many times the median, or less than its fraction
COLUMNS = {  # what is remembered of every item, and as what
    "number": "q",
    "seconds": "d",
    "characters": "i",
    "clipped": "f",
    "id_key": "Q",
    "file_key": "Q",
    "sound_key": "Q",
    "text_key": "Q",
}


class Items:
    """What is remembered of every item: numbers in columns, and names of speakers once."""

    def __init__(self):
        self._columns = {name: array(code) for name, code in COLUMNS.items()}
        self._faulty, self._speaker = array("b"), array("i")
        self._speakers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._faulty)

    def add(self, finding: Finding) -> None:
        for name, column in self._columns.items():
            column.append(getattr(finding, name))
        self._faulty.append(finding.kind is not None)
        known = self._speakers
        self._speaker.append(-1 if finding.speaker is None else known.setdefault(finding.speaker, len(known)))

    def __getattr__(self, name: str) -> np.ndarray:  # a column: (items,)
        if name.startswith("_") or name not in self._columns:
            raise AttributeError(name)
        column = self._columns[name]
        return np.frombuffer(column, dtype=column.typecode)

    @property
    def faulty(self) -> np.ndarray:
        """(items,) bool: no item of use by itself."""
        return np.frombuffer(self._faulty, dtype=np.int8).astype(bool)

    @property
    def speaker(self) -> np.ndarray:
        """(items,) int: place in ``speakers``, -1 where the manifest names none."""
        return np.frombuffer(self._speaker, dtype=self._speaker.typecode)

    @property
    def speakers(self) -> list[str]:
        return list(self._speakers)


class Verdict:
    """Which items are kept, and why the others are not, as far as that depends on the whole manifest."""

    def __init__(self, items: Items, strict: bool):
        self.items, self.strict = items, strict
        kept = ~items.faulty
        self.clipped = kept & (items.clipped > 0)
        if strict:
            kept &= ~self.clipped
        self.same_id = _repeats(items.id_key, kept)  # (items,): place of the first with the same key, -1 for none
        kept &= self.same_id < 0
        self.same_file = _repeats(items.file_key, kept)
        kept &= self.same_file < 0
        self.same_sound = _repeats(items.sound_key, kept)
        kept &= self.same_sound < 0
        self.pace = items.characters / np.maximum(items.seconds, 1e-9)  # characters per second
        self.median_pace = float(np.median(self.pace[kept])) if kept.any() else 0.0
        slow, fast = self.pace < self.median_pace / ODD_PACE, self.pace > self.median_pace * ODD_PACE
        self.odd = kept & (slow | fast)
        self.kept = kept & ~self.odd if strict else kept

    def of(self, place: int) -> tuple[str, str] | None:
        """Kind and reason of what is wrong with an item; None for nothing. A kept item's is a warning."""
        if self.same_id[place] >= 0:
            return "duplicate id", f"the id of line {self.items.number[self.same_id[place]]}; give it another"
        for first, what in ((self.same_file, "the file"), (self.same_sound, "the samples")):
            if first[place] >= 0:
                return "duplicate audio", self._same(place, first[place], what)
        if self.clipped[place]:
            share = 100 * self.items.clipped[place]
            return "clipped", f"{share:.1f} % of its samples stand at full scale"
        if self.odd[place]:
            usual = f"{self.median_pace:.1f} is the median"
            return "odd pace", f"{self.pace[place]:.1f} characters per second, where {usual}; is this what is said?"
        return None

    def _same(self, place: int, first: int, what: str) -> str:
        text = self.items.text_key
        transcript = "the same transcript" if text[place] == text[first] else "another transcript"
        return f"{what} of line {self.items.number[first]}, with {transcript}"


def _repeats(keys: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For every item of the mask ``among``, the place of the first there with the same key; -1 for the first itself."""
    places = np.flatnonzero(among)
    _, first, inverse = np.unique(keys[places], return_index=True, return_inverse=True)
    firsts = places[first[inverse]]
    repeats = np.full(len(keys), -1)
    repeats[places] = np.where(firsts == places, -1, firsts)
    return repeats
