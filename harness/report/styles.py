"""How methods look in every figure and legend of a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["COLOURS", "DASHES", "INK", "MARKERS", "VARIABLES", "Style", "style_of"]

# Okabe and Ito's colours, told apart by colour-blind eyes, without their yellow, which nobody sees on white; then as many more, darker or duller.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#5b3a9e",
    "#8a4b2a",
    "#7a8b00",
    "#d6003c",
    "#00808a",
    "#7d7d7d",
)
MARKERS = ("o", "s", "^", "D")  # with as many dashes: when the colours have been used once, twice, thrice
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
INK = "#010101"  # becomes the colour of the page's text

# The page's own colours, which differ between light and dark, for those of the figures.
VARIABLES: Mapping[str, str] = {INK: "currentColor"} | {colour: f"var(--series-{place})" for place, colour in enumerate(COLOURS)}


@dataclass(frozen=True)
class Style:
    """
    How a method is drawn in every figure.

    Args:
        index: Of the method; the class ``series-<index>`` marks what belongs to it.
        colour: Hexadecimal, lower case.
        dashes: Lengths of dashes and gaps; empty for a solid line.
        marker: Matplotlib's letter of a point's shape.
    """

    index: int
    colour: str
    dashes: tuple[float, ...]
    marker: str = "o"


def style_of(index: int, baseline: int) -> Style:
    """Return the style of a method: the baseline in the colour of the text, the others in turn by colour, then by dashes and markers."""
    if index == baseline:
        return Style(index, INK, ())
    place = index - (index > baseline)
    turn = place // len(COLOURS) % len(DASHES)

    return Style(index, COLOURS[place % len(COLOURS)], DASHES[turn], MARKERS[turn])
