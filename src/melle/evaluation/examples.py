"""Utterances to look at and listen to: the best, the worst, and some drawn at random, with audio inside the page."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import soundfile
import torch.nn.functional as F
from matplotlib.image import imsave
from torch import Tensor

from melle.audio import UNREADABLE, LogMel, load_audio, read_channels
from melle.errors import UserError
from melle.evaluation.metrics import judge_of, judges_of, kind_of, metric_of
from melle.evaluation.plots import data_uri
from melle.evaluation.scores import PLAIN, SystemScore, UtteranceScore
from melle.evaluation.systems import RECORDINGS
from melle.evaluation.wer import ErrorCounts, errors_marked

SIZE = (260, 90)  # of a picture, pixels
RANGE = 4.0  # log10 magnitude (80 dB) below the loudest that colours show
COLOURS = 64  # of a picture: enough for the eye, and more would make the file larger
SHOWN = ("sim_o", "utmos", "dnsmos")  # values of an utterance that are shown, besides errors


@dataclass(frozen=True)
class HtmlAudio:
    """Audio and its picture, as data URIs."""

    title: str
    audio: str
    picture: str


class AudioFiles:
    """The audio files of ``folder``, each read once."""

    def __init__(self, folder: Path):
        self.folder, self._log_mel = folder, LogMel()
        self.read = cache(self._read)

    def _read(self, name: str | None) -> tuple[str, Tensor] | None:
        """The file as a data URI, and its log10 mel (T, M) at the paper's rate; None where it cannot be read."""
        try:
            path = self.folder / (name or "")
            mel = self._log_mel(load_audio(path, self._log_mel.spec.sample_rate))
            return data_uri("audio/flac", as_flac(path)), mel
        except (UserError, *UNREADABLE):
            return None

    def embed(self, names: Mapping[str, str | None]) -> list[HtmlAudio]:
        """Audio and picture for every title and file; none for those that cannot be read.

        All pictures of the row share their colours, those but the prompt's also their scale of time.
        """
        found = {title: pair for title, name in names.items() if (pair := self.read(name)) is not None}
        peak = max((float(mel.max()) for _, mel in found.values()), default=0.0)
        low = max(min((float(mel.min()) for _, mel in found.values()), default=0.0), peak - RANGE)
        longest = max((len(mel) for title, (_, mel) in found.items() if title != "prompt"), default=1)
        embedded = []
        for title, (audio, mel) in found.items():
            picture = draw_mel(mel, (low, peak), len(mel) if title == "prompt" else longest)
            embedded.append(HtmlAudio(title, audio, data_uri("image/png", picture)))
        return embedded


def as_flac(path: Path) -> bytes:
    """The file itself where it is FLAC, else its audio as 16-bit FLAC."""
    content = path.read_bytes()
    if content.startswith(b"fLaC"):
        return content
    samples, rate = read_channels(path)
    written = io.BytesIO()
    soundfile.write(written, samples.clamp(-1, 1).numpy(), rate, format="FLAC", subtype="PCM_16")
    return written.getvalue()


def draw_mel(mel: Tensor, colours: tuple[float, float], frames: int) -> bytes:
    """log10 mel (T, M) as a PNG of ``SIZE``, low bands below, in colours from low to high; it is ``frames`` wide."""
    width = max(1, round(SIZE[0] * len(mel) / frames))
    scaled = F.interpolate(mel.T[None, None], (SIZE[1], width), mode="bilinear", antialias=True, align_corners=False)
    pixels = np.full(SIZE[::-1], np.nan)  # transparent after the end of the audio
    pixels[:, :width] = scaled[0, 0]
    written, magma = io.BytesIO(), matplotlib.colormaps["magma"].resampled(COLOURS)
    imsave(written, pixels, vmin=colours[0], vmax=colours[1], cmap=magma, origin="lower", format="png")
    return written.getvalue()


@dataclass(frozen=True)
class Example:
    """One utterance as the page shows it."""

    utterance: UtteranceScore
    # Of every recogniser: its title, the errors, and the runs of ``errors_marked``.
    transcripts: list[tuple[str, ErrorCounts, list[tuple[str, str, str]]]]
    facts: list[str]
    audio: list[HtmlAudio]


def best_first(
    utterances: Sequence[UtteranceScore], recogniser: str | None, encoder: str | None
) -> list[UtteranceScore]:
    """By errors per word, then by similarity to the prompt."""

    def rank(utterance: UtteranceScore) -> tuple[float, float]:
        rate = utterance.counts[f"wer/{recogniser}"].rate if recogniser else 0.0
        return rate, -float(utterance.values.get(f"sim_o/{encoder}", 0.0))

    return sorted(utterances, key=rank)


def choose_examples(row: SystemScore, count: int) -> dict[str, list[UtteranceScore]]:
    """``count`` utterances each "best", "worst" and "at random" of the others; no utterance twice.

    Where nothing says which are good, all are at random, and always the same.
    """
    recogniser, encoder = next(iter(judges_of([row], "wer")), None), next(iter(judges_of([row], "sim_o")), None)
    order = best_first(row.utterances, recogniser, encoder)
    judged = recogniser is not None or encoder is not None
    pools = {"best": order, "worst": order[::-1]} if judged else {}
    pools["at random"] = random.Random(0).sample(order, len(order))
    chosen: dict[str, list[UtteranceScore]] = {}
    taken: set[str] = set()
    for name, pool in pools.items():
        first = {utterance.id: utterance for utterance in reversed(pool)}  # of several samples of one utterance
        chosen[name] = [u for u in pool if first[u.id] is u and u.id not in taken][:count]
        taken |= {utterance.id for utterance in chosen[name]}
    return {name: group for name, group in chosen.items() if group}


def make_examples(
    row: SystemScore, rows: Sequence[SystemScore], titles: dict[str, str], audio: AudioFiles, count: int
) -> dict[str, list[Example]]:
    """The chosen utterances of a checkpoint ``row``; ``rows`` are all of its protocol."""
    others = (other for other in rows if other.run is None and other.system == RECORDINGS)
    recordings = {u.id: u.audio for other in others for u in other.utterances}
    return {
        name: [_example(utterance, recordings.get(utterance.id), titles, audio) for utterance in group]
        for name, group in choose_examples(row, count).items()
    }


def _example(utterance: UtteranceScore, recording: str | None, titles: dict[str, str], audio: AudioFiles) -> Example:
    transcripts = []
    for metric, counts in utterance.counts.items():  # of the words, each with its transcript
        kind, judge = kind_of(metric), judge_of(metric)
        if kind != "cer":
            said = utterance.transcripts[judge if kind == "wer" else f"{judge}{PLAIN}"]
            title = titles.get(judge, judge) + ("" if kind == "wer" else ", no initial prompt")
            transcripts.append((title, counts, errors_marked(utterance.references[judge], said)))
    facts = []
    for name, value in utterance.values.items():
        if kind_of(name) in SHOWN:
            judge = titles.get(judge_of(name), judge_of(name))
            facts.append(f"{metric_of(name).head} {metric_of(name).show(value)}" + (f" ({judge})" if judge else ""))
    facts.append(f"{utterance.seconds:.2f} s, recorded {utterance.recording_seconds:.2f} s")
    files = {"prompt": utterance.prompt_audio, "recording": recording, "synthesis": utterance.audio}
    return Example(utterance, transcripts, facts, audio.embed(files))
