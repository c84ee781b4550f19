"""The exceptions of the harness: one tree, so that the command line can turn each into one message and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BenchError",
    "DataError",
    "PluginError",
    "StoreError",
    "SuiteError",
    "TrialDiverged",
    "TrialUnsupported",
    "nearest",
]


class BenchError(Exception):
    """Something that the user can mend; its text is the whole message. Exit code 2 unless a subclass says otherwise."""

    exit_code = 2


class SuiteError(BenchError):
    """A suite file, or an option that changes a suite, is invalid."""


class PluginError(BenchError):
    """A plugin, or one of its specs, cannot be used."""


class DataError(BenchError):
    """The bytes of a data set are missing, incomplete or not the ones that its spec names."""


class StoreError(BenchError):
    """The record store cannot be opened, read or written."""


class TrialDiverged(Exception):
    """Raised by a method whose loss or weights are no longer finite; the record gets the status ``diverged``."""


class TrialUnsupported(Exception):
    """
    Raised by a method that cannot treat such data at all (five classes where it is about two); its text says why.

    The record gets the status ``unsupported``, which is told apart from a failure and is no reason for the exit code 1.
    """


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"`` for the closest of ``allowed``, or an empty string where none is close."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)

    return f"did you mean '{close[0]}'?" if close else ""
