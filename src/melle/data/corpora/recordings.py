"""What all corpora of recordings share: splits by hash, durations by threads, manifests written only when needed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from melle.data.corpora.download import alone
from melle.data.manifest import Utterance, with_duration, write_manifest
from melle.errors import DataError, UserError

VERSION = 2  # raise it when the same files come to make other manifests
CHUNK = 64  # items that a thread takes at a time
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")

Item, Result = TypeVar("Item"), TypeVar("Result")
Manifests = Mapping[str, list[Utterance]]  # by the name of the file


def prepare_manifests(
    output: Path, corpus: str, made_of: Mapping, read: Callable[[], Manifests], again: bool = False
) -> None:
    """Write the manifests that ``read`` returns into the folder ``output``, and say what they hold.

    What they are made of, ``made_of``, is noted beside them: while it stays the same, nothing is read or written.
    """
    note = output / f"{corpus}.prepared.json"
    made_of = json.loads(json.dumps({"version": VERSION, **made_of}))
    if not again and _up_to_date(note, made_of):
        return
    with alone(note, "preparing this corpus"):
        if again or not _up_to_date(note, made_of):
            _prepare(note, corpus, made_of, read)


def _up_to_date(note: Path, made_of: Mapping) -> bool:
    known, output = _known(note), note.parent
    names = known.get("manifests", [])
    if known.get("made_of") != made_of or not all((output / name).is_file() for name in names):
        return False
    print(f"{output}: up to date, {', '.join(names)}; --again makes them again")
    return True


def _prepare(note: Path, corpus: str, made_of: Mapping, read: Callable[[], Manifests]) -> None:
    output, names = note.parent, _known(note).get("manifests", [])
    found = read()
    manifests = {name: members for name, members in found.items() if members}
    if not manifests:
        raise UserError(f"{corpus}: no utterance was found; is the corpus unpacked completely?")
    try:
        note.unlink(missing_ok=True)
        for name in set(names) & (found.keys() - manifests.keys()):  # what it held has gone to another one
            (output / name).unlink(missing_ok=True)
        for name, members in manifests.items():
            write_manifest(output / name, members)
            print(f"{output / name}: {_summary(members)}")
        partial = note.with_name(note.name + ".partial")
        partial.write_text(json.dumps({"made_of": made_of, "manifests": list(manifests)}, indent=2) + "\n")
        os.replace(partial, note)
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror or error}); give another folder with -o"
        ) from None


def measured(manifests: Manifests) -> dict[str, list[Utterance]]:
    """The utterances with their durations, by the audio files' headers. What cannot be read is left out, and told."""
    members = list(chain.from_iterable(manifests.values()))
    results = iter(list(in_threads(_measure, members, "Reading headers")))
    kept, faults = {}, []
    for name, own in manifests.items():
        found = [next(results) for _ in own]
        kept[name] = [result for result in found if isinstance(result, Utterance)]
        faults += [result for result in found if not isinstance(result, Utterance)]
    if faults and len(faults) == len(members):
        raise UserError(f"none of the {len(members)} recordings can be used; the first: {faults[0]}")
    tell_left_out([str(fault) for fault in faults])
    return kept


def tell_left_out(reasons: list[str]) -> None:
    if reasons:
        print(f"{len(reasons)} left out; the first: {reasons[0]}")


def share(key: str) -> float:
    """A number from 0 to 1 that is the key's own: by it a split does not change when other keys come."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def split(key: str, validation: float, test: float) -> str:
    """train, validation or test, by the shares of keys that the latter two shall get."""
    place = share(key)
    return "test" if place < test else "validation" if place < test + validation else "train"


def stamp(paths: Iterable[Path]) -> str:
    """A checksum of names, sizes and times: another one when a file here changes, or a folder gains or loses one.

    Of a folder it does not see changes deeper in it, nor those of the files it holds: name these too.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        about = path.stat()
        digest.update(
            f"{os.path.abspath(path)}\0{about.st_size}\0{about.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def folders_in(folder: Path, levels: int = 1) -> list[Path]:
    """The folder itself and those in it, so many levels deep."""
    found = [folder]
    if levels:
        with os.scandir(folder) as entries:
            inner = [Path(entry.path) for entry in entries if entry.is_dir()]
        found += chain.from_iterable(folders_in(one, levels - 1) for one in inner)
    return found


def read_text(path: Path) -> str:
    """The transcript in a file, in one line."""
    try:
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        raise DataError("no transcript", f"{path}: no such transcript; add it") from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8", f"{path}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise DataError("unreadable", f"{path}: cannot be read ({error.strerror or error})") from None
    if not text:
        raise DataError("no transcript", f"{path}: empty; write what is said")
    return text


def in_threads(function: Callable[[Item], Result], items: list[Item], text: str) -> Iterator[Result]:
    """``map``, by threads, with a progress bar: for what waits for disks."""
    pool = ThreadPoolExecutor()
    try:
        chunks = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
        with tqdm(total=len(items), desc=text, unit=" files") as bar:
            for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
                yield from results
                bar.update(len(results))
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(utterance: Utterance) -> Utterance | DataError:
    try:
        measured = with_duration(utterance)
    except DataError as error:
        return error
    return replace(measured, duration=round(measured.duration, 6))


def _known(note: Path) -> dict:
    """What was noted of an earlier run; nothing where there was none."""
    try:
        known = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _summary(members: list[Utterance]) -> str:
    hours = sum(utterance.duration for utterance in members) / 3600
    speakers = len({utterance.speaker for utterance in members} - {None})
    return f"{len(members)} utterances, {hours:.2f} hours, {speakers or 'no'} speaker{'' if speakers == 1 else 's'}"
