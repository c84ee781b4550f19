"""What commands write to: streams that replace what they cannot hold and outlive their reader, and a console for tables."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from harness.text import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "echo", "guard_streams", "make_console"]

WIDTH_WITHOUT_TERMINAL = 160
NARROWEST = 20  # below it no table can be read, and the terminal may break the lines
DUMB = ("dumb", "unknown")
SPELLED = {
    "±": "~",
    "×": "x",
    "–": "-",
    "—": "-",
    "†": "+",
    "‡": "#",
    "…": ".",
    "·": ".",
    "Δ": "d",
}  # a sign each, so that tables stay straight
GONE = (errno.EPIPE, errno.EIO)  # the reader has seen enough, or the terminal was closed


class Output(io.TextIOWrapper):
    """
    A standard stream that raises nothing: what its encoding lacks is replaced, and once it cannot be written it is as good as /dev/null.

    So a run whose reader has gone (``| head``), or whose disk is full, still finishes its trials and reports.

    Args:
        lost: What made it impossible to write; ``None`` as long as all went well.
    """

    lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write text, as long as that is possible."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush, as long as that is possible."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if self.lost is None:
            self.lost = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # what lies in the buffers goes there when the interpreter ends
            os.close(nowhere)

    @property
    def complaint(self) -> str:
        """Say why what was written is not where it should be; nothing where it is, or where nobody waits for it."""
        return "" if self.lost is None or self.lost.errno in GONE else f"what was printed could not be written: {self.lost.strerror}"


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Give something for signs that an encoding lacks: what looks like them, else a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error

    return "".join(SPELLED.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("spell", _spell)


def guard_streams() -> None:
    """Put :class:`Output` in the place of standard output and error; one that was closed before the start is /dev/null."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # or the next file that is opened, such as a store, gets this number, and what a library prints
            os.open(os.devnull, os.O_RDWR)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # it lives as long as the process
        if type(stream) is io.TextIOWrapper:
            kept = {key: getattr(stream, key) for key in ("encoding", "line_buffering", "write_through")}
            guarded = Output(stream.detach(), errors="spell", **kept)
            setattr(sys, name, guarded)
            setattr(sys, f"__{name}__", guarded)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """
    Print text that may come from files and plugins, without the control characters in it.

    Args:
        text: One line or several.
        err: To standard error.
        nl: End the line.
    """
    stream = sys.stderr if err else sys.stdout
    stream.write(printable(text) + ("\n" if nl else ""))
    stream.flush()


def make_console() -> Console:
    """
    Build the console for a command's output: as wide as the terminal, and wide enough for tables elsewhere.

    ``is_interactive`` says whether a display may be redrawn on it: a terminal that moves its cursor, whatever asks for colours.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class CleanConsole(Console):
        """Prints no control character of what it is given; its own, for styles and the cursor, are not in the texts."""

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text), segment.style)

    on_terminal = _is_terminal()
    environment = dict(os.environ)
    for name in ("COLUMNS", "LINES"):
        if not _number(environment, name):
            environment.pop(name, None)
    if environment.get("FORCE_COLOR") == "0":  # to most programs a no, to rich a yes
        del environment["FORCE_COLOR"]
    if not on_terminal:
        environment.setdefault("COLUMNS", str(WIDTH_WITHOUT_TERMINAL))
    width = height = None
    if columns := _number(environment, "COLUMNS"):
        width = max(NARROWEST, columns)
        if not on_terminal or environment.get("TERM", "").lower() in DUMB:
            height = _number(environment, "LINES") or 25  # of a dumb terminal rich believes a width only with a height

    # No markup: names, labels and errors come from files and plugins. The file is fixed, so that redirecting a method's prints leaves the display alone.
    return CleanConsole(
        file=sys.stdout,
        highlight=False,
        markup=False,
        emoji=False,
        force_interactive=on_terminal and environment.get("TERM", "").lower() not in DUMB,
        _environ=environment,
        width=width,
        height=height,
    )


def _is_terminal() -> bool:
    with contextlib.suppress(ValueError, OSError):  # a stream that is closed
        return sys.stdout.isatty()

    return False


def _number(environment: Mapping[str, str], name: str) -> int:
    """Return a size that the environment gives; 0 where it gives none that can be."""
    text = environment.get(name, "")

    return int(text) if text.isascii() and text.isdigit() else 0
