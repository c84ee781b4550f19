"""How a check ends when it does not pass."""

from __future__ import annotations

from unittest import SkipTest

__all__ = ["CheckSkipped", "CheckUnjudged", "ConformanceError"]


class ConformanceError(Exception):
    """A check failed; the text says what was found and how to mend it."""


class CheckUnjudged(ConformanceError):
    """
    A limit ended what a check looks at, so that it can neither pass nor accuse.

    It counts as a failure, so that nothing passes by taking long.

    Args:
        reason: Which limit.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"could not be judged: {reason}\n"
            f"    make the example data set or the smallest budget cheaper, or allow more: `bench plugin check NAME --seconds N`"
        )
        self.reason = reason


class CheckSkipped(SkipTest):
    """A check could not be made here; the text says why. pytest shows it as a skipped test."""
