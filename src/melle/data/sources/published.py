"""Published corpora as manifests: LibriSpeech, LibriTTS, LibriTTS-R, LJSpeech, VCTK (by lhotse's recipes), FSDD."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from melle.data.manifest import Utterance
from melle.data.pairs import cross_sentence_pairs
from melle.data.sources.archives import provide, require_lhotse
from melle.data.sources.manifests import Manifests, logger, measured, split, split_by, write_manifests
from melle.errors import UserError, reason

MIRROR = "https://www.openslr.org/resources"  # of LibriSpeech and LibriTTS
LJSPEECH = "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2"
OPENSLR = {"librispeech": ("LibriSpeech", 12), "libritts": ("LibriTTS", 60), "libritts-r": ("LibriTTS_R", 141)}
TRAINING = "train-clean-100", "train-clean-360", "train-other-500"
SUBSETS = (*TRAINING, "dev-clean", "dev-other", "test-clean", "test-other")
MIN_SECONDS, MAX_SECONDS = 4.0, 10.0  # of prompts and of what is spoken in evaluation, the paper's (§4.3)
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
FSDD_FOLDER = "free-spoken-digit-dataset-1.0.10"
FSDD_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_\d+")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
THREADS = 8  # that read headers
LJSPEECH_SHARES = 0.02, 0.02  # of the utterances, for validation and test: about half an hour each
VCTK_SHARES = 0.05, 0.1  # of the speakers


def prepare_librispeech(
    root: Path,
    output: Path,
    download: bool = False,
    mirror: str = MIRROR,
    subsets: list[str] | None = None,
    keep_case: bool = False,
) -> None:
    """Write a manifest for each subset that is there, one for those of training, and the lists of test-clean.

    Transcripts are all in upper case, which says nothing: they are lowered unless ``keep_case``, as phonemizers spell
    out what is in capitals, and as texts to be spoken are in lower case for the most part.
    """
    top, parts = _subsets("librispeech", root, download, mirror, subsets)
    case = "none" if keep_case else "lower"
    found = _recipe("librispeech", top, dataset_parts=parts, normalize_text=case, num_jobs=THREADS)
    hours = sum(int(name.rsplit("-", 1)[-1]) for name in parts if name.startswith("train-"))  # 960 when all are there
    manifests = _by_subset("librispeech", found, f"train{hours}")
    if "test-clean" in parts:
        manifests.update(evaluation_lists(manifests["librispeech_test_clean.jsonl"]))
    write_manifests(output, manifests)


def prepare_libritts(
    root: Path,
    output: Path,
    download: bool = False,
    mirror: str = MIRROR,
    subsets: list[str] | None = None,
    corpus: str = "libritts",
) -> None:
    """Write a manifest for each subset that is there, and one for those of training. ``corpus``: or "libritts-r"."""
    top, parts = _subsets(corpus, root, download, mirror, subsets)
    found = _recipe("libritts", top, dataset_parts=parts, num_jobs=THREADS)
    write_manifests(output, _by_subset(corpus.replace("-", "_"), found, "train"))


def prepare_ljspeech(root: Path, output: Path, download: bool = False) -> None:
    """Write the manifests of training, validation and test, which an utterance's id decides between."""
    folder = _folder(root, LJSPEECH, "LJSpeech-1.1", "metadata.csv", download)
    found = _utterances(_recipe("ljspeech", folder), text=lambda said: said.custom["normalized_text"], speaker="lj")
    write_manifests(output, split_by("ljspeech", found, lambda utterance: split(utterance.id, *LJSPEECH_SHARES)))


def prepare_vctk(root: Path, output: Path, download: bool = False, microphone: int = 1) -> None:
    """Write the manifests of training, validation and test, which share no speaker. ``microphone``: 1 or 2."""
    require_lhotse()
    from lhotse.recipes.vctk import EDINBURGH_VCTK_URL

    folder = _folder(root, EDINBURGH_VCTK_URL, "VCTK-Corpus-0.92", "wav48_silence_trimmed", download, bare=True)
    found = _recipe("vctk", folder, use_edinburgh_vctk_url=True, mic_id=f"mic{microphone}")
    members = _utterances(found, id=lambda said: said.id.removesuffix(f"_mic{microphone}"))
    write_manifests(output, split_by("vctk", members, lambda utterance: split(utterance.speaker, *VCTK_SHARES)))


