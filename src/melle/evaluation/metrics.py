"""The metrics by name: how each is shown, what it means, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from melle.evaluation.scores import SystemScore


@dataclass(frozen=True)
class Metric:
    """How a metric is shown (head, digits after the point, as per cent), and whether more of it is better."""

    head: str
    digits: int
    meaning: str = ""
    percent: bool = False
    better: int = 0  # 1: higher; -1: lower; 0: neither
    narrow: bool = True  # whether the console's table has it, too

    def show(self, value: float | None) -> str:
        return "" if value is None else f"{100 * value if self.percent else value:.{self.digits}f}"


WORDS = (
    "words substituted (S), deleted (D) and inserted (I) per word of the text, by a recogniser; the interval is a "
    "bootstrap over utterances"
)
REMADE = "mean absolute difference of log10 mels between a recording and what the vocoder makes of its mel"
PITCH = "median fundamental frequency of an utterance, mean over utterances"
MOVEMENT = "standard deviation of the fundamental frequency within an utterance, mean over utterances"
RESYNTHESISED = "cosine between the voice and its prompt after mel and vocoder, the row's own or else the first"
NEAREST = "utterances that sound most like a prompt of the right speaker"
# A name may go on with whose it is: "wer/whisper", "sim_o/resemblyzer".
METRICS = {
    "wer": Metric("WER %", 1, WORDS, percent=True, better=-1),
    "wer_plain": Metric("plain WER %", 1, "the same without the recogniser's initial prompt", percent=True, better=-1),
    "cer": Metric("CER %", 1, "the same of characters", percent=True, better=-1),
    "sim_o": Metric("SIM-o", 3, "cosine between the voice and its prompt's recording", better=1),
    "sim_r": Metric("SIM-r", 3, RESYNTHESISED, better=1),
    "sim_others": Metric("others", 3, "mean cosine with the prompts of other speakers"),
    "nearest_right": Metric("nearest %", 0, NEAREST, percent=True, better=1),
    "utmos": Metric("UTMOS", 2, "naturalness from 1 to 5, estimated by a network", better=1),
    "dnsmos": Metric("DNSMOS", 2, "overall quality from 1 to 5, estimated by a network", better=1),
    "dnsmos_signal": Metric("signal", 2, "quality of the speech alone, by the same network", better=1),
    "dnsmos_background": Metric("background", 2, "absence of noise, by the same network", better=1),
    "dnsmos_p808": Metric("P.808", 2, "overall quality by another network", better=1),
    "mel_distance": Metric("mel dist.", 3, REMADE, better=-1),
    "eos_rate": Metric("EOS %", 1, "utterances that the model ended by itself", percent=True, better=1),
    "duration_ratio": Metric("length", 2, "seconds spoken per second recorded"),
    "words_per_second": Metric("words/s", 2, "words of the text per second of speech", narrow=False),
    "pitch": Metric("pitch Hz", 0, PITCH, narrow=False),
    "pitch_deviation": Metric("± semitones", 1, MOVEMENT, narrow=False),
    "real_time_factor": Metric("RTF", 2, "seconds of computing per second of speech", better=-1),
}


def metric_of(name: str) -> Metric:
    """The metric of a name such as "wer/whisper"; what is not known is shown as a plain number."""
    return METRICS.get(kind_of(name), Metric(kind_of(name), 3))


def kind_of(name: str) -> str:
    """What it measures: "wer" for "wer/whisper"."""
    return name.partition("/")[0]


def monitor_and_mode(cfg: DictConfig) -> tuple[str, str | None]:
    """What a sweep of evaluate.py goes by: a metric, or how its name begins, and "min" or "max", whichever is best."""
    name = cfg.objective or "wer/"
    return name, {-1: "min", 1: "max"}.get(metric_of(name).better)


def judge_of(name: str) -> str:
    """Whose it is: "whisper" for "wer/whisper"; empty where nobody judged."""
    return name.partition("/")[2]


def judges_of(rows: Sequence[SystemScore], kind: str) -> list[str]:
    """Names of those who measured ``kind``, such as "wer": the recognisers."""
    return [judge_of(name) for name in measured(rows) if kind_of(name) == kind]


def measured(rows: Sequence[SystemScore]) -> list[str]:
    """Names of the metrics that any of the rows has, by judge and then in the order of ``METRICS``."""
    found = list(dict.fromkeys(name for row in rows for name in row.metrics))
    judges, order = list(dict.fromkeys(map(judge_of, found))), [*METRICS, *map(kind_of, found)]
    return sorted(found, key=lambda name: (judges.index(judge_of(name)), order.index(kind_of(name))))
