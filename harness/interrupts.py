"""The user's signals: each ends the command as Ctrl-C does, but in the middle of nothing that must be done whole."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import TracebackType
from typing import Self

__all__ = ["INTERRUPTED", "Stop", "stop"]

INTERRUPTED = 130  # the exit code


class Stop:
    """
    The handler, whichever signal asks and also where a shell started us in the background and Ctrl-C is ignored; and a context in which the first one waits.

    A second Ctrl-C ends the process at once; a terminal that closes may send its signals twice without haste.

    Attributes:
        asked: Whether a signal has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._waits = False
        self._depth = 0

    def __repr__(self) -> str:
        return "what ends the command"

    def install(self) -> None:
        """Handle the signals that are not ignored for a reason: by nohup, or in a shell's background."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self)

    def __call__(self, number: int, _: object) -> None:
        """Handle a signal."""
        if not self.asked:
            self.asked = True
            if self._depth:
                self._waits = True
                return
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            with contextlib.suppress(OSError):
                os.write(2, b"bench: ended at once; what was finished is stored\n")
            os._exit(INTERRUPTED)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # the only one that an interrupt reaches
            self._depth += 1

        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth -= 1
            if self._waits and not self._depth:
                self._waits = False
                raise KeyboardInterrupt


stop = Stop()
