"""How methods look in every figure and legend of a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["COLOURS", "DASHES", "INK", "VARIABLES", "Style", "style_of"]

# Okabe and Ito's colours, told apart by colour-blind eyes; without their yellow, which nobody sees on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
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
    """

    index: int
    colour: str
    dashes: tuple[float, ...]


def style_of(index: int, baseline: int) -> Style:
    """Return the style of a method: the baseline in the colour of the text, the others in turn by colour, then by dashes."""
    if index == baseline:
        return Style(index, INK, ())
    place = index - (index > baseline)

    return Style(index, COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)])
