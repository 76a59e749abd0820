"""One manifest split at random into one to train on, one to validate on and one to test on.

The manifest is read twice, line by line: first every line is put to a unit that must stay whole, a text or a speaker;
then, when it is known which units are held out, the lines are written. Between the two, a line is four bytes and a
unit its name.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from array import array
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from melle.data.manifest import Totals, audio_from, parse_line, read_lines
from melle.data.sources.manifests import share
from melle.errors import DataError, UserError
from melle.files import check_writable, written_whole

SPLITS = ("train", "validation", "test")
UNITS = ("utterance", "speaker")
BROKEN, NOBODY = -1, -2  # instead of a unit: of a line that is no utterance; of one that names no speaker


logger = logging.getLogger(__name__)


def split_manifest(
    manifest: str | Path, output: str | Path, validation: int, test: int, by: str = "utterance", seed: int = 0
) -> dict[Path, Totals]:
    """Write train.jsonl, validation.jsonl and test.jsonl into the folder ``output``, or those that are not empty.

    By utterance, utterances whose texts say the same stay together, so that no sentence of one part is in another; the
    voices are the same in all. By speaker, speakers stay together; texts may come in several parts, and what names no
    speaker is trained on. A line keeps all that it says; its audio path is written anew, and its id where it had none.
    The same lines, counts and seed give the same parts, in whatever order the lines stand. What is skipped or falls
    short is logged. Raises UserError where the counts cannot be had, and writes nothing then.

    Args:
        validation, test: how many utterances (by utterance) or speakers (by speaker) to hold out.
        by: "utterance" or "speaker".
        seed: of the draw.
    """
    manifest, output = Path(manifest), Path(output)
    if by not in UNITS:
        raise UserError(f"--by {by}: choose utterance or speaker")
    if validation < 0 or test < 0 or not validation + test:
        raise UserError(f"--validation {validation}, --test {test}: give 0 or more, and not 0 for both")
    units, names, first_fault = _read(manifest, by)
    counts = {"test": test, "validation": validation}
    held_out = _draw(manifest, names, Counter(units), counts, by, seed)
    written = [split for split in SPLITS if split == "train" or counts[split]]
    check_writable(output, folder=True)
    if any((output / f"{split}.jsonl").resolve() == manifest.resolve() for split in written):
        raise UserError(f"{manifest}: is the manifest that is read; give another folder with -o, or rename it")
    if first_fault:
        logger.warning("%s: %d lines skipped; the first: %s", manifest, units.count(BROKEN), first_fault)
    if nobody := units.count(NOBODY):
        logger.warning("%s: %d utterances that name no speaker are trained on", manifest, nobody)
    for path in (output / f"{split}.jsonl" for split in SPLITS if split not in written):
        if path.exists():
            logger.warning("%s: from an earlier split and left unchanged; it is not part of this one", path)
    try:
        parts = _write(manifest, output, written, units, held_out)
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror or error}); give another folder with -o"
        ) from None
    for path, totals in parts.items():
        wanted = counts.get(path.stem, 0)
        if by == "utterance" and totals.utterances < wanted:
            message = "%s: %d utterances instead of %d, because those of one text stay together"
            logger.warning(message, path, totals.utterances, wanted)
    return parts


def text_key(text: str) -> str:
    """What two texts have in common that differ only in case, punctuation, white space or how characters are coded."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # Letters, the marks on them, and numbers: without white space "well-known" and "well known" are the same, too.
    return "".join(character for character in folded if unicodedata.category(character)[0] in "LMN") or folded.strip()


def _read(manifest: Path, by: str) -> tuple[array, dict[str, int], str | None]:
    """For every line the number of its unit; the numbers by the units' names; what is wrong with the first bad line."""
    units, names, first_fault = array("i"), {}, None
    for number, _, line in tqdm(read_lines(manifest), desc=manifest.name, unit=" lines", leave=False, delay=1):
        try:
            utterance = parse_line(line, manifest, number)
        except DataError as error:
            units.append(BROKEN)
            first_fault = first_fault or str(error)
            continue
        name = text_key(utterance.transcription) if by == "utterance" else utterance.speaker
        units.append(NOBODY if name is None else names.setdefault(name, len(names)))
    if units.count(BROKEN) == len(units):
        raise UserError(f"{manifest}: no valid line; {first_fault or 'add one JSON object per utterance'}")
    return units, names, first_fault


def _draw(
    manifest: Path, names: dict[str, int], sizes: Counter[int], counts: dict[str, int], by: str, seed: int
) -> dict[int, str]:
    """The units that are held out, and where they go: taken in an order that is the seed's, as far as they fit.

    ``sizes``: utterances of each unit.
    """
    there = sum(sizes[unit] for unit in names.values()) if by == "utterance" else len(names)
    if sum(counts.values()) >= there:
        hint = "" if by == "utterance" else ", or --by utterance"
        raise UserError(
            f"{manifest}: has {there} {by}s, so that nothing would be left to train on; give a smaller --validation or "
            f"--test{hint}"
        )
    order = sorted(names, key=lambda name: (share(f"{seed} {name}"), name))
    held_out: dict[int, str] = {}
    for split, wanted in counts.items():
        left = wanted
        for unit in (names[name] for name in order):
            cost = sizes[unit] if by == "utterance" else 1
            if cost <= left and unit not in held_out:
                held_out[unit] = split
                left -= cost
        if left == wanted > 0:
            raise UserError(
                f"{manifest}: utterances of one text stay together, and no text has so few that --{split} {wanted} "
                "could hold them out; give a larger number, or --by speaker"
            )
    return held_out


def _write(
    manifest: Path, output: Path, splits: list[str], units: array, held_out: dict[int, str]
) -> dict[Path, Totals]:
    """What went into each of the parts, which are written whole or not at all, in the order of the lines."""
    paths = {name: output / f"{name}.jsonl" for name in splits}
    totals = {path: Totals() for path in paths.values()}
    output.mkdir(parents=True, exist_ok=True)
    folder = output.resolve()
    with ExitStack() as stack:
        partials = {name: stack.enter_context(written_whole(path)) for name, path in paths.items()}
        # What UTF-8 cannot say, a half of a surrogate pair, becomes the escape that JSON has for it.
        files = {
            name: stack.enter_context(partial.open("w", encoding="utf-8", errors="backslashreplace"))
            for name, partial in partials.items()
        }
        lines = tqdm(read_lines(manifest), total=len(units), unit=" lines", desc="Writing", leave=False, delay=1)
        for unit, (number, _, line) in zip(units, lines):
            if unit == BROKEN:
                continue
            name = held_out.get(unit, "train")
            utterance = parse_line(line, manifest, number)
            item = json.loads(line.decode("utf-8-sig"))
            item["audio_path"] = audio_from(folder, utterance.audio_path)
            if item.get("id") in (None, ""):
                item["id"] = utterance.id  # by the line's number, which will be another one
            files[name].write(json.dumps(item, ensure_ascii=False) + "\n")
            totals[paths[name]].add(utterance)
    return totals
