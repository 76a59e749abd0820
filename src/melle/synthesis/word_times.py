"""When each word is spoken, by the guided attention: head 0 of the guided blocks looks at the token that is due."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from melle.audio import loudness, speech_level
from melle.model import Melle
from melle.model.attention_map import guided_attention
from melle.synthesis.request import Request, teacher_forced
from melle.synthesis.speech import Word, shifted
from melle.text import Tokenizer
from melle.text.normalise import written_words
from melle.text.words import word_tokens

QUIET = 2.0  # log10 below loud speech, 40 dB
PAUSE = 0.06  # seconds of quiet that are a pause: a stop's closure is shorter
APART = 0.05  # seconds by which a pause may miss the edges that attention gives
NEAR = 3.0  # tokens around the path within which attention counts: what lies further away is noise
# Tokens that are left of a text where the last step of its speech looks: 3 to 5 with the shipped model, more than 9
# where a word was left out. It is known where attention is a sharp line: at least SHARP of it is near the path, and
# SHARPER times as much as if it were spread over the text.
UNSAID, SHARP, SHARPER = 8.0, 0.5, 2.5
MAX_SKIPPED = 4  # tokens that the path may go on by from a step to the next, for each frame of a step


def find_words(
    network: Melle, tokenizer: Tokenizer, request: Request, mel: torch.Tensor, frame_rate: float, speed: float = 1.0
) -> tuple[Word, ...]:
    """The words of what was spoken for a request: ``mel`` (T, M) log10, as it was decoded.

    ``speed``: how many times as fast it was made after that, for the times.
    """
    if not len(mel):
        return ()
    due = token_positions(text_attention(network, request, mel), MAX_SKIPPED * network.reduction_factor)
    times = (np.arange(len(due)) + 0.5) * network.reduction_factor / frame_rate
    tokens, seconds = len(request.tokens), len(mel) / frame_rate
    spans = word_tokens(tokenizer, request.text, request.tokens)
    edges = np.interp(np.array(spans, dtype=float), [0.0, *due, tokens], [0.0, *times, seconds])
    edges = snap_to_pauses(edges.reshape(-1, 2), mel, frame_rate)
    words = written_words(request.text)
    found = [Word(word, *map(float, edge)) for word, edge in zip(words, edges)]
    return shifted(found, 0.0, speed)


def snap_to_pauses(edges: NDArray[np.float64], mel: torch.Tensor, frame_rate: float) -> NDArray[np.float64]:
    """Edges of words (W, 2) in seconds, of which those beside a pause of ``mel`` (T, M) log10 are the pause's.

    Attention passes through a pause on its way from word to word, and does not say where it starts and ends.
    """
    quiet = (loudness(mel) < speech_level(mel) - QUIET).cpu().numpy()
    runs = np.flatnonzero(np.diff(np.concatenate(([0], quiet, [0])))).reshape(-1, 2) / frame_rate
    runs = runs[runs[:, 1] - runs[:, 0] >= PAUSE]
    middles, snapped = edges.mean(axis=1), edges.copy()
    for number in range(len(edges) + 1):  # the pause before word ``number``, or after the last
        after, end = (middles[number - 1], edges[number - 1, 1]) if number else (-np.inf, -np.inf)
        before, start = (middles[number], edges[number, 0]) if number < len(edges) else (np.inf, np.inf)
        between = (
            (after < runs[:, 0]) & (runs[:, 1] < before) & (runs[:, 0] < start + APART) & (end - APART < runs[:, 1])
        )
        if between.any():
            pause = max(runs[between], key=lambda run: run[1] - run[0])
            if number:
                snapped[number - 1, 1] = pause[0]
            if number < len(edges):
                snapped[number, 0] = pause[1]
    return snapped


def ends_early(network: Melle, request: Request, mel: torch.Tensor) -> bool:
    """Whether speech that ended by itself, ``mel`` (T, M) log10 as it was decoded, left the end of its text unsaid.

    Of models whose guided attention is no sharp line, or has none, it is not known, and False.
    """
    continues = request.prompt is not None and not request.prompt.tokens
    if not network.guided_layers or not len(mel) or continues:
        return False
    weights = text_attention(network, request, mel)
    due, token = token_positions(weights, MAX_SKIPPED * network.reduction_factor), np.arange(weights.shape[1]) + 0.5
    sharp = (weights * (np.abs(token - due[:, None]) <= NEAR)).sum(axis=1).mean()
    spread = (2 * NEAR + 1) / weights.shape[1]
    return bool(sharp > max(SHARP, SHARPER * spread) and weights.shape[1] - due[-1] > UNSAID)


def text_attention(network: Melle, request: Request, mel: torch.Tensor) -> NDArray[np.float64]:
    """How much each step of ``mel`` (T, M) looks at each token of the request's text (K, S), by the guided heads."""
    weights = guided_attention(network, teacher_forced(network, request, mel))
    steps = len(mel) // network.reduction_factor
    first = (request.marks.bos is not None) + sum(map(len, request.segments[:-1]))
    own = weights.float().mean(dim=0)[0, -steps:, first : first + len(request.tokens)]
    return own.cpu().numpy().astype(float)


def token_positions(weights: NDArray[np.float64], skipped: int) -> NDArray[np.float64]:
    """Where in the text each step looks, (K, S) → (K,): the mean near the likeliest path that never goes back."""
    path = monotonic_path(np.log(weights + 1e-6), skipped)
    token = np.arange(weights.shape[1]) + 0.5
    near = weights * (np.abs(token - token[path][:, None]) <= NEAR) + 1e-9 * (token == token[path][:, None])
    return np.maximum.accumulate((near * token).sum(axis=1) / near.sum(axis=1))


def monotonic_path(scores: NDArray[np.float64], skipped: int) -> NDArray[np.int64]:
    """The path (K,) of tokens with the highest sum of ``scores`` (K, S) that goes on by up to ``skipped`` a step."""
    steps, tokens = scores.shape
    best, came = scores[0].copy(), np.zeros((steps, tokens), dtype=int)
    for step in range(1, steps):
        moves = np.full((skipped + 1, tokens), -np.inf)
        for move in range(min(skipped, tokens - 1) + 1):
            moves[move, move:] = best[: tokens - move]
        move = moves.argmax(axis=0)
        came[step] = np.arange(tokens) - move
        best = moves[move, np.arange(tokens)] + scores[step]
    path = [int(best.argmax())]
    for step in range(steps - 1, 0, -1):
        path.append(int(came[step, path[-1]]))
    return np.array(path[::-1])
