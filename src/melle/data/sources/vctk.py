"""VCTK: training, validation and test share no speaker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from melle.data.sources.archives import require_lhotse
from melle.data.sources.manifests import split, split_by, write_manifests
from melle.data.sources.published import Published, output_of, read_recipe, root_of, utterances_of
from melle.options import option

SHARES = 0.05, 0.1  # of the speakers, for validation and test


@dataclass
class VCTK(Published):
    root: Path = root_of("vctk")
    output: Path = output_of("vctk")
    microphone: Literal[1, 2] = option(1, "of the two recordings")

    def prepare(self) -> None:
        require_lhotse()
        from lhotse.recipes.vctk import EDINBURGH_VCTK_URL

        folder = self.folder_of(EDINBURGH_VCTK_URL, "VCTK-Corpus-0.92", "wav48_silence_trimmed", bare=True)
        found = read_recipe("vctk", folder, use_edinburgh_vctk_url=True, mic_id=f"mic{self.microphone}")
        utterances = utterances_of(found, id=lambda said: said.id.removesuffix(f"_mic{self.microphone}"))
        write_manifests(self.output, split_by("vctk", utterances, lambda one: split(one.speaker, *SHARES)))
