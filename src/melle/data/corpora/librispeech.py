"""LibriSpeech (openslr.org/12): 960 hours of audiobooks in English by 2338 readers, and its lists for evaluation."""

from __future__ import annotations

from pathlib import Path

from melle.data.corpora.archives import Archive, Source
from melle.data.corpora.recordings import (
    Manifests,
    folders_in,
    in_threads,
    measured,
    prepare_manifests,
    stamp,
    tell_left_out,
)
from melle.data.manifest import Utterance
from melle.data.pairs import cross_sentence_pairs
from melle.errors import UserError

URL = "https://www.openslr.org/resources/12"
MD5 = {  # of SUBSET.tar.gz, from md5sum.txt on the server
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
}
LEVELS = 2  # of folders in a subset: readers and their chapters, which hold the files
LISTED = "test-clean"  # the subset that is spoken in evaluation
MIN_SECONDS, MAX_SECONDS = 4.0, 10.0  # of prompts and of what is spoken, as the paper has them (§4.3)


def prepare(
    source: Source, output: Path, subsets: list[str] | None = None, keep_case: bool = False, again: bool = False
) -> None:
    """Write the manifests of the subsets that are there, those of training in one, and the lists of test-clean.

    Transcripts are all in upper case, which says nothing: they are lowered unless ``keep_case``, as phonemizers spell
    out what is in capitals, and as texts to be spoken are in lower case for the most part.
    """
    folders = subset_folders(source, "LibriSpeech", URL, MD5, subsets)
    stamps = {name: stamp(folders_in(folder, LEVELS)) for name, folder in folders.items()}
    made_of = {"folders": stamps, "case": keep_case}
    prepare_manifests(output, "librispeech", made_of, lambda: _read(folders, keep_case), again)


def subset_folders(
    source: Source, top: str, url: str, md5: dict[str, str], subsets: list[str] | None, underscores: bool = False
) -> dict[str, Path]:
    """The folders of the subsets, got where that is asked for. Says which are absent; an error if all are."""
    found = {}
    for name in subsets or md5:
        file = f"{name.replace('-', '_') if underscores else name}.tar.gz"
        found[name] = source.provide(Archive(f"{url}/{file}", f"{top}/{name}", md5=md5[name]))
    absent = [name for name, folder in found.items() if folder is None]
    if len(absent) == len(found):
        raise UserError(
            f"{source.root}: no subset of {top}, neither unpacked nor as {absent[0]}.tar.gz or the like; add "
            "--download or give the folder that holds them as --root"
        )
    if absent:
        print(f"{top}: absent and left aside: {', '.join(absent)}; --download gets them")
    return {name: folder for name, folder in found.items() if folder is not None}


def evaluation_lists(utterances: list[Utterance]) -> Manifests:
    """Lists for the two ways of cloning a voice: continuing an utterance, and speaking a text after another utterance.

    Line i of the one list prompts line i of the other: the same speaker, other words, both of 4 to 10 seconds. They
    depend on the set of utterances, not on its order.
    """
    fitting = [utterance for utterance in utterances if MIN_SECONDS <= utterance.duration <= MAX_SECONDS]
    fitting.sort(key=lambda utterance: utterance.id)
    try:
        pairs = cross_sentence_pairs(fitting, len(fitting), min_seconds=MIN_SECONDS, max_seconds=MAX_SECONDS)
    except UserError:
        print(f"{LISTED}: no speaker has two utterances of {MIN_SECONDS:g} to {MAX_SECONDS:g} seconds, so no prompts")
        pairs = []
    pairs.sort(key=lambda pair: pair.target.id)
    return {
        "librispeech_testclean_prompt.jsonl": [pair.prompt for pair in pairs],
        "librispeech_testclean_generate.jsonl": [pair.target for pair in pairs],
        "librispeech_testclean_continuation.jsonl": fitting,
    }


def _read(folders: dict[str, Path], keep_case: bool) -> Manifests:
    train = [name for name in folders if name.startswith("train-")]
    hours = sum(int(name.rsplit("-", 1)[-1]) for name in train)  # 960 when all are there
    manifests = {}
    for name, folder in folders.items():
        manifest = f"train{hours}" if name in train else name.replace("-", "_")
        manifests.setdefault(f"librispeech_{manifest}.jsonl", []).extend(_utterances(folder, keep_case))
    manifests = measured(manifests)
    if LISTED in folders:
        manifests.update(evaluation_lists(manifests[f"librispeech_{LISTED.replace('-', '_')}.jsonl"]))
    return manifests


def _utterances(folder: Path, keep_case: bool) -> list[Utterance]:
    """The utterances of a subset, by the files of transcripts, one to a chapter."""
    files = sorted(folder.glob("*/*/*.trans.txt"))
    if not files:
        raise UserError(f"{folder}: holds no SPEAKER/CHAPTER/*.trans.txt; remove the folder and unpack it again")
    found, faults = [], []
    texts = list(in_threads(_lines, files, f"Reading {folder.name}"))
    for file, lines in zip(files, texts):
        for line in lines:
            name, _, text = line.strip().partition(" ")
            if not text.strip():
                if name:
                    faults.append(f"{file}: no transcript of {name}")
                continue
            text = text.strip() if keep_case else text.strip().lower()
            found.append(Utterance(text, file.parent / f"{name}.flac", name, file.parent.parent.name, "en"))
    tell_left_out(faults)
    return found


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()
