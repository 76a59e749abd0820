"""The metrics by name: how each is shown, what it means, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from melle.evaluation.scores import SystemScore


@dataclass(frozen=True)
class Metric:
    """How a metric is shown (head, digits after the point, as per cent), and whether more of it is better."""

    head: str
    digits: int
    percent: bool = False
    better: int = 0  # 1: higher; -1: lower; 0: neither
    narrow: bool = True  # whether the console's table has it, too
    meaning: str = ""

    def show(self, value: float | None) -> str:
        return "" if value is None else f"{100 * value if self.percent else value:.{self.digits}f}"


# A name may go on with whose it is: "wer/whisper", "sim_o/resemblyzer".
METRICS = {
    "wer": Metric(
        "WER %",
        1,
        True,
        -1,
        meaning="words substituted (S), deleted (D) and inserted (I) per word of the text, by a recogniser; the "
        "interval is a bootstrap over utterances",
    ),
    "wer_plain": Metric("plain WER %", 1, True, -1, meaning="the same without the recogniser's initial prompt"),
    "cer": Metric("CER %", 1, True, -1, meaning="the same of characters"),
    "sim_o": Metric("SIM-o", 3, better=1, meaning="cosine between the voice and its prompt's recording"),
    "sim_r": Metric(
        "SIM-r",
        3,
        better=1,
        meaning="cosine between the voice and its prompt after mel and vocoder, the row's own or else the first",
    ),
    "sim_others": Metric("others", 3, meaning="mean cosine with the prompts of other speakers"),
    "nearest_right": Metric(
        "nearest %", 0, True, 1, meaning="utterances that sound most like a prompt of the right speaker"
    ),
    "utmos": Metric("UTMOS", 2, better=1, meaning="naturalness from 1 to 5, estimated by a network"),
    "dnsmos": Metric("DNSMOS", 2, better=1, meaning="overall quality from 1 to 5, estimated by a network"),
    "dnsmos_signal": Metric("signal", 2, better=1, meaning="quality of the speech alone, by the same network"),
    "dnsmos_background": Metric("background", 2, better=1, meaning="absence of noise, by the same network"),
    "dnsmos_p808": Metric("P.808", 2, better=1, meaning="overall quality by another network"),
    "mel_distance": Metric(
        "mel dist.",
        3,
        better=-1,
        meaning="mean absolute difference of log10 mels between a recording and what the vocoder makes of its mel",
    ),
    "natural_stops": Metric("stops %", 1, True, 1, meaning="utterances that the model ended by itself"),
    "duration_ratio": Metric("length", 2, meaning="seconds spoken per second recorded"),
    "words_per_second": Metric("words/s", 2, narrow=False, meaning="words of the text per second of speech"),
    "pitch": Metric(
        "pitch Hz",
        0,
        narrow=False,
        meaning="median fundamental frequency of an utterance, mean over utterances",
    ),
    "pitch_deviation": Metric(
        "± semitones",
        1,
        narrow=False,
        meaning="standard deviation of the fundamental frequency within an utterance, mean over utterances",
    ),
    "real_time_factor": Metric("RTF", 2, better=-1, meaning="seconds of computing per second of speech"),
}


def metric_of(name: str) -> Metric:
    """The metric of a name such as "wer/whisper"; what is not known is shown as a plain number."""
    kind = name.partition("/")[0]
    return METRICS.get(kind, Metric(kind, 3))


def judge_of(name: str) -> str:
    """Whose it is: "whisper" for "wer/whisper"; empty where nobody judged."""
    return name.partition("/")[2]


def title_of(judge: str, titles: dict[str, str]) -> str:
    """As shown: "whisper base" for "whisper"."""
    return titles.get(judge, judge)


def judges_of(rows: Sequence[SystemScore], kind: str) -> list[str]:
    """Names of those who measured ``kind``, such as "wer": the recognisers."""
    return [judge_of(name) for name in measured(rows) if name.partition("/")[0] == kind]


def measured(rows: Sequence[SystemScore]) -> list[str]:
    """Names of the metrics that any of the rows has, by judge and then in the order of ``METRICS``."""
    found = list(dict.fromkeys(name for row in rows for name in row.metrics))
    order, judges = list(METRICS), list(dict.fromkeys(map(judge_of, found)))

    def place(name: str) -> tuple[int, int]:
        kind = name.partition("/")[0]
        return judges.index(judge_of(name)), order.index(kind) if kind in order else len(order)

    return sorted(found, key=place)
