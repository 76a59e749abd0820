"""Scoring, from pairs and checkpoints to a table: ceilings first, then every checkpoint, all by the same ears."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from melle.audio import MelSpec, load_audio, save_audio
from melle.data.pairs import Pair
from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.asr import Asr, Transcript
from melle.evaluation.scores import SystemScore, UtteranceScore, write_results
from melle.evaluation.speaker import SpeakerEncoder, similarities
from melle.evaluation.systems import Checkpoint, Spoken, record, speak, vocode
from melle.evaluation.wer import ErrorCounts, WordErrorRate, corpus_rate, count_errors, normalise
from melle.synthesis.guards import DecodingOptions
from melle.synthesis.weights import check_weights
from melle.vocoders import make_vocoder

T = TypeVar("T")
PROMPT_RATE = 16000  # samples per second, at which the speaker encoder hears the prompts


def score(
    checkpoints: Sequence[Checkpoint],
    pairs: Sequence[Pair],
    output: str | Path,
    asr: Asr | None = None,
    speaker: SpeakerEncoder | None = None,
    vocoder: dict[str, Any] | None = None,
    options: DecodingOptions | None = None,
    batch_size: int = 30,
    seed: int = 0,
    device: str | torch.device = "cpu",
    save_audio_of: int = 10,
    weights: str = "float32",
) -> list[SystemScore]:
    """Score the recordings, the recordings through mel and vocoder, and the checkpoints; write ``output``/results.json.

    Args:
        checkpoints: from ``read_checkpoints``; may be empty.  pairs: what to speak with which prompt.
        asr, speaker: None leaves the metric out.  vocoder: arguments of ``make_vocoder`` besides the mel.
        options: of decoding.  batch_size: utterances synthesised at a time.  seed: of synthesis and of the bootstrap.
        device: where models and vocoder run; "auto": on a GPU where there is one.
        save_audio_of: utterances whose prompts and syntheses are kept in ``output``/evaluation/ as WAV files.
        weights: of the models (see ``melle.synthesis.weights``).
    """
    device = find_device(device, "device=")
    check_weights(weights, device)
    output = Path(output)
    vocoder = vocoder or {"name": "griffin_lim"}
    # The ceilings' mel is the first checkpoint's: one table, one ceiling.
    spec = checkpoints[0].mel if checkpoints else MelSpec()
    options = options or DecodingOptions()
    recordings = record(pairs, spec.sample_rate)
    scorer = Scorer(pairs, recordings, asr, speaker, seed)
    scores: list[SystemScore] = []

    def judge(spoken: Spoken) -> None:
        scores.append(scorer(spoken))
        _keep_audio(output / "evaluation", spoken, pairs[:save_audio_of])

    _keep_prompts(output / "evaluation", spec.sample_rate, pairs[:save_audio_of])
    judge(recordings)
    judge(vocode(recordings, spec, make_vocoder(spec=spec, **vocoder), device))
    for checkpoint in checkpoints:
        reader = make_vocoder(spec=checkpoint.mel, **vocoder)
        judge(speak(checkpoint, pairs, reader, options, batch_size, seed, device, weights))
    settings = {
        "asr": asr and {"name": asr.name, **asr.settings},
        "speaker": speaker and speaker.name,
        "vocoder": vocoder,
        "weights": weights,
        "decoding": asdict(options),
        "mel": spec.as_dict(),
        "seed": seed,
        "utterances": len(pairs),
        "checkpoints": [str(checkpoint.path) for checkpoint in checkpoints],
    }
    write_results(output / "results.json", scores, settings)
    return scores


def or_left_out(metric: str, make: Callable[[], T]) -> T | None:
    """``make()``; or None and a line on stderr, where what it needs is not installed or cannot be had."""
    try:
        return make()
    except UserError as error:
        print(f"{metric} is left out: {error}", file=sys.stderr)
        return None


class Scorer:
    """Scores what systems say for the same pairs; listens to the prompts once."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        recordings: Spoken,
        asr: Asr | None = None,
        speaker: SpeakerEncoder | None = None,
        seed: int = 0,
    ):
        self.pairs, self.asr, self.speaker, self.seed = pairs, asr, speaker, seed
        self.references = [normalise(pair.target.transcription) for pair in pairs]
        self.recording_seconds = _seconds(recordings)
        # Every prompt once: several targets may share one.
        self.prompts = list({pair.prompt.audio_path: pair.prompt for pair in pairs}.values())
        if speaker is not None:
            progress = tqdm(self.prompts, desc="prompts: voices", unit="utterance", leave=False)
            self.voices = torch.stack(
                [speaker.embed(load_audio(prompt.audio_path, PROMPT_RATE), PROMPT_RATE) for prompt in progress]
            )

    def __call__(self, spoken: Spoken) -> SystemScore:
        """Score one system."""
        seconds = _seconds(spoken)
        transcripts = self._listen(spoken)
        counts = [count_errors(r, t.text) if t else None for r, t in zip(self.references, transcripts)]
        plain = [
            count_errors(r, t.plain) if t and t.plain is not None else None
            for r, t in zip(self.references, transcripts)
        ]
        voices = self._compare(spoken)
        utterances = [
            UtteranceScore(
                id=pair.target.id,
                speaker=pair.target.speaker,
                prompt_id=pair.prompt.id,
                reference=self.references[row],
                hypothesis=transcripts[row] and transcripts[row].text,
                hypothesis_plain=transcripts[row] and transcripts[row].plain,
                errors=counts[row] and counts[row].errors,
                errors_plain=plain[row] and plain[row].errors,
                **voices[row],
                finish_reason=spoken.finish_reasons[row] if spoken.finish_reasons else None,
                seconds=seconds[row],
                recording_seconds=self.recording_seconds[row],
            )
            for row, pair in enumerate(self.pairs)
        ]
        return SystemScore(
            system=spoken.system,
            step=spoken.step,
            wer=self._rate(counts),
            wer_plain=self._rate(plain),
            similarity=_mean(u.similarity for u in utterances),
            similarity_others=_mean(u.similarity_others for u in utterances),
            nearest_right=_mean(u.nearest_speaker == u.speaker if u.nearest_speaker else None for u in utterances),
            natural_stops=_mean(u.finish_reason == "stop" if u.finish_reason else None for u in utterances),
            duration_ratio=sum(seconds) / sum(self.recording_seconds),
            real_time_factor=spoken.real_time_factor,
            utterances=utterances,
        )

    def _listen(self, spoken: Spoken) -> list[Transcript] | list[None]:
        """Normalised transcripts."""
        if self.asr is None:
            return [None] * len(self.pairs)
        heard = self.asr.transcribe(spoken.waveforms, spoken.sample_rate)
        progress = tqdm(heard, total=len(self.pairs), desc=f"{spoken.system}: listening", unit="utterance", leave=False)
        return [Transcript(normalise(t.text), t.plain if t.plain is None else normalise(t.plain)) for t in progress]

    def _rate(self, counts: Sequence[ErrorCounts | None]) -> WordErrorRate | None:
        known = [count for count in counts if count is not None]
        return corpus_rate(known, self.seed) if known else None

    def _compare(self, spoken: Spoken) -> list[dict[str, Any]]:
        """Per utterance, how the voice compares with its own prompt and with those of the other speakers."""
        unknown = {"similarity": None, "similarity_others": None, "nearest_speaker": None}
        if self.speaker is None:
            return [unknown] * len(self.pairs)
        progress = tqdm(spoken.waveforms, desc=f"{spoken.system}: voices", unit="utterance", leave=False)
        embeddings = torch.stack([self.speaker.embed(waveform, spoken.sample_rate) for waveform in progress])
        scores = similarities(embeddings, self.voices)
        found = []
        for pair, row in zip(self.pairs, scores.tolist()):
            others = [s for s, prompt in zip(row, self.prompts) if prompt.speaker != pair.target.speaker]
            # A recording that is the prompt of another pair is not to be compared with itself.
            fair = [(s, p) for s, p in zip(row, self.prompts) if p.audio_path != pair.target.audio_path]
            own = next(s for s, prompt in zip(row, self.prompts) if prompt.audio_path == pair.prompt.audio_path)
            nearest = max(fair, key=lambda item: item[0])[1].speaker
            found.append(
                {
                    "similarity": own,
                    "similarity_others": sum(others) / len(others) if others else None,
                    "nearest_speaker": nearest if others else None,
                }
            )
        return found


def _seconds(spoken: Spoken) -> list[float]:
    return [len(waveform) / spoken.sample_rate for waveform in spoken.waveforms]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _keep_audio(folder: Path, spoken: Spoken, pairs: Sequence[Pair]) -> None:
    """``folder``/<system>/<utterance>.wav."""
    for pair, waveform in zip(pairs, spoken.waveforms):
        save_audio(_audio_path(folder, spoken.system, pair), waveform, spoken.sample_rate)


def _keep_prompts(folder: Path, sample_rate: int, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        save_audio(_audio_path(folder, "prompts", pair), load_audio(pair.prompt.audio_path, sample_rate), sample_rate)


def _audio_path(folder: Path, system: str, pair: Pair) -> Path:
    def plain(text: str) -> str:
        return "".join(character if character.isalnum() or character in "-_." else "-" for character in text)

    return folder / plain(system) / f"{plain(pair.target.id)}.wav"
