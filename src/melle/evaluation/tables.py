"""The scores as HTML tables, with what their columns mean."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from melle.evaluation.metrics import cells, measured, metric_of, whose
from melle.evaluation.scores import SystemScore

MEANINGS = {
    "wer": "words substituted (S), deleted (D) and inserted (I) per word of the text, as a recogniser hears them; "
    "the interval is a bootstrap over utterances",
    "wer_plain": "the same where the recogniser was not told what to expect",
    "cer": "the same of characters",
    "sim_o": "cosine between the voice and its prompt's recording",
    "sim_r": "cosine between the voice and its prompt after mel and vocoder, the row's own or else the first",
    "sim_others": "mean cosine with the prompts of other speakers",
    "nearest_right": "utterances that sound most like a prompt of the right speaker",
    "utmos": "naturalness from 1 to 5, estimated by a network",
    "dnsmos": "overall quality from 1 to 5, estimated by a network",
    "dnsmos_signal": "quality of the speech alone, by the same network",
    "dnsmos_background": "absence of noise, by the same network",
    "dnsmos_p808": "overall quality by another network",
    "mel_distance": "mean absolute difference of log10 mels between a recording and what the vocoder makes of its mel",
    "natural_stops": "utterances that the model ended by itself",
    "duration_ratio": "seconds spoken per second recorded",
    "words_per_second": "words of the text per second of speech",
    "pitch": "median fundamental frequency of an utterance, mean over utterances",
    "pitch_deviation": "standard deviation of the fundamental frequency within an utterance, mean over utterances",
    "real_time_factor": "seconds of computing per second of speech",
}


def table_html(rows: Sequence[SystemScore], names: dict[str, str]) -> str:
    """One protocol's table: who measured what, ceilings, checkpoints; the best checkpoint's values stand out."""
    whats, whos, *lines = cells(rows, names)
    owners = [row for row in rows for _ in range(2 if row.best else 1)]  # of the lines, as ``cells`` has them
    repeated = [number > 0 and owners[number - 1] is owner for number, owner in enumerate(owners)]
    strong = _best(rows, names, whats, whos)
    groups = [(who, len(list(group))) for who, group in groupby(whos[1:])]
    firsts = {1 + sum(width for _, width in groups[:number]) for number in range(len(groups))}  # columns

    upper = "".join(f'<th colspan="{width}"{_class(who and "group")}>{escape(who)}</th>' for who, width in groups)
    lower = "".join(
        f'<th scope="col"{_class(column in firsts and whos[column] and "group")}>{escape(what)}</th>'
        for column, what in enumerate(whats)
        if column
    )
    body, ceiling = [], None
    for owner, again, line in zip(owners, repeated, lines):
        if ceiling != (owner.run is None):
            body.append("</tbody><tbody>" if body else "<tbody>")
            ceiling = owner.run is None
        name = f'<th scope="row">{escape(line[0].strip())}</th>'
        values = "".join(
            f"<td{_class(column in firsts and whos[column] and 'group')}>{_value(line[column], emphasised)}</td>"
            for column in range(1, len(line))
            for emphasised in [not again and id(owner) in strong.get(column, ())]
        )
        body.append(f"<tr{_class('ceiling' if ceiling else 'again' if again else '')}>{name}{values}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th rowspan="2" scope="col">{escape(whats[0])}</th>{upper}</tr>'
        f"<tr>{lower}</tr></thead>{''.join(body)}</tbody></table></div>{_meanings(rows, bool(strong))}"
    )


def _best(
    rows: Sequence[SystemScore], names: dict[str, str], whats: Sequence[str], whos: Sequence[str]
) -> dict[int, set[int]]:
    """By column, whose value (``id`` of the row) is best among the checkpoints; of one checkpoint none is."""
    checkpoints = [row for row in rows if row.run is not None]
    found: dict[int, set[int]] = {}
    column = 0
    for name in measured(rows):  # the columns stand in this order, with others between them
        metric = metric_of(name)
        column = next(
            (
                number
                for number in range(column + 1, len(whats))
                if (whats[number], whos[number]) == (metric.head, whose(name, names))
            ),
            column,
        )
        values = {id(row): row.metrics[name] for row in checkpoints if name in row.metrics}
        if metric.better and len(values) > 1:
            shown = metric.show((max if metric.better > 0 else min)(values.values()))
            found[column] = {row for row, value in values.items() if metric.show(value) == shown}
    return found


def _meanings(rows: Sequence[SystemScore], emphasised: bool) -> str:
    kinds = dict.fromkeys(name.partition("/")[0] for name in measured(rows))
    parts = [f"<b>{escape(metric_of(kind).head)}</b>: {MEANINGS[kind]}" for kind in kinds if kind in MEANINGS]
    if any(row.samples > 1 for row in rows):
        parts.append("<b>±</b>: standard deviation over the samples")
    if any(row.best for row in rows):
        parts.append("<b>best of N</b>: were of every utterance its best sample taken")
    last = " The best checkpoint of a column is bold." if emphasised else ""
    return f'<p class="note">{"; ".join(parts)}.{last}</p>' if parts else ""


def _value(text: str, emphasised: bool) -> str:
    return f"<strong>{escape(text)}</strong>" if emphasised and text else escape(text)


def _class(name: str | bool) -> str:
    return f' class="{name}"' if name else ""
