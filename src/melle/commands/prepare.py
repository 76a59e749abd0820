"""``python -m melle prepare CORPUS``: the manifests of a corpus, unpacked and downloaded where it has to be."""

from __future__ import annotations

import argparse
from pathlib import Path

from melle.commands import features, shards, split, teacher
from melle.errors import UserError
from melle.formats import COMPRESSED, OPEN

TRAINING = "train-clean-100", "train-clean-360", "train-other-500"
SUBSETS = (*TRAINING, "dev-clean", "dev-other", "test-clean", "test-other")


def add(commands: argparse._SubParsersAction) -> None:
    prepare = commands.add_parser("prepare", help="write the manifests of a corpus; unpack and download it if need be")
    corpora = prepare.add_subparsers(required=True, metavar="corpus")

    librispeech = _openslr(
        corpora, "librispeech", "960 hours of audiobooks, 2338 readers; 60 GB", "prepare_librispeech"
    )
    librispeech.add_argument("--keep-case", action="store_true", help="leave transcripts in upper case, as they are")
    _openslr(corpora, "libritts", "585 hours of audiobooks in sentences; 80 GB", "prepare_libritts")
    restored = _openslr(corpora, "libritts-r", "LibriTTS with its sound restored; 80 GB", "prepare_libritts")
    restored.set_defaults(corpus="libritts-r")
    _published(corpora, "ljspeech", "24 hours of one reader; 2.6 GB", "prepare_ljspeech")
    vctk = _published(corpora, "vctk", "44 hours of 110 speakers, split by speaker; 11 GB", "prepare_vctk")
    vctk.add_argument(
        "--microphone", type=int, choices=(1, 2), default=1, help="of the two recordings (default: %(default)s)"
    )
    _published(corpora, "fsdd", "3000 spoken digits of 6 speakers; 16 MB", "prepare")
    _add_folder(corpora)
    teacher.add(corpora)
    features.add(corpora)
    shards.add(corpora)
    split.add(corpora)


def _published(corpora: argparse._SubParsersAction, name: str, text: str, function: str) -> argparse.ArgumentParser:
    """The command of a corpus that can be downloaded. ``function`` takes the options, by their names."""
    place = Path(f"data/{name.replace('-', '_')}")
    corpus = corpora.add_parser(name, help=text, description=text)
    corpus.add_argument(
        "--root",
        type=Path,
        default=place,
        metavar="DIR",
        help="where the corpus lies, unpacked or as archives, or is put (default: %(default)s)",
    )
    corpus.add_argument("--download", action="store_true", help="download what is neither unpacked nor an archive")
    corpus.add_argument(
        "-o", "--output", type=Path, default=place, help="folder of the manifests (default: %(default)s)"
    )
    corpus.set_defaults(run=lambda options: _prepare(name, function, vars(options)))
    return corpus


def _openslr(corpora: argparse._SubParsersAction, name: str, text: str, function: str) -> argparse.ArgumentParser:
    corpus = _published(corpora, name, text, function)
    corpus.add_argument(
        "--subsets", nargs="+", choices=SUBSETS, metavar="NAME", help=f"only these (default: all): {', '.join(SUBSETS)}"
    )
    mirror = "https://www.openslr.org/resources"
    corpus.add_argument("--mirror", metavar="URL", default=mirror, help=f"download from there instead of {mirror}")
    return corpus


def _prepare(name: str, function: str, options: dict) -> None:
    from melle.data.sources import fsdd, published

    if not options["download"] and not options["root"].is_dir():
        raise UserError(f"{options['root']}: no such folder; add --download or give the corpus's folder as --root")
    wanted = ("root", "output", "download", "mirror", "subsets", "keep_case", "corpus", "microphone")
    own = {key: value for key, value in options.items() if key in wanted}
    getattr(fsdd if name == "fsdd" else published, function)(**own)


def _add_folder(corpora: argparse._SubParsersAction) -> None:
    text = "your own recordings: beside their transcripts (NAME.txt or NAME.lab), or listed in a table"
    known = f"Recordings end in {', '.join(OPEN)} or, where FFmpeg is installed, {', '.join(COMPRESSED)}."
    folder = corpora.add_parser("folder", help=text, description=f"{text}. {known}")
    folder.add_argument("--root", type=Path, metavar="DIR", help="folder of the recordings (default: the table's)")
    folder.add_argument("--csv", type=Path, metavar="FILE", help="a table, a line per recording")
    folder.add_argument(
        "--delimiter",
        help="between its columns, such as '|' or tab (default: that by which most lines name a recording)",
    )
    folder.add_argument(
        "--audio-column", default="audio", help="name in the header, or number from 1 (default: %(default)s)"
    )
    folder.add_argument("--text-column", default="text", help="likewise (default: %(default)s)")
    folder.add_argument("--speaker-column", help="likewise (default: no speakers)")
    folder.add_argument("--speaker-from-folder", action="store_true", help="the speaker is the recording's folder")
    folder.add_argument("--language", help="of all recordings, such as en")
    folder.add_argument(
        "--validation-share",
        type=float,
        default=0.02,
        help="share of the utterances for validation (default: %(default)s)",
    )
    folder.add_argument(
        "-o", "--output", type=Path, default=Path("data/folder"), help="of the manifests (default: %(default)s)"
    )
    folder.set_defaults(run=prepare_folder)


def prepare_folder(options: argparse.Namespace) -> None:
    from melle.data.sources.folder import prepare
    from melle.data.sources.table import Table

    if options.root is None and options.csv is None:
        raise UserError("name the folder of the recordings by --root, or a table of them by --csv")
    delimiter = {"tab": "\t", "\\t": "\t"}.get(options.delimiter, options.delimiter)
    if delimiter is not None and len(delimiter) != 1:
        raise UserError(f"--delimiter {delimiter!r}: give one character, such as '|', or tab")
    columns = (options.audio_column, options.text_column, options.speaker_column)
    prepare(
        options.root or options.csv.parent,
        options.output,
        Table(options.csv, delimiter, *columns) if options.csv else None,
        options.speaker_from_folder,
        options.language,
        options.validation_share,
    )
