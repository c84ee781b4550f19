"""A figure beside the one that was stated."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Baseline"]


class Baseline(NamedTuple):
    """
    One figure.

    Args:
        name: Data set, model and metric.
        stated: What was measured when the set was chosen.
        measured: What this run finds.
        is_share: Whether it is a share (an accuracy, an area) that points compare; a loss has its own scale.
    """

    name: str
    stated: float
    measured: float
    is_share: bool = True
