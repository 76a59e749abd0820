"""The times of words in a file: subtitles (.srt, .vtt), or a list (.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from melle.errors import UserError
from melle.files import check_writable, write_text
from melle.synthesis.speech import Word

ENDINGS = (".srt", ".vtt", ".json")
WIDEST = 42  # characters of a subtitle
LONGEST = 5.0  # seconds of one
BREAK = 0.6  # seconds of silence after which a new one begins


def check_subtitles(path: Path) -> None:
    """Raises UserError for a name that cannot be written, or has another ending."""
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path}: give a file that ends in {', '.join(ENDINGS)}")
    check_writable(path)


def check_ending(path: Path) -> str:
    """Of ``--jobs``, whose files have names of their own: ".srt" of ".srt", "srt" or "all.srt". Raises UserError."""
    ending = f".{path.name.rpartition('.')[2].lower()}"
    if ending not in ENDINGS:
        raise UserError(f"{path}: give one of {', '.join(ENDINGS)} for files beside those of --jobs")
    return ending


def write_subtitles(path: Path | None, words: Sequence[Word], language: str = "en") -> None:
    """Words with their times, in the form that the file's ending says; None writes nothing.

    ``language``: code by which sentences are split.
    """
    if path is None:
        return
    kind = path.suffix.lower()
    if kind == ".json":
        entries = [{"word": word, "start": round(start, 3), "end": round(end, 3)} for word, start, end in words]
        write_text(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
        return
    point, blocks = ("," if kind == ".srt" else "."), []
    for number, cue in enumerate(cues(words, language), 1):
        times = f"{_clock(cue[0].start, point)} --> {_clock(cue[-1].end, point)}"
        head = f"{number}\n" if kind == ".srt" else ""
        blocks.append(f"{head}{times}\n{' '.join(word.word for word in cue)}\n")
    write_text(path, ("" if kind == ".srt" else "WEBVTT\n\n") + "\n".join(blocks))


def cues(words: Sequence[Word], language: str = "en") -> Iterator[list[Word]]:
    """Words that are shown at a time: until a sentence ends, a pause comes, or there are many."""
    ends, cue = _sentence_ends(words, language), []
    for number, word in enumerate(words):
        if cue:
            wide = len(" ".join(each.word for each in [*cue, word])) > WIDEST
            late = word.end - cue[0].start > LONGEST or word.start - cue[-1].end > BREAK
            if wide or late or number in ends:
                yield cue
                cue = []
        cue.append(word)
    if cue:
        yield cue


def _sentence_ends(words: Sequence[Word], language: str) -> set[int]:
    """How many words there are at each sentence's end; the point of "Dr." is none."""
    import sentencex

    sentences = sentencex.segment(language, " ".join(word.word for word in words))
    return set(accumulate(len(sentence.split()) for sentence in sentences))


def _clock(seconds: float, point: str) -> str:
    thousandths = round(1000 * seconds)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"
