"""``python -m melle prepare teacher``: a corpus in natural voices, spoken by another synthesizer."""

from __future__ import annotations

from dataclasses import dataclass

from melle.corpora.english.corpus import TeacherCorpus
from melle.options import options_of


@dataclass
class Teacher:
    corpus: TeacherCorpus = options_of(TeacherCorpus)

    def run(self) -> None:
        self.corpus.speak()
