"""LibriSpeech and what is laid out like it: LibriTTS, LibriTTS-R."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from melle.data.manifest import Utterance
from melle.data.pairs import cross_sentence_pairs
from melle.data.sources.archives import provide
from melle.data.sources.manifests import Manifests, logger, write_manifests
from melle.data.sources.published import Published, by_subset, output_of, read_recipe, root_of
from melle.errors import UserError
from melle.options import option

MIRROR = "https://www.openslr.org/resources"
TRAINING = "train-clean-100", "train-clean-360", "train-other-500"
SUBSETS = (*TRAINING, "dev-clean", "dev-other", "test-clean", "test-other")
MIN_SECONDS, MAX_SECONDS = 4.0, 10.0  # of prompts and of what is spoken in evaluation, the paper's (§4.3)
THREADS = 8  # that read headers


@dataclass
class OpenSlr(Published):
    """A corpus in the subsets of LibriSpeech."""

    subsets: Sequence[str] | None = option(
        None, f"only these (default: all): {', '.join(SUBSETS)}", choices=SUBSETS, metavar="NAME"
    )
    mirror: str = option(MIRROR, "download from there", metavar="URL")

    top: ClassVar[str]  # folder
    number: ClassVar[int]  # at OpenSLR

    def find_subsets(self) -> tuple[Path, list[str]]:
        """The corpus's folder and its subsets that are there, got where that is asked for."""
        found = {}
        for name in self.subsets or SUBSETS:
            url = f"{self.mirror.rstrip('/')}/{self.number}/{self.archive_of(name)}.tar.gz"
            found[name] = provide(self.root, url, f"{self.top}/{name}", self.download)
        absent = [name for name, folder in found.items() if folder is None]
        there = {name: folder for name, folder in found.items() if folder is not None}
        if not there:
            raise UserError(
                f"{self.root}: no subset of {self.top}, neither unpacked nor as {absent[0]}.tar.gz or the like; add "
                "--download or give the folder that holds them as --root"
            )
        if absent:
            logger.warning("%s: not found: %s; --download fetches them", self.top, ", ".join(absent))
        return next(iter(there.values())).parent, list(there)

    def archive_of(self, subset: str) -> str:
        """Its file's name, without the ending."""
        return subset


@dataclass
class LibriSpeech(OpenSlr):
    root: Path = root_of("librispeech")
    output: Path = output_of("librispeech")
    keep_case: bool = option(False, "leave transcripts in upper case, as they are")

    top, number = "LibriSpeech", 12

    def prepare(self) -> None:
        """A manifest for each subset that is there, one for those of training, and the lists of test-clean.

        Transcripts are all in upper case, which says nothing: they are lowered unless ``keep_case``, as phonemizers
        spell out what is in capitals, and as texts to be spoken are in lower case for the most part.
        """
        top, parts = self.find_subsets()
        case = "none" if self.keep_case else "lower"
        found = read_recipe("librispeech", top, dataset_parts=parts, normalize_text=case, num_jobs=THREADS)
        hours = sum(int(name.rsplit("-", 1)[-1]) for name in parts if name.startswith("train-"))  # 960: all are there
        manifests = by_subset("librispeech", found, f"train{hours}")
        if "test-clean" in parts:
            manifests.update(evaluation_lists(manifests["librispeech_test_clean.jsonl"]))
        write_manifests(self.output, manifests)


@dataclass
class LibriTTS(OpenSlr):
    root: Path = root_of("libritts")
    output: Path = output_of("libritts")

    top, number = "LibriTTS", 60

    def prepare(self) -> None:
        """A manifest for each subset that is there, and one for those of training."""
        top, parts = self.find_subsets()
        found = read_recipe("libritts", top, dataset_parts=parts, num_jobs=THREADS)
        write_manifests(self.output, by_subset(self.top.lower(), found, "train"))


@dataclass
class LibriTTSR(LibriTTS):
    root: Path = root_of("libritts_r")
    output: Path = output_of("libritts_r")

    top, number = "LibriTTS_R", 141

    def archive_of(self, subset: str) -> str:
        return subset.replace("-", "_")


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
        pairs = []
        span = f"{MIN_SECONDS:g} to {MAX_SECONDS:g} seconds"
        logger.warning("test-clean: no speaker has two utterances of %s, so no prompts", span)
    pairs.sort(key=lambda pair: pair.target.id)
    return {
        "librispeech_testclean_prompt.jsonl": [pair.prompt for pair in pairs],
        "librispeech_testclean_generate.jsonl": [pair.target for pair in pairs],
        "librispeech_testclean_continuation.jsonl": fitting,
    }
