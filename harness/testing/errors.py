"""How a check ends when it does not pass."""

from __future__ import annotations

from unittest import SkipTest

__all__ = ["CheckSkipped", "ConformanceError"]


class ConformanceError(Exception):
    """A check failed; the text says what was found and how to mend it."""


class CheckSkipped(SkipTest):
    """A check could not be made here; the text says why. pytest shows it as a skipped test."""
