"""Shards in lhotse's Shar form, read as streams: descriptions of utterances (cuts) beside a tar file of recordings.

This and the writing of shards are all that needs lhotse, which opens what the addresses name: paths, URLs, pipes.
"""

from __future__ import annotations

import gzip
import json
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from melle.audio import resample
from melle.data.manifest import UNWRITABLE
from melle.errors import DataError, UserError

TRIES = 3  # to read a shard that lies elsewhere, with
PAUSE = 2.0  # seconds between them, doubled each time


@dataclass(frozen=True)
class Shard:
    """Two addresses: of the lines that describe utterances, and of the tar file of their recordings in that order."""

    cuts: str
    recording: str


@dataclass(frozen=True)
class Described:
    """What a line of a shard says of its utterance. ``seconds`` is the length of its recording."""

    id: str
    text: str
    speaker: str | None
    seconds: float
    language: str | None = None


@dataclass(frozen=True)
class Clip:
    """An utterance out of a shard, its recording as stored: the line, the sound's bytes and the bytes about them.

    Where there is no recording, ``sound`` is empty and ``reason`` says why.
    """

    line: bytes
    sound: bytes = b""
    about: bytes = b""
    reason: str = ""


def require_lhotse() -> None:
    """Raise UserError where the library that reads and writes shards is not installed."""
    try:
        import lhotse  # noqa: F401
    except ImportError:
        raise UserError('shards need lhotse; install it with: python -m pip install -e ".[shards]"') from None


def find_shards(place: str | Path) -> list[Shard]:
    """The shards of a folder, or those that a JSON file ``{"cuts": [addresses], "recording": [addresses]}`` lists."""
    place = Path(place)
    if place.is_dir():
        cuts = {_number(path): str(path) for path in sorted(place.glob("cuts.*jsonl*"))}
        tars = {_number(path): str(path) for path in sorted(place.glob("recording.*tar*"))}
        alone = sorted(cuts.keys() ^ tars.keys())
        if alone:
            lacking = [f"{'recording' if number in cuts else 'cuts'}.{number}" for number in alone]
            raise UserError(
                f"{place}: {', '.join(lacking[:3])} is missing; every cuts file needs its recording tar file"
            )
        shards = [Shard(cuts[number], tars[number]) for number in cuts]
    elif place.is_file():
        shards = _listed(place)
    else:
        raise UserError(f"{place}: neither a folder of shards nor a JSON file that lists them; see conf/data/shar.yaml")
    if not shards:
        raise UserError(
            f"{place}: no shards (cuts.*.jsonl.gz, recording.*.tar); make them with: python -m melle prepare shards"
        )
    return shards


def _number(path: Path) -> str:
    """What stands between "cuts." or "recording." and the next point."""
    return path.name.split(".")[1]


def _listed(path: Path) -> list[Shard]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
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

    content, error = _tries(shard.cuts, read)
    if error is None and not content.strip():
        error = "it is empty"
    if error is not None:
        raise DataError("unreadable shard", f"{shard.cuts}: not readable ({error}); mend the shard or take it out")
    return content.splitlines()


def describe(line: bytes, where: str) -> Described:
    """What a line of a shard says. Raises DataError for what is not an utterance with one text."""
    try:
        cut = json.loads(line)
        name, seconds, said = cut["id"], cut["duration"], cut.get("supervisions") or []
    except (ValueError, RecursionError):
        raise DataError("not JSON", f"{where}: not JSON; write the shard anew") from None
    except (KeyError, TypeError, AttributeError):
        raise DataError("not a cut", f"{where}: not a cut with id and duration; write the shard anew") from None
    if not isinstance(name, str) or not name or UNWRITABLE.search(name):
        raise DataError("wrong field", f"{where}: its id must be a string")
    if not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        raise DataError("wrong field", f"{where}: cut {name}: its duration must be a number of seconds")
    if len(said) > 1:
        reason = f"{where}: cut {name}: {len(said)} supervisions; cut it up by them (lhotse's trim_to_supervisions)"
        raise DataError("several texts", reason)
    text = said[0].get("text") if said else None
    if not isinstance(text, str) or not text.strip() or UNWRITABLE.search(text):
        raise DataError("no transcription", f"{where}: cut {name}: its supervision has no text; add it or remove it")
    speaker = said[0].get("speaker")
    language = said[0].get("language")
    return Described(
        name,
        text.strip(),
        speaker if speaker is None else str(speaker),
        float(seconds),
        language if isinstance(language, str) else None,
    )


