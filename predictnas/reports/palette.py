"""Colours and type of everything that a report draws.

The hues are those of Okabe and Ito (Color Universal Design, 2008), which readers with any kind of
colour vision tell apart; whatever a colour says, a shape or a word says too.
"""

__all__ = [
    "BLUE",
    "FONT_FAMILY",
    "GREEN",
    "HUES",
    "INK",
    "MUTED",
    "ORANGE",
    "PAPER",
    "PURPLE",
    "RULE",
    "SKY",
    "VERMILION",
]

BLUE = "#0072b2"
ORANGE = "#d98c00"  # darker than Okabe and Ito's, to hold against white
GREEN = "#009e73"
VERMILION = "#d55e00"
PURPLE = "#b35a93"
SKY = "#56b4e9"

HUES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
"""For categories, in the order in which they are given out."""

INK = "#1d2733"
MUTED = "#657180"
RULE = "#dfe4ea"
PAPER = "#ffffff"

FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
