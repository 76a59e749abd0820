"""One picture per utterance: mels under each other, where the model looks in the text, and when it wants to stop."""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from melle.model.attention_map import diagonality

MAX_LABELS = 40  # tokens beside a map that can still be read
RANGE = 4.0  # log10 magnitude (80 dB) below the recording's peak that colours show


@dataclass(frozen=True)
class Spectra:
    """One utterance, recorded and by the model: mels (T, M) are log10."""

    title: str
    recording: Tensor
    forced: Tensor  # predicted from the recording's own frames
    speech: Tensor  # free-running
    stop: Tensor  # (steps,) of the speech
    threshold: float  # of stopping
    attention: Tensor  # (layers, heads, K, S) of the forced pass
    tokens: list[str]
    frame_rate: float  # per second


def draw(spectra: Spectra) -> Figure:
    """The mels and the stop curve on the left, attention on the right, all over seconds."""
    figure = Figure(figsize=(11, 6.4), dpi=80)
    FigureCanvasAgg(figure)
    title = textwrap.shorten(spectra.title, 120, placeholder=" …")
    figure.text(0.06, 0.965, title, fontsize=12, parse_math=False)
    left = figure.add_gridspec(
        4, 1, height_ratios=(3, 3, 3, 2), left=0.06, right=0.5, top=0.91, bottom=0.08, hspace=0.4
    )
    right = figure.add_gridspec(2, 1, left=0.6, right=0.985, top=0.91, bottom=0.08, hspace=0.25)

    peak = float(spectra.recording.max())
    colours = (max(float(spectra.recording.min()), peak - RANGE), peak)
    mels = {
        "recording": spectra.recording,
        "teacher-forced": spectra.forced,
        "free-running": spectra.speech,
    }
    longest = max(map(len, mels.values())) / spectra.frame_rate
    for row, (name, mel) in enumerate(mels.items()):
        axes = figure.add_subplot(left[row])
        seconds, bands = len(mel) / spectra.frame_rate, mel.shape[1]
        _image(axes, mel.T, (0, seconds, 0, bands), colours)
        axes.set_title(name, fontsize=9, loc="left", pad=3)
        axes.set_ylabel("mel band")
        axes.set_xlim(0, longest)
    _draw_stop(figure.add_subplot(left[3]), spectra, longest)

    layer, head = most_diagonal_head(spectra.attention)
    maps = {
        "attention, mean of all heads": spectra.attention.mean(dim=(0, 1)),
        f"attention, layer {layer} head {head} (the most diagonal)": spectra.attention[layer, head],
    }
    for row, (name, weights) in enumerate(maps.items()):
        axes = figure.add_subplot(right[row])
        _draw_attention(axes, weights, spectra)
        axes.set_title(name, fontsize=9, loc="left", pad=3)
    axes.set_xlabel("seconds of the recording")
    return figure


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """(height, width, RGB)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box stands for it
        figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()


def most_diagonal_head(attention: Tensor) -> tuple[int, int]:
    """Layer and head, from 0, whose attention (layers, heads, K, S) follows the text the most."""
    best = int(diagonality(attention).argmax())
    return divmod(best, attention.shape[1])


def _draw_stop(axes: Axes, spectra: Spectra, longest: float) -> None:
    seconds = len(spectra.speech) / spectra.frame_rate
    ends = torch.arange(1, len(spectra.stop) + 1) * seconds / len(spectra.stop)  # of the steps
    axes.plot(ends.numpy(), spectra.stop.numpy())
    axes.axhline(spectra.threshold, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlim=(0, longest), ylim=(-0.03, 1.03), xlabel="seconds", ylabel="stop")
    axes.set_title("probability of stopping, free-running; dashed: threshold", fontsize=9, loc="left", pad=3)


def _draw_attention(axes: Axes, weights: Tensor, spectra: Spectra) -> None:
    tokens = weights.shape[1]
    seconds = len(spectra.recording) / spectra.frame_rate
    _image(axes, weights.T, (0, seconds, tokens - 0.5, -0.5), (0, max(float(weights.max()), 1e-6)))
    if tokens <= MAX_LABELS:
        axes.set_yticks(range(tokens), spectra.tokens, fontsize=9 if tokens <= 20 else 6, parse_math=False)
    else:
        axes.set_ylabel("token")


def _image(axes: Axes, values: Tensor, extent: tuple[float, ...], colours: tuple[float, float]) -> None:
    low, high = colours
    origin = "lower" if extent[3] > extent[2] else "upper"
    axes.imshow(values.numpy(), origin=origin, aspect="auto", interpolation="none", extent=extent, vmin=low, vmax=high)