def read_clips(shard: Shard, numbers: Iterable[int]) -> Iterator[tuple[int, Clip]]:
    """The utterances of a shard that stand in the lines ``numbers`` (from 0), in one pass over its files.

    All are given, those that cannot be had without sound. A broken member of the tar file costs that member only; a
    tar file that ends early costs what is behind its end.
    """
    try:
        lines = read_cuts(shard)
    except DataError as error:
        yield from ((number, Clip(b"", reason=str(error))) for number in numbers)
        return
    wanted = {_id(lines[number]) if number < len(lines) else None: number for number in numbers}
    found: dict[str, tuple[bytes, bytes]] = {}
    _, error = _tries(shard.recording, lambda: _read_tar(shard.recording, wanted.keys(), found))
    for name, number in wanted.items():
        line = lines[number] if number < len(lines) else b""
        reason = "" if name in found else f"{shard.recording}: {error or 'no such recording in it'}"
        yield number, Clip(line, *found.pop(name, (b"", b"")), reason=reason)


def _id(line: bytes) -> str | None:
    try:
        return json.loads(line)["id"]
    except (ValueError, KeyError, TypeError):
        return None


def _read_tar(address: str, wanted: Iterable[str], found: dict[str, tuple[bytes, bytes]]) -> None:
    from lhotse.serialization import open_best

    name, sound = None, b""
    with open_best(address, "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:  # a recording, and behind it what is known of it
            path = PurePosixPath(member.name)
            own = str(path.parent / path.stem)
            if own not in wanted or own in found or path.suffix in (".nodata", ".nometa"):
                continue
            content = tar.extractfile(member).read()
            if path.suffix != ".json":
                name, sound = own, content
            elif own == name:
                found[own] = sound, content
        while stream.read(2**20):  # a pipe's command would fail where nobody takes the rest
            pass


def _tries(address: str, read):
    """What ``read`` gives and None, or None and why it fails; what lies elsewhere gets a few tries."""
    tries = TRIES if "://" in address or address.startswith("pipe:") else 1
    for number in range(tries):
        try:
            return read(), None
        except Exception as error:  # whatever the libraries behind URLs and pipes raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if number + 1 < tries:
            time.sleep(PAUSE * 2**number)
    return None, reason


def waveform(clip: Clip, sample_rate: int) -> Tensor:
    """The sound of a clip, mono float32 samples (N,) at ``sample_rate``. Raises DataError where it cannot be used."""
    from lhotse.serialization import deserialize_item
    from lhotse.shar.utils import fill_shar_placeholder

    if not clip.sound:
        raise DataError("missing", clip.reason or "a recording of no bytes; write the shard anew")
    try:
        cut = deserialize_item(json.loads(clip.line))
        cut.recording = deserialize_item(json.loads(clip.about))
        fill_shar_placeholder(cut.recording, clip.sound, "recording.flac")
        samples, rate = cut.load_audio(), cut.sampling_rate
    except Exception as error:  # a broken stream can make any of the decoders fail, each in its way
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError("unreadable", f"not readable as audio ({reason}); write the shard anew") from None
    if not samples.size:
        raise DataError("no sound", "a recording without sound; write the shard without it")
    if not np.isfinite(samples).all():
        raise DataError("not finite", "holds values that are not numbers; write the shard without it")
    sound = torch.from_numpy(np.asarray(samples, np.float32).mean(axis=0))
    if rate != sample_rate:
        sound = resample(sound, rate, sample_rate)
    return sound.contiguous()
