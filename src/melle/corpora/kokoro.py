"""Kokoro-82M (Apache-2.0) as a teacher, by onnxruntime, from a folder of published files.

The folder holds a model (``*.onnx``), its voices (``voices/NAME.bin`` of float32, or one archive ``voices*.bin`` or
``*.npz``) and its vocabulary (``vocab.json``, ``config.json`` or ``tokenizer.json``; where there is none, that of the
package kokoro-onnx). Some exports give the durations of the symbols, too: by these the times of words are known.

Text is read as espeak-ng's IPA, written as misaki does, Kokoro's own front end: diphthongs and affricates are one
symbol each (EN_PHONES.md of misaki lists them). espeak is asked to tie what belongs together ("a^ɪ"), so that "a" and
"ɪ" of two syllables are not taken for one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from melle.corpora.generate import Spoken
from melle.corpora.postprocess import Words
from melle.corpora.teacher import PublishedVoice, Speaker, blend
from melle.errors import UserError, reason
from melle.text.phonemes import espeak_phonemizer

SAMPLE_RATE = 24000  # samples per second
UNIT = 600  # samples: durations are counted in these
# Seconds by which sound begins before its symbol's turn: the median of 600 first words is 27 ms, of 67 words after a
# pause 37 ms.
EARLY = 0.03
MAX_SYMBOLS = 510  # of a text
STYLE = 256  # numbers in a style vector; a voice has one for every number of symbols

# By the first letter of a voice's name. Japanese and Chinese need other front ends than espeak's.
LANGUAGES = {"a": "en-us", "b": "en-gb-x-rp", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
# The makers' grades of the English voices (VOICES.md of hexgrad/Kokoro-82M), 6 for an A; others count 1.5, FOREIGN 1.
GRADES = {"af_heart": 6, "af_bella": 5, "bf_emma": 4, "af_nicole": 3, "af_aoede": 3, "af_kore": 3, "af_sarah": 3}
GRADES |= {"am_fenrir": 3, "am_michael": 3, "am_puck": 3, "bm_george": 2, "bm_fable": 2, "bf_isabella": 2}
GRADES |= {"am_adam": 1, "am_santa": 0.5}
# Voices of other languages that say English as clearly: of four to six sentences Whisper base misheard at most 6 % of
# the words, which is bf_alice's share, and 10 to 31 % of five others'. Blends of more voices are more diverse.
FOREIGN = ("ef_dora", "em_alex", "em_santa", "hf_alpha", "hf_beta", "hm_omega", "hm_psi", "if_sara", "im_nicola")
FOREIGN += ("jf_gongitsune", "jf_nezumi", "pf_dora", "pm_alex", "pm_santa", "zf_xiaoni", "zf_xiaoyi", "zm_yunjian")
FOREIGN += ("zm_yunxi", "zm_yunxia", "zm_yunyang")
HELD_OUT = ("af_river", "am_liam", "bf_alice", "bm_daniel")  # never in training, nor blends with them

MARKS = ';:,.!?—…"()“”'  # symbols that are read but not spoken
TITLES = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof)\.")  # whose point would be spoken as a pause

_TIED = {"a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "ɔ^ɪ": "Y", "o^ʊ": "O", "ə^ʊ": "Q", "e^ə": "ɛː", "ə^l": "ᵊl"}
_TIED |= {"d^ʒ": "ʤ", "t^ʃ": "ʧ", "t^s": "ʦ", "d^z": "ʣ", "^": ""}
_SYLLABIC = re.compile("(.)\N{COMBINING VERTICAL LINE BELOW}")  # a consonant that is a syllable
# What English voices were not trained on, by the nearest that they were.
_ENGLISH = {"ʔ": "t", "ɚ": "əɹ", "ɐ": "ə", "r": "ɹ", "x": "k", "ç": "k", "ɬ": "l", "ʲ": "", "\N{COMBINING TILDE}": ""}
_AMERICAN = {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ː": ""}
_BRITISH = {"eə": "ɛː", "iə": "ɪə"}


class Kokoro:
    """Speaks with the voices in ``folder``, on one thread: a corpus is spoken by a process on every core.

    ``languages`` are those of which voices are wanted, by espeak's codes or the part before their first hyphen. English
    is spoken by voices of other languages, too (``FOREIGN``).
    """

    margin, silence = 0.1, -40.0  # seconds, dB, as ``postprocess`` trims: natural voices begin and end softly

    def __init__(self, folder: str | Path, languages: tuple[str, ...] = ("en",)):
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the teacher's, with its model (.onnx) and voices")
        model = _model(folder)
        self._styles = _styles(folder)
        self._vocabulary = _vocabulary(folder)
        self._session = _session(model)
        inputs = {entry.name: entry.type for entry in self._session.get_inputs()}
        self._tokens = next((name for name in ("tokens", "input_ids") if name in inputs), None)
        if self._tokens is None or not {"style", "speed"} <= inputs.keys():
            raise UserError(f"{model}: is no export of Kokoro, whose inputs are tokens, style and speed")
        self._speed = np.int32 if "int" in inputs["speed"] else np.float32
        self.identity = {"teacher": "kokoro", "model": model.name, "bytes": model.stat().st_size}
        self.published = [
            PublishedVoice(name, LANGUAGES[name[0]], GRADES.get(name, 1.5))
            for name in sorted(self._styles)
            if name[0] in LANGUAGES and {LANGUAGES[name[0]], LANGUAGES[name[0]].split("-")[0]} & {*languages}
        ]
        if not self.published:
            known = ", ".join(sorted({LANGUAGES[name[0]] for name in self._styles if name[0] in LANGUAGES}))
            raise UserError(f"{folder}: has no voice of {' or '.join(languages)}; it speaks {known or 'nothing'}")
        if {"en", "en-us"} & {*languages}:
            own = {voice.name for voice in self.published}
            more = [name for name in FOREIGN if name in self._styles and name not in own]
            self.published += [PublishedVoice(name, "en-us", 1.0, foreign=True) for name in more]

    def speak(self, text: str, speaker: Speaker) -> Spoken:
        read = "".join(symbol for symbol in symbols(text, speaker.language) if symbol in self._vocabulary)
        if not read.strip(MARKS + " "):
            raise UserError(f"the text {text!r} has nothing to say; give it words")
        if len(read) > MAX_SYMBOLS:
            raise UserError(f"the text {text!r} has {len(read)} symbols of {MAX_SYMBOLS}; divide it")
        style = blend(self._styles, speaker)
        inputs = {
            self._tokens: np.array([[0, *(self._vocabulary[symbol] for symbol in read), 0]]),
            "style": style[min(len(read), len(style)) - 1][None],
            "speed": np.array([speaker.speed], dtype=self._speed),
        }
        samples, *others = self._session.run(None, inputs)
        durations = next((np.ravel(other) for other in others if np.size(other) == len(read) + 2), None)
        return Spoken(
            np.ascontiguousarray(samples, dtype=np.float32).ravel(),
            SAMPLE_RATE,
            None if durations is None else word_times(read, durations),
        )


def symbols(text: str, language: str) -> str:
    """The symbols of a text in espeak's ``language``; words, as espeak joins them, are divided by blanks."""
    ipa = "".join(_phonemizer(language)([TITLES.sub(r"\1", text)]))  # of an empty text, none
    tables = [_TIED]
    if language.startswith("en"):
        tables += [_ENGLISH, _BRITISH if language.startswith("en-gb") else _AMERICAN]
        ipa = _SYLLABIC.sub(r"ᵊ\1", ipa)
    for table in tables:
        for given, wanted in table.items():
            ipa = ipa.replace(given, wanted)
    return " ".join(ipa.split())


