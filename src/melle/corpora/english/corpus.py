"""English in natural voices: spoken by a teacher from sentences of our own, or of the user's, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Literal

from melle.console import shell_command
from melle.corpora.english.lexicon import held_out
from melle.corpora.english.sentences import sentences
from melle.corpora.generate import description_of, differences, speak_corpus
from melle.corpora.kokoro import HELD_OUT, Kokoro
from melle.corpora.teacher import Settings, TeacherPlan, digest_of, training_texts
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.options import option
from melle.text.normalise import normalise

SENTENCES = 20_000  # of our own, where the user gives none


@dataclass
class TeacherCorpus:
    """``prepare()`` speaks the corpus into ``folder``, unless its manifests are there already, of these settings.

    Other languages than English need ``texts`` and ``held_out_texts``.
    """

    folder: str | Path = option("data/english", "folder", "-o", "--output")
    teacher_model: str | Path | None = option(None, "folder of Kokoro's model (.onnx) and voices", metavar="DIR")
    texts: Sequence[str | Path] = option((), "files of sentences to say, one a line, UTF-8", metavar="FILE")
    generated: int | None = option(
        None, "English sentences of our own besides (default: 20000 without --texts, else none)", metavar="COUNT"
    )
    language: str = option("en", "of the voices: en, es, fr-fr, hi, it, pt-br")
    held_out: Sequence[str] | None = option(
        None, "voices for the test alone (default: four of the English ones)", nargs="*", metavar="VOICE"
    )
    held_out_texts: str | Path | None = option(
        None, "file of sentences for validation and test (default: 299 English ones written by hand)", metavar="FILE"
    )
    hours: float = option(12.0, "of training speech; may be raised later")
    voices: int = option(400, "speakers in training, published voices and blends of them")
    seed: int = option(0, "of voices, texts and paces")
    format: Literal["flac", "opus"] = option("flac", "of the recordings")
    held_out_utterances: int = 96  # of validation and test, at most
    workers: int | None = option(None, "processes (default: one per core); the corpus is the same")

    def prepare(self) -> Path:
        folder = Path(self.folder)
        if all((folder / f"{split}.jsonl").is_file() for split in ("train", "validation")):
            self._check_settings(folder)
            return folder
        if self.teacher_model is None:
            command = shell_command(
                "python", "-m", "melle", "prepare", "teacher", "--teacher-model", "DIR", "-o", folder
            )
            raise UserError(
                f"{folder}: no corpus there yet; name the teacher's folder by data.corpus.teacher_model, or as DIR in: "
                f"{command}"
            )
        return self.speak()

    def speak(self) -> Path:
        """Speak what is missing of the corpus; return its folder."""
        if self.teacher_model is None:
            raise UserError("name the folder of the teacher, with its model and voices, by --teacher-model")
        texts, count = self._own_texts()
        english = self.language.split("-")[0] == "en"
        if not english and (not texts or self.held_out_texts is None or count):
            raise UserError(f"sentences of our own are English; for {self.language} give --texts and --held-out-texts")
        make = partial(Kokoro, Path(self.teacher_model), (self.language,))
        held_out_texts = self._held_out_texts()
        teacher = make()
        usual = tuple(voice.name for voice in teacher.published if voice.name in HELD_OUT)  # of one accent, two of four
        held_out_voices = usual if self.held_out is None else tuple(self.held_out)
        settings = Settings(self.voices, held_out_voices, self.seed, self.format, self.held_out_utterances)
        plan = TeacherPlan(teacher, [*texts, *sentences(count, self.seed)], held_out_texts, settings)
        return speak_corpus(
            self.folder, make, plan.splits(), plan.describe(), self.hours, self.seed, self.format, self.workers
        )

    def _check_settings(self, folder: Path) -> None:
        """Raise UserError where what is asked for, besides the defaults, is not what the corpus was spoken with."""
        known = description_of(folder)
        asked = {field.name for field in fields(self) if getattr(self, field.name) != field.default}
        if not isinstance(known, dict):
            return
        same = asked & known.keys() & {"voices", "seed", "format", "held_out", "held_out_utterances"}
        wanted = {name: getattr(self, name) for name in sorted(same)}
        if "held_out" in wanted:
            wanted["held_out"] = list(wanted["held_out"])
        wrong = differences(known, wanted)
        if asked & {"texts", "generated", "held_out_texts"}:
            texts, count = self._own_texts()
            held_out_texts = self._held_out_texts()
            ours = digest_of(training_texts([*texts, *sentences(count, self.seed)], held_out_texts), held_out_texts)
            if known.get("texts") != ours:
                wrong.append("other texts")
        if asked & {"hours", "language"}:
            utterances = read_manifest(folder / "train.jsonl")
            hours = sum(utterance.duration or 0.0 for utterance in utterances) / 3600
            languages = {utterance.language for utterance in utterances}
            if "hours" in asked and not self.hours <= hours < self.hours + 1 / 60:  # it ends with a whole utterance
                wrong.append(f"{hours:.2f} hours, not {self.hours:g}")
            if "language" in asked and self.language.split("-")[0] not in languages:
                wrong.append(f"language {','.join(sorted(filter(None, languages)))}, not {self.language}")
        if wrong:
            raise UserError(
                f"{folder}: was spoken with other settings ({'; '.join(wrong)}); name another folder by "
                "data.corpus.folder, remove this one, or leave these settings out"
            )

    def _own_texts(self) -> tuple[list[str], int]:
        """The sentences of the user's files, and how many of our own there are besides."""
        texts = [line for path in self.texts for line in read_sentences(path)]
        return texts, self.generated if self.generated is not None else 0 if texts else SENTENCES

    def _held_out_texts(self) -> dict[str, Sequence[str]]:
        if self.held_out_texts is None:
            return {split: held_out(split) for split in ("validation", "test")}
        texts = read_sentences(self.held_out_texts)
        if len(texts) < 4:
            raise UserError(f"{self.held_out_texts}: has {len(texts)} sentences; give four at least")
        return {"validation": texts[::4], "test": [text for number, text in enumerate(texts) if number % 4]}


def read_sentences(path: str | Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); give a file, a sentence a line") from None
    found = [text for line in lines if (text := normalise(line))]
    if not found:
        raise UserError(f"{path}: has no sentence; write one a line")
    return found
