"""LJSpeech: an utterance's id decides whether it is for training, validation or test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melle.data.sources.manifests import split, split_by, write_manifests
from melle.data.sources.published import Published, output_of, read_recipe, root_of, utterances_of

URL = "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2"
SHARES = 0.02, 0.02  # of the utterances, for validation and test: about half an hour each


@dataclass
class LJSpeech(Published):
    root: Path = root_of("ljspeech")
    output: Path = output_of("ljspeech")

    def prepare(self) -> None:
        folder = self.folder_of(URL, "LJSpeech-1.1", "metadata.csv")
        found = read_recipe("ljspeech", folder)
        utterances = utterances_of(found, text=lambda said: said.custom["normalized_text"], speaker="lj")
        write_manifests(self.output, split_by("ljspeech", utterances, lambda one: split(one.id, *SHARES)))