def prepare_fsdd(root: Path, output: Path, download: bool = False) -> None:
    """Write the manifests of training, validation and test of 3000 spoken digits. Every speaker is in all of them.

    ``root``: where the corpus is unpacked, its archive lies or is put; or a clone of its repository.
    """
    folder = root
    if not (root / "recordings").is_dir():
        folder = provide(root, FSDD, FSDD_FOLDER, download, file=f"{FSDD_FOLDER}.tar.gz")
    if folder is None:
        raise UserError(f"{root}: no recordings/DIGIT_SPEAKER_INDEX.wav; add --download or give their folder as --root")
    utterances = [
        Utterance(DIGITS[int(name["digit"])], path, path.stem, name["speaker"], "en")
        for path in sorted((folder / "recordings").glob("*.wav"))
        if (name := FSDD_NAME.fullmatch(path.stem))
    ]
    if not utterances:
        raise UserError(f"{folder / 'recordings'}: holds no DIGIT_SPEAKER_INDEX.wav; unpack the corpus again")
    manifests = split_by("fsdd", measured(utterances), lambda one: fsdd_split(int(one.id.rsplit("_", 1)[1])))
    write_manifests(output, manifests)


def fsdd_split(index: int) -> str:
    """Recordings 0 to 4 of each digit and speaker are the corpus's own test set; 5 to 9 are for validation here."""
    return "test" if index < 5 else "validation" if index < 10 else "train"


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


def _subsets(corpus: str, root: Path, download: bool, mirror: str, wanted: list[str] | None) -> tuple[Path, list[str]]:
    """The corpus's folder and its subsets that are there, got where that is asked for."""
    top, number = OPENSLR[corpus]
    found = {}
    for name in wanted or SUBSETS:
        file = f"{name.replace('-', '_') if corpus == 'libritts-r' else name}.tar.gz"
        found[name] = provide(root, f"{mirror.rstrip('/')}/{number}/{file}", f"{top}/{name}", download)
    absent = [name for name, folder in found.items() if folder is None]
    there = {name: folder for name, folder in found.items() if folder is not None}
    if not there:
        raise UserError(
            f"{root}: no subset of {top}, neither unpacked nor as {absent[0]}.tar.gz or the like; add --download or "
            "give the folder that holds them as --root"
        )
    if absent:
        logger.warning("%s: not found: %s; --download fetches them", top, ", ".join(absent))
    return next(iter(there.values())).parent, list(there)


def _folder(root: Path, url: str, folder: str, mark: str, download: bool, bare: bool = False) -> Path:
    """The folder of a corpus that is one archive. ``mark``: something in it by which it is known."""
    found = root if (root / mark).exists() else provide(root, url, folder, download, bare)
    if found is None:
        file = url.rsplit("/", 1)[-1]
        raise UserError(
            f"{root}: no {folder}, neither unpacked nor as {file}; add --download or give the folder that holds it as "
            "--root"
        )
    return found


def _recipe(name: str, folder: Path, **options: Any) -> dict:
    """What lhotse's recipe finds in a folder: recordings and supervisions, by subset where there are subsets."""
    require_lhotse()
    import lhotse.recipes

    try:
        return getattr(lhotse.recipes, f"prepare_{name}")(folder, **options)
    except Exception as error:  # a file that is not there, or broken, or otherwise laid out
        raise UserError(f"{folder}: not as published ({reason(error)}); remove it and unpack it again") from None


def _utterances(
    found: dict,
    text: Callable[[Any], str] = lambda said: said.text,
    id: Callable[[Any], str] = lambda said: said.id,
    speaker: str | None = None,
    language: str = "en",
) -> list[Utterance]:
    """lhotse's supervisions as utterances, by their ids; those without a text are skipped. ``language``: of all."""
    utterances = [
        Utterance(
            transcription=" ".join(text(said).split()),
            audio_path=Path(found["recordings"][said.recording_id].sources[0].source),
            id=id(said),
            speaker=speaker or said.speaker,
            language=language,
            duration=round(said.duration, 6),
        )
        for said in found["supervisions"]
    ]
    return sorted((one for one in utterances if one.transcription), key=lambda utterance: utterance.id)


def _by_subset(corpus: str, found: dict, train: str, language: str = "en") -> dict[str, list[Utterance]]:
    manifests: dict[str, list[Utterance]] = {}
    for name, members in found.items():
        manifest = train if name.startswith("train-") else name.replace("-", "_")
        manifests.setdefault(f"{corpus}_{manifest}.jsonl", []).extend(_utterances(members, language=language))
    return manifests
