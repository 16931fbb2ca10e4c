"""A figure of a report: a drawing and what to read off it."""

from dataclasses import dataclass

__all__ = ["Figure"]


@dataclass(frozen=True)
class Figure:
    """An SVG element and its caption.

    Attributes
    ----------
    svg
        Goes into the page as it is.
    caption
        Plain text.
    """

    svg: str
    caption: str
