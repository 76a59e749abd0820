"""What published corpora share: the command's options, the corpus's folder, what lhotse's recipe finds in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melle.data.manifest import Utterance
from melle.data.sources.archives import provide, require_lhotse
from melle.errors import UserError, reason
from melle.options import option


def root_of(name: str) -> Path:
    """The option of a corpus's folder."""
    return option(Path(f"data/{name}"), "where the corpus lies, unpacked or as archives, or is put", metavar="DIR")


def output_of(name: str) -> Path:
    """The option of where its manifests go."""
    return option(Path(f"data/{name}"), "folder of the manifests", "-o")


@dataclass
class Published:
    """A corpus that can be downloaded; its fields are the command's options."""

    root: Path
    output: Path
    download: bool = option(False, "download what is neither unpacked nor an archive")

    def run(self) -> None:
        if not self.download and not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder; add --download or give the corpus's folder as --root")
        self.prepare()

    def prepare(self) -> None:
        """Write the manifests into ``output``."""
        raise NotImplementedError

    def folder_of(self, url: str, folder: str, mark: str | None = None, bare: bool = False) -> Path:
        """The folder that one archive holds. ``mark``: something in it by which ``root`` is known to be it."""
        itself = mark is not None and (self.root / mark).exists()
        found = self.root if itself else provide(self.root, url, folder, self.download, bare)
        if found is None:
            raise UserError(
                f"{self.root}: no {folder}, neither unpacked nor as {url.rsplit('/', 1)[-1]}; add --download or give "
                "the folder that holds it as --root"
            )
        return found


def read_recipe(name: str, folder: Path, **options: Any) -> dict:
    """What lhotse's recipe finds in a folder: recordings and supervisions, by subset where there are subsets."""
    require_lhotse()
    import lhotse.recipes

    try:
        return getattr(lhotse.recipes, f"prepare_{name}")(folder, **options)
    except Exception as error:  # a file that is not there, or broken, or otherwise laid out
        raise UserError(f"{folder}: not as published ({reason(error)}); remove it and unpack it again") from None


def utterances_of(
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


def by_subset(corpus: str, found: dict, train: str, language: str = "en") -> dict[str, list[Utterance]]:
    """A manifest of each subset, those of training together in the one that is called ``train``."""
    manifests: dict[str, list[Utterance]] = {}
    for name, members in found.items():
        manifest = train if name.startswith("train-") else name.replace("-", "_")
        manifests.setdefault(f"{corpus}_{manifest}.jsonl", []).extend(utterances_of(members, language=language))
    return manifests
