"""matplotlib figures as SVG inside an HTML page, in the page's own colours and letters."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours that matplotlib draws with and that stand for the style sheet's: a page is light or dark when it is looked at.
RUNS = 6  # colours there are for runs, told apart by colour-blind eyes
INK, MUTED, GRID, SURFACE, *RUN_COLOURS = (f"#0101{number:02x}" for number in range(4 + RUNS))
VARIABLES = dict(
    zip(
        (INK, MUTED, GRID, SURFACE, *RUN_COLOURS),
        ("ink", "muted", "grid", "surface", *(f"run-{n}" for n in range(RUNS))),
    )
)
SIZE = (420, 280)  # of a plot: units of its view box, in which letters are 11 to 12 high
STYLE = {
    "svg.fonttype": "none",  # text stays text, in the page's letters
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
}


def colour(hexadecimal: str) -> str:
    """What stands for one of the colours above in the page: "var(--ink)"."""
    return f"var(--{VARIABLES[hexadecimal]})"


def subplots(rows: int = 1, size: Sequence[float] = SIZE) -> tuple[Figure, list[Axes]]:
    """A figure of ``size`` (width, height) with axes under each other, which share what is left to right."""
    figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for each in axes:
        each.patch.set_visible(False)
    return figure, list(axes)


def inline(figure: Figure, name: str, label: str) -> str:
    """An <svg> element: ``name`` keeps its ids apart from those of others on the page, ``label`` is read aloud."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():  # the salt: the same ids every time
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's letters will have it
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):  # its <style> would be the whole page's
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # in HTML an <svg> needs no name spaces
        element.attrib = {key.rpartition("}")[2]: _own(key, value, name) for key, value in element.attrib.items()}
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def _own(key: str, value: str, name: str) -> str:
    """An attribute's value with the page's colours and letters, and with ids of its own."""
    if key == "id":
        return f"{name}-{value}"
    value = re.sub(r"(?<=url\(#)|(?<=^#)", f"{name}-", value) if "#" in value and key != "style" else value
    if key == "style":
        value = re.sub(r"#0101[0-9a-f]{2}", lambda found: colour(found.group()), value)
        value = re.sub(r"(font: [^;']*?px) [^;]*", r"\1 var(--letters)", value)
        value = re.sub(r"font-family: [^;]*", "font-family: var(--letters)", value)
    return value


def plain(text: str, most: int = 40) -> str:
    """A name as it may stand in a plot: on one line, without signs that XML forbids, not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"
