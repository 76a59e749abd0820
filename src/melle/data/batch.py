"""One row, one batch: what the network trains on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from melle.data.index import Fault
from melle.text import EOS, PAD, Marks
from melle.text.normalise import written_words
from melle.text.words import spans_by_letters

NO_BOS = Marks()  # <EOS> at the end, nothing in front
NO_INPUTS = ("longest", "true_frames", "ids", "faults", "due", "recorded")  # of a batch, for the network


@dataclass(frozen=True)
class Row:
    """Utterances of one voice, one after the other: token ids and log10 mel (T, M) of each, and their ids.

    ``pace`` says of each, where known, how its tokens follow its frames: points (2, P) of a line from frames to tokens.
    ``faults`` are the utterances that should have been here but cannot be used.
    """

    tokens: list[list[int]]
    mels: list[Tensor]
    ids: list[str]
    faults: list[Fault] = field(default_factory=list)
    pace: list[Tensor | None] = field(default_factory=list)


@dataclass
class Batch:
    """Tensors of B rows, named and shaped as ``Melle.forward`` takes them, and the utterance ids of each row.

    A batch without ids is a stand-in for one of which nothing could be used: one row that must not count.
    """

    text: Tensor  # (B, S) token ids with <EOS>
    text_lengths: Tensor  # (B,)
    text_segments: Tensor  # (B, S) utterance within the row, -1 in the padding
    mel: Tensor  # (B, T, M) log10 mel, T a multiple of r
    mel_lengths: Tensor  # (B,) frames
    segment_steps: Tensor  # (B, U) mel steps per utterance
    longest: int  # positions of the longest row, tokens and mel steps together
    true_frames: int  # of all rows, padding not counted
    ids: list[list[str]]
    faults: list[Fault] = field(default_factory=list)
    due: Tensor | None = None  # (B, K) where in the row's text each step is due, in tokens; NaN where unknown
    # ``text_segments`` and ``segment_steps`` as recorded, where augmentation has joined some of them on the device.
    recorded: tuple[Tensor, Tensor] | None = None

    def inputs(self) -> dict[str, Tensor]:
        """The tensors, as keyword arguments of ``Melle.forward``."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NO_INPUTS}

    def sizes(self) -> dict[str, int]:
        """What else ``Melle.forward`` takes: numbers that it would else have to ask a GPU for, and wait."""
        return {"longest": self.longest, "true_frames": self.true_frames}

    def to(self, device: torch.device) -> Batch:
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        return self.map(Tensor.pin_memory)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor changed."""
        changed = {name: change(tensor) for name, tensor in self.inputs().items()}
        return replace(self, **changed, due=None if self.due is None else change(self.due))


def join_text(segments: list[list[int]], marks: Marks = NO_BOS) -> tuple[Tensor, Tensor]:
    """Token ids (S,) of a row's utterances between its marks, and the utterance that each belongs to (S,).

    The begin mark belongs to the first utterance, <EOS> to the last.
    """
    bos, eos = ([] if mark is None else [mark] for mark in marks)
    ids = [*bos, *(token for segment in segments for token in segment), *eos]
    owners = [0 for _ in bos] + [number for number, segment in enumerate(segments) for _ in segment]
    return torch.tensor(ids), torch.tensor(owners + [len(segments) - 1 for _ in eos])


def pad_texts(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and owners of several rows to ``text``, ``text_lengths`` and ``text_segments``."""
    text = pad_sequence([ids for ids, _ in rows], batch_first=True, padding_value=PAD)
    owners = pad_sequence([owner for _, owner in rows], batch_first=True, padding_value=-1)
    return text, torch.tensor([len(ids) for ids, _ in rows]), owners


def whole_steps(mel: Tensor, reduction_factor: int) -> Tensor:
    """Cut the last frames of (T, M) that do not fill a step, so that the next utterance begins with a step."""
    return mel[: len(mel) - len(mel) % reduction_factor]


def collate(rows: list[Row], reduction_factor: int, n_mels: int = 80, marks: Marks = NO_BOS) -> Batch:
    """Rows to a batch, with the tokenizer's ``marks`` around each text.

    Within a row, each utterance but the last loses the frames that do not fill a step (< r). Rows of which nothing is
    left are dropped; where no row is left, a stand-in keeps all ranks in step.
    """
    faults = [fault for row in rows for fault in row.faults]
    rows = [row for row in rows if row.ids]
    ids = [row.ids for row in rows]
    if not rows:
        rows = [Row([[EOS]], [torch.zeros(2 * reduction_factor, n_mels)], [])]
    text, text_lengths, text_segments = pad_texts([join_text(row.tokens, marks) for row in rows])
    mels, steps = [], []
    for row in rows:
        parts = [whole_steps(mel, reduction_factor) for mel in row.mels[:-1]] + [row.mels[-1]]
        mels.append(torch.cat(parts))
        steps.append(torch.tensor([-(-len(part) // reduction_factor) for part in parts]))
    mel = pad_sequence(mels, batch_first=True)
    mel = F.pad(mel, (0, 0, 0, -mel.shape[1] % reduction_factor))
    segment_steps = pad_sequence(steps, batch_first=True)
    return Batch(
        text=text,
        text_lengths=text_lengths,
        text_segments=text_segments,
        mel=mel,
        mel_lengths=torch.tensor([len(m) for m in mels]),
        segment_steps=segment_steps,
        longest=int((text_lengths + segment_steps.sum(1)).max()),
        true_frames=sum(map(len, mels)),
        ids=ids,
        faults=faults,
        due=due_tokens(rows, segment_steps, reduction_factor, first=int(marks.bos is not None)),
    )


def word_pace(
    words: Sequence[tuple[float, float]], spans: Sequence[tuple[float, float]] | None, tokens: int, text: str = ""
) -> Tensor:
    """Points (2, P) of the line from time to tokens, by words whose begin and end are known.

    Args:
        words: begin and end of each word, in any unit of time.  spans: first token and one past the last of each word.
        tokens: how many the utterance has.  text: the transcript. Where words and spans differ in number, tokens are
            shared out by the letters of its words; where these differ, too, one line leads from the first word's begin
            to the last one's end.
    """
    if spans is None or len(spans) != len(words):
        spans = spans_by_letters(written_words(text), tokens)
    if len(spans) != len(words):
        words, spans = [(words[0][0], words[-1][1])], [(0, tokens)]
    times = [time for word in words for time in word]
    places = [place for span in spans for place in span]
    return torch.tensor([[*times, times[-1]], [*places, tokens]], dtype=torch.float32)


def due_tokens(rows: list[Row], segment_steps: Tensor, reduction_factor: int, first: int = 0) -> Tensor | None:
    """The token that is due in the middle of each step, (B, K), counted in the row's text; None if no row knows.

    ``first``: place of the row's first token, 1 behind a begin mark.
    """
    if not any(pace is not None for row in rows for pace in row.pace):
        return None
    due = torch.full((len(rows), int(segment_steps.sum(1).max())), torch.nan)
    for place, row, steps in zip(due, rows, segment_steps.tolist()):
        step, token = 0, first
        for tokens, pace, count in zip(row.tokens, row.pace, steps):
            if pace is not None:
                frame = (np.arange(count) + 0.5) * reduction_factor
                place[step : step + count] = token + torch.from_numpy(np.interp(frame, *pace.numpy()))
            step, token = step + count, token + len(tokens)
    return due
