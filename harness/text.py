"""Text from elsewhere (plugins, suites, errors of trials) as a terminal or a report may hold it."""

from __future__ import annotations

import re

__all__ = ["printable"]

# What a terminal takes as a command: CSI (colours, the cursor), strings such as OSC (titles, links, the clipboard) with their end, and the short sequences;
# each is also spelled with one character of C1. A carriage return before a line feed says nothing.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
    r"|\r(?=\n)"
)
# Control characters but tab and line feed; separators that begin a line for some readers and not for others; and what turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """
    Return text without what a terminal would obey: escape sequences are left out, other control characters become U+FFFD.

    Tabs and line feeds stay.
    """
    return text if text.isascii() and text.isprintable() else _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _SEQUENCES.sub("", text))
