"""Matplotlib figures as SVG elements that stand in one HTML page together.

The style is explicit and local: neither a user's matplotlib configuration has a say in it, nor is
anything left behind; pyplot is not used. The same figure gives the same characters every time.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from predictnas.reports.palette import FONT_FAMILY, INK, MUTED, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Draw", "figure_svg"]

Draw = Callable[["Axes"], Mapping[str, Sequence[str]] | None]
"""Draws into axes; may return, for the gid of a collection, what to say of each of its marks."""

# Text stays text, which can be searched and read aloud. Space for it is reckoned with the font that
# comes with matplotlib, which is wider than what browsers put in its place.
_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": "#aab4bf",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.labelpad": 6.0,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handletextpad": 0.3,
    "legend.columnspacing": 1.4,
    "legend.borderaxespad": 0.0,
    "lines.linewidth": 1.6,
    "xtick.color": "#aab4bf",
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "xtick.major.width": 0.8,
    "ytick.color": "#aab4bf",
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 8.5,
    "ytick.major.size": 0.0,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
}
_PIXELS_PER_INCH = 96
_FONT = re.compile(r"'DejaVu Sans'")


def figure_svg(draw: Draw, *, name: str, label: str, width: int, height: int) -> str:
    """Draw one chart and return it as an SVG element.

    Parameters
    ----------
    draw
        Draws the chart into axes.
    name
        Unique among the figures of a page; goes before all ids inside.
    label
        What a screen reader says.
    width, height
        In CSS pixels; the element scales with the width of what it stands in.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    local = matplotlib.style.context(["default", {**_STYLE, "svg.hashsalt": name}])
    with local, warnings.catch_warnings():
        # Browsers have letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = Figure(
            figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH), layout="constrained"
        )
        hints = draw(figure.add_subplot()) or {}
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    # Matplotlib wrote this text a line ago: nothing in it comes from outside.
    root = ElementTree.fromstring(buffer.getvalue().encode())  # noqa: S314
    _remove_namespaces(root)
    for metadata in root.findall("metadata"):
        root.remove(metadata)
    for gid, texts in hints.items():
        _add_hints(root, gid, texts)
    _shorten_ids(root, name)
    for element in root.iter():
        style = element.get("style")
        if style and "DejaVu" in style:
            element.set("style", _FONT.sub(FONT_FAMILY, style))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria-label": label})
    return ElementTree.tostring(root, encoding="unicode")


def _remove_namespaces(root: Element) -> None:
    """Name elements and attributes without a namespace: inside HTML, SVG needs none."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}


def _add_hints(root: Element, gid: str, texts: Sequence[str]) -> None:
    """Give each mark of a collection a text to show where the pointer rests on it."""
    (group,) = (element for element in root.iter("g") if element.get("id") == gid)
    definitions = {element for defs in group.iter("defs") for element in defs.iter()}
    marks = [e for e in group.iter() if e.tag in ("use", "path") and e not in definitions]
    for mark, text in zip(marks, texts, strict=True):
        SubElement(mark, "title").text = text


def _shorten_ids(root: Element, name: str) -> None:
    """Keep only the ids that something refers to, and make them unique in a page."""
    reference = re.compile(r"url\(#([^)]+)\)")
    used = set()
    for element in root.iter():
        for attribute, value in element.attrib.items():
            if attribute == "href":
                used.add(value.removeprefix("#"))
                element.set(attribute, f"#{name}-{value.removeprefix('#')}")
            elif "url(#" in value:
                used.update(reference.findall(value))
                element.set(attribute, reference.sub(rf"url(#{name}-\1)", value))
    for element in root.iter():
        identity = element.get("id")
        if identity in used:
            element.set("id", f"{name}-{identity}")
        elif identity is not None:
            del element.attrib["id"]
