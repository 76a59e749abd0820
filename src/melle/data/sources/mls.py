"""Multilingual LibriSpeech: audiobooks in eight languages; its training, validation and test share no speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from melle.data.processes import cores
from melle.data.sources.manifests import write_manifests
from melle.data.sources.published import Published, output_of, read_recipe, root_of, utterances_of
from melle.options import option

URL = "https://dl.fbaipublicfiles.com/mls"
CODES = {"english": "en", "german": "de", "dutch": "nl", "french": "fr", "spanish": "es", "italian": "it"}
CODES |= {"portuguese": "pt", "polish": "pl"}
SPLITS = {"train": "train", "dev": "validation", "test": "test"}  # by the corpus's names


@dataclass
class MLS(Published):
    root: Path = root_of("mls")
    output: Path = output_of("mls")
    languages: Sequence[str] = option(..., f"of {', '.join(CODES)}", choices=tuple(CODES), metavar="NAME")

    def prepare(self) -> None:
        """Manifests of each language. Transcripts are in lower case, without punctuation."""
        folders = [self.folder_of(f"{URL}/mls_{name}.tar.gz", f"mls_{name}") for name in self.languages]
        found = read_recipe("mls", folders[0].parent, opus=False, num_jobs=cores())
        write_manifests(
            self.output,
            {
                f"mls_{name}_{SPLITS[split]}.jsonl": utterances_of(members, language=CODES[name])
                for name in self.languages
                for split, members in found[name].items()
            },
        )
