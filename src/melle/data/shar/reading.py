"""Shards in lhotse's Shar form, read as streams: descriptions of utterances (cuts) beside a tar file of recordings.

lhotse opens what the addresses name: paths, URLs and, where that is allowed, pipes.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from torch import Tensor

from melle.audio import checked_samples, mono_at
from melle.console import shell_command
from melle.data.manifest import Utterance, is_text
from melle.errors import DataError, UserError, reason

TRIES = 3  # to read a shard that lies elsewhere, with
PAUSE = 2.0  # seconds between them, doubled each time


@dataclass(frozen=True)
class Shard:
    """Two addresses: of the lines that describe utterances, and of the tar file of their recordings in that order."""

    cuts: str
    recording: str


@dataclass(frozen=True)
class StoredItem:
    """An utterance out of a shard: its line, and its recording as stored; if ``sound`` is empty, ``fault`` says why."""

    line: bytes
    sound: bytes = b""
    fault: str = ""


def find_shards(place: str | Path, allow_pipes: bool = False) -> list[Shard]:
    """The shards of a folder, or those that a JSON file ``{"cuts": [addresses], "recording": [addresses]}`` lists.

    ``allow_pipes``: addresses may be ``pipe:COMMAND``, which a shell runs.
    """
    place = Path(place)
    if place.is_dir():
        shards = _in_folder(place)
    elif place.is_file():
        shards = _listed(place)
    else:
        raise UserError(f"{place}: neither a folder of shards nor a JSON file that lists them; see conf/data/shar.yaml")
    if not shards:
        command = shell_command("python", "-m", "melle", "prepare", "shards", "--manifest", "FILE", "-o", place)
        raise UserError(f"{place}: no shards (cuts.*.jsonl.gz, recording.*.tar); make them of a manifest: {command}")
    pipe = next((name for shard in shards for name in (shard.cuts, shard.recording) if name.startswith("pipe:")), None)
    if pipe and not allow_pipes:
        raise UserError(
            f"{place}: {pipe} is a command that a shell would run; where you trust the list, add data.allow_pipes=true"
        )
    return shards


def _in_folder(place: Path) -> list[Shard]:
    """Shards are numbered by what stands between "cuts." or "recording." and the next point."""
    cuts = {path.name.split(".")[1]: str(path) for path in sorted(place.glob("cuts.*jsonl*"))}
    tars = {path.name.split(".")[1]: str(path) for path in sorted(place.glob("recording.*tar*"))}
    lacking = [f"{'recording' if number in cuts else 'cuts'}.{number}" for number in sorted(cuts.keys() ^ tars.keys())]
    if lacking:
        raise UserError(f"{place}: {', '.join(lacking[:3])} is missing; every cuts file needs its recording tar file")
    return [Shard(cuts[number], tars[number]) for number in cuts]


def _listed(path: Path) -> list[Shard]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8-sig"))
        cuts, tars = fields["cuts"], fields["recording"]
        right = all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in (cuts, tars))
    except (ValueError, KeyError, TypeError):
        right = False
    if not right or len(cuts) != len(tars):
        example = '{"cuts": [addresses], "recording": [as many]}'
        raise UserError(f"{path}: expected a folder of shards, or a JSON file such as {example}")
    return [Shard(*pair) for pair in zip(cuts, tars)]


def read_cuts(shard: Shard) -> list[bytes]:
    """The lines that describe the utterances of a shard. Raises DataError where they cannot be had."""
    from lhotse.serialization import open_best

    def read() -> bytes:
        with open_best(shard.cuts, "rb") as stream:
            content = stream.read()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content  # a pipe's is compressed yet

    content, fault = _tries(shard.cuts, read)
    if not fault and not content.strip():
        fault = "it is empty"
    if fault:
        raise DataError("unreadable shard", f"{shard.cuts}: not readable ({fault}); fix the shard or take it out")
    return content.splitlines()


def parse_cut(line: bytes, where: str) -> Utterance:
    """The utterance that a line of a shard describes, its duration that of the recording, which ``where`` stands for.

    Raises DataError for what is not an utterance with one text.
    """
    try:
        cut = json.loads(line)
        name, seconds, said = cut["id"], cut["duration"], cut.get("supervisions") or []
    except (ValueError, RecursionError):
        raise DataError("not JSON", f"{where}: not JSON; write the shard anew") from None
    except (KeyError, TypeError, AttributeError):
        raise DataError("not a cut", f"{where}: not a cut with id and duration; write the shard anew") from None
    if not is_text(name):
        raise DataError("wrong field", f"{where}: its id must be a string")
    if not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        raise DataError("wrong field", f"{where}: cut {name}: its duration must be a number of seconds")
    if len(said) > 1:
        message = f"{where}: cut {name}: {len(said)} supervisions; cut it up by them (lhotse's trim_to_supervisions)"
        raise DataError("several texts", message)
    text = said[0].get("text") if said else None
    if not is_text(text):
        raise DataError("no transcription", f"{where}: cut {name}: its supervision has no text; add it or remove it")
    speaker, language = said[0].get("speaker"), said[0].get("language")
    speaker = speaker if speaker is None else str(speaker)
    language = language if isinstance(language, str) else None
    return Utterance(text.strip(), Path(where), name, speaker, language, float(seconds))


def read_items(shard: Shard, numbers: Iterable[int]) -> dict[int, StoredItem]:
    """The utterances of a shard that stand in the lines ``numbers`` (from 0), in one pass over its files.

    All are given, those that cannot be had without sound. A tar file that ends early costs what is behind its end.
    """
    try:
        lines = read_cuts(shard)
    except DataError as error:
        return {number: StoredItem(b"", fault=str(error)) for number in numbers}
    wanted = {_id(lines[number]) if number < len(lines) else None: number for number in numbers}
    found: dict[str, bytes] = {}
    _, fault = _tries(shard.recording, lambda: _read_tar(shard.recording, wanted.keys(), found))
    fault = f"{shard.recording}: {fault or 'no such recording in it'}"
    return {
        number: StoredItem(lines[number] if number < len(lines) else b"", found.get(name, b""), fault)
        for name, number in wanted.items()
    }


def _id(line: bytes) -> str | None:
    try:
        return json.loads(line)["id"]
    except (ValueError, KeyError, TypeError):
        return None


def _read_tar(address: str, wanted: Iterable[str], found: dict[str, bytes]) -> None:
    from lhotse.serialization import open_best
    from lhotse.shar.readers.tar import iterate_tarfile_pairwise

    with open_best(address, "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for (sound, path), _ in iterate_tarfile_pairwise(tar):  # a recording, and what is known of it
            name = str(path.parent / path.stem)
            if sound and name in wanted:
                found[name] = sound
        while stream.read(2**20):  # a pipe's command would fail where nobody takes the rest
            pass


def _tries(address: str, read: Callable[[], Any]) -> tuple[Any, str]:
    """What ``read`` gives, and why it fails; what lies elsewhere gets a few tries."""
    tries = TRIES if "://" in address or address.startswith("pipe:") else 1
    for number in range(tries):
        try:
            return read(), ""
        except Exception as error:  # whatever the libraries behind URLs and pipes raise
            fault = reason(error)
        if number + 1 < tries:
            time.sleep(PAUSE * 2**number)
    return None, fault


def waveform(item: StoredItem, sample_rate: int, name: str) -> Tensor:
    """The waveform of an item, mono float32 samples (N,) at ``sample_rate``. Raises DataError where it cannot be used.

    ``name``: what messages call it.
    """
    if not item.sound:
        raise DataError("missing", f"{name}: {item.fault}")
    try:
        samples, rate = soundfile.read(io.BytesIO(item.sound), dtype="float32", always_2d=True)
    except Exception as error:  # a broken stream can make the decoder fail in many ways
        message = f"{name}: not readable as audio ({reason(error)}); write the shard anew"
        raise DataError("unreadable", message) from None
    return mono_at(sample_rate, checked_samples(samples, name), rate, name)