@cache
def _phonemizer(language: str) -> Callable[[list[str]], list[str]]:
    needs = 'the teacher needs: python -m pip install -e ".[teacher]"'
    return espeak_phonemizer(language, needs, preserve_punctuation=True, tie="^")


def word_times(read: str, durations: np.ndarray) -> Words:
    """Begin and end of every word in seconds, by the durations of the symbols and of the padding at both ends."""
    edges = np.cumsum(np.maximum(durations, 1)) * UNIT / SAMPLE_RATE - EARLY  # edges[n]: where symbol n begins
    words: list[tuple[float, float]] = []
    within = False
    for number, symbol in enumerate(read):
        if symbol in MARKS:
            continue
        if symbol == " ":
            within = False
            continue
        begin = words.pop()[0] if within else max(0.0, float(edges[number]))
        words.append((begin, float(edges[number + 1])))
        within = True
    return tuple(words)


def _model(folder: Path) -> Path:
    found = [*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")]
    preferred = [path for path in found if path.name == "model.onnx"] or found
    if not found:
        raise UserError(f"{folder}: has no model (.onnx); give the folder into which the teacher was unpacked")
    if len(preferred) > 1:
        names = ", ".join(sorted(path.name for path in preferred))
        raise UserError(f"{folder}: has several models ({names}); keep one, or call it model.onnx")
    return preferred[0]


def _styles(folder: Path) -> dict[str, np.ndarray]:
    """(lengths, 256) of every voice."""
    single = sorted(folder.glob("voices/*.bin"))
    archives = sorted({*folder.glob("voices*.bin"), *folder.glob("*.npz")})
    try:
        if single:
            styles = {path.stem: np.fromfile(path, dtype="<f4") for path in single}
        elif archives:
            with np.load(archives[0]) as archive:
                styles = {name: np.asarray(archive[name], dtype=np.float32) for name in archive.files}
        else:
            raise UserError(f"{folder}: has no voices; it needs voices/NAME.bin, or an archive such as voices-v1.0.bin")
        return {name: style.reshape(-1, STYLE) for name, style in styles.items()}
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{folder}: its voices cannot be read ({reason(error)}); fetch them again") from None


def _vocabulary(folder: Path) -> dict[str, int]:
    for name in ("vocab.json", "config.json", "tokenizer.json"):
        if (folder / name).is_file():
            try:
                content = json.loads((folder / name).read_text(encoding="utf-8"))
                vocabulary = content.get("vocab") or content.get("model", {}).get("vocab")
            except (ValueError, AttributeError) as error:
                raise UserError(f"{folder / name}: cannot be read ({reason(error)}); fetch it again") from None
            if vocabulary:
                return vocabulary
    try:
        from kokoro_onnx.config import DEFAULT_VOCAB
    except ImportError:
        raise UserError(
            f"{folder}: has no vocabulary; put Kokoro's config.json there, or: python -m pip install kokoro-onnx"
        ) from None
    return DEFAULT_VOCAB


def _session(model: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError('the teacher needs: python -m pip install -e ".[teacher]"') from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for every fault of a file
        raise UserError(f"{model}: cannot be read as a model ({reason(error)}); fetch it again") from None
