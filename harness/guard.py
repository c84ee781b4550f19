"""
A plugin's code in the process of the command line, kept from ending it, from writing to standard output, and from changing it for those that come after.

What is put back: streams, folder, environment, ``sys.path``, ``sys.argv``, the recursion limit, warning filters, signal handlers, signal masks and the
alarm clock. What is not: a process that is ended at once (``os._exit``, a crash in C), a plugin that swallows every exception for ever, and threads that it
leaves behind.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # plain numbers; typeshed leaves it out, and the enumerations of `signal` take a millisecond a call
import contextlib
import fcntl
import io
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from harness.interrupts import stop

__all__ = ["IMPORT_SECONDS", "ForeignError", "guarded", "printable"]

IMPORT_SECONDS = 60.0  # a cold import of torch from a slow disk takes 30
MAX_TRACEBACK = 20_000  # characters; an exception may hold the whole of its data
MAX_CAUSE = 400
STREAMS = ("stdout", "stderr", "__stdout__", "__stderr__")
SIGNALS = tuple(map(int, signal.valid_signals()))
OF_THE_USER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ForeignError(Exception):
    """
    A plugin's code failed; the text is the cause, in one printable line.

    Args:
        error: What it raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(_cause(error))
        text = printable("".join(traceback.format_exception(error)))
        cut = f"\n... {len(text) - MAX_TRACEBACK:,} characters are left out ...\n"
        half = MAX_TRACEBACK // 2
        self.traceback = text if len(text) <= MAX_TRACEBACK else f"{text[:half]}{cut}{text[-half:]}"


class _TookTooLongError(BaseException):
    """Raised inside a plugin's code by the alarm clock; no Exception, since plugins catch those."""


@contextlib.contextmanager
def guarded(seconds: float) -> Iterator[None]:
    """
    Run a plugin's code; what it prints goes to standard error, and the process is as before afterwards.

    What it adds to ``sys.path`` stays, behind all else: its own modules are found, and no other's are hidden.

    Args:
        seconds: After which it is interrupted, where this is the main thread (others cannot be).

    Raises:
        ForeignError: It raised something, whatever it was, or took longer.
        KeyboardInterrupt: The user's, and nobody else's, even where the plugin swallowed it.
    """
    asked: list[int] = []
    # The user's signals wait while all is made ready and put back: there they would be taken for the plugin's, or keep something from being put back.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_USER)
    try:
        with _streams_kept(), _state_kept():
            try:
                with _signals_kept(seconds, asked, mask):
                    yield
            except BaseException as error:  # a plugin's code: SystemExit is one of many
                # Where there are other threads the mask holds nothing back, and a signal may come before it can be noted.
                if asked or (stop.asked and isinstance(error, KeyboardInterrupt)):
                    raise KeyboardInterrupt from None
                raise ForeignError(error) from error
            if asked:
                raise KeyboardInterrupt
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def printable(text: str) -> str:
    """Return a text with what a terminal would obey, or cannot encode, spelled out; line breaks stay."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")

    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)


def _cause(error: BaseException) -> str:
    """Say in one line what was raised."""
    if isinstance(error, _TookTooLongError):
        return str(error)
    try:
        text = str(error)
    except BaseException as raised:  # the text of an exception is its author's code too
        text = f"(its text cannot be had: {type(raised).__name__})"
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        text = f"it ends the process with exit code {0 if error.code is None else error.code}"
    line = " ".join(printable(text).split())
    line = line if len(line) <= MAX_CAUSE else f"{line[:MAX_CAUSE]}..."

    return f"{type(error).__name__}: {line}" if line else type(error).__name__


class _Spare(io.TextIOWrapper):
    """
    Stands for standard output and standard error; a plugin may close it, or keep it for its logger.

    Writes to the stream that was standard error before, which a display may have in hand, and to its descriptor where the plugin asks for one.
    """

    def __init__(self, behind: TextIO | None, raw: io.FileIO) -> None:
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self._behind = behind

    def write(self, text: str) -> int:
        if self._behind is None or self._behind.closed:
            return super().write(text)

        return self._behind.write(text)

    def flush(self) -> None:
        if self._behind is not None and not self._behind.closed:
            self._behind.flush()


@contextlib.contextmanager
def _streams_kept() -> Iterator[None]:
    """Let standard output be standard error, as an object and as a descriptor, which child processes and C code write to."""
    before = {name: getattr(sys, name) for name in STREAMS}
    for name in ("stdout", "stderr"):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or not there
            before[name].flush()
    kept = {number: _duplicate(number) for number in (1, 2)}
    raw = io.FileIO(os.devnull, "w") if kept[2] is None else io.FileIO(2, "w", closefd=False)
    if kept[1] is not None:
        os.dup2(raw.fileno(), 1)
    for name in STREAMS:
        setattr(sys, name, _Spare(before["stderr"], raw if name == "stdout" else io.FileIO(raw.fileno(), "w", closefd=False)))
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            before["stderr"].flush()
        for number, copy in kept.items():
            if copy is not None:
                os.dup2(copy, number)
                os.close(copy)
        for name, stream in before.items():
            setattr(sys, name, stream)


def _duplicate(descriptor: int) -> int | None:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)  # os.dup would give the number of a stream that is closed
    except OSError:  # the command was started with it closed
        return None


@contextlib.contextmanager
def _state_kept() -> Iterator[None]:
    """Put back what a plugin has changed of the process."""
    folder, environment, limit = _folder(), dict(os.environ), sys.getrecursionlimit()
    path, arguments = list(sys.path), list(sys.argv)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            if folder is not None and _folder() != folder:
                os.chdir(folder)
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            for name, value in environment.items():
                if os.environ.get(name) != value:
                    os.environ[name] = value
            if sys.getrecursionlimit() != limit:
                sys.setrecursionlimit(limit)
            if sys.path != path:
                sys.path[:] = [*path, *(entry for entry in dict.fromkeys(sys.path) if entry not in path)]
            sys.argv[:] = arguments


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  # as text: it is only compared and given back
    except OSError:  # it was deleted
        return None


@contextlib.contextmanager
def _signals_kept(seconds: float, asked: list[int], mask: set[int | signal.Signals]) -> Iterator[None]:
    """Set the alarm clock, note in ``asked`` each signal of the user, whom ``mask`` does not keep waiting, and put handlers and the clock back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: _signal.getsignal(number) for number in SIGNALS}

    def noting(handler: Callable[[int, Any], Any]) -> Callable[[int, Any], None]:  # Any: a frame, and what nobody reads
        def note(number: int, frame: Any) -> None:  # Any: as above
            asked.append(number)
            handler(number, frame)

        return note

    def ring(*_: object) -> None:
        raise _TookTooLongError(f"it took more than {seconds:g} s")

    for number in OF_THE_USER:
        handler = before[number]
        if callable(handler):
            signal.signal(number, noting(handler))
    signal.signal(signal.SIGALRM, ring)
    begun = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, *OF_THE_USER})
        signal.setitimer(signal.ITIMER_REAL, 0)
        for handled, handler in before.items():
            if handler is not None and _signal.getsignal(handled) is not handler:  # None: set by C code, and so not to be set from here
                signal.signal(handled, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - begun)), interval)
