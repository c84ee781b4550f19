"""
A process that forks others on demand: servers of trials, workers of checks. It is itself forked from the command line before a plugin is loaded.

What the import of a plugin's code changes in the process of the command line is not there, and so reaches no trial of another. It imports next to nothing
until it is asked to, so that a run that has nothing to do pays a fork of a small process; and then frameworks once, for all (3 s of CPU for torch).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from functools import partial
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from harness.executors.fork_server import ForkServer

__all__ = ["Forked", "Starter", "fork_when_asked"]


class Forked:
    """
    A process that a starter has forked, as its owner sees it.

    Args:
        connection: To it; it ends where this is closed.
        pid: Its number.
    """

    def __init__(self, connection: Connection, pid: int) -> None:
        self.connection, self.pid = connection, pid

    def has_ended(self) -> bool:
        """Whether it is gone, or only waits to be waited for."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            return True


class Starter:
    """
    The starter, as its owner sees it; a context, and it ends with its owner. :meth:`forked` and :meth:`started` make one.

    Args:
        connection: To it.
        wait: Waits for its end.
    """

    def __init__(self, connection: Connection, wait: Callable[[], object]) -> None:
        self._connection = connection
        self._wait = wait

    @classmethod
    def forked(cls, *, prints_aside: bool = False) -> Self:
        """
        Fork one from this process, before a plugin is loaded.

        Args:
            prints_aside: Whether what trials print (where they share the terminal) goes to the standard error, since the standard output is to hold JSON.
        """
        import pydantic.dataclasses
        import pydantic.type_adapter  # noqa: F401  # a command needs it to read its suite, and the servers for each trial

        ours, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                if prints_aside:
                    os.dup2(2, 1)
                _fork_when_asked(theirs)
            finally:
                os._exit(0)
        theirs.close()

        return cls(ours, lambda: os.waitpid(pid, 0))

    @classmethod
    def started(cls) -> Self:
        """Start one as a process of its own, for an owner whose process holds threads, or code of plugins."""
        ours, theirs = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import fork_when_asked; fork_when_asked({theirs.fileno()})"
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        theirs.close()

        return cls(ours, process.wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it; what it has forked ends by itself when its own connection is closed."""
        self._connection.close()
        self._wait()

    def prepare(self, modules: Collection[str]) -> None:
        """Let the starter import modules, which all that it forks from now on have; only who asks for the next process waits until that is done."""
        with contextlib.suppress(OSError):  # it is gone, as the first server tells
            self._connection.send(list(modules))

    def server(self, attached: bool = False) -> ForkServer:
        """
        Fork a server that this process owns.

        Args:
            attached: Whether trials share the terminal and have no limit of time, for a debugger.

        Raises:
            EngineLost: Somebody has ended the starter.
        """
        from harness.executors.fork_server import ForkServer, serve

        forked = self.fork(partial(serve, attached=attached))

        return ForkServer(forked.connection, forked.pid, forked.has_ended)

    def fork(self, target: Callable[[int], object]) -> Forked:
        """
        Fork a process that this process owns.

        Args:
            target: What it is to do, a function of a module; it is given the descriptor of a connection to this process.

        Raises:
            EngineLost: Somebody has ended the starter.
        """
        from harness.executors.engine import EngineLost

        ours, theirs = Pipe()
        try:
            self._connection.send(target)
            send_handle(self._connection, theirs.fileno(), None)
            pid: int = self._connection.recv()
        except (EOFError, OSError) as error:
            raise EngineLost("the process that starts all others is gone") from error
        finally:
            theirs.close()

        return Forked(ours, pid)


def fork_when_asked(descriptor: int) -> None:
    """
    Be a starter, until the owner is gone.

    Args:
        descriptor: A connection to the owner.
    """
    _fork_when_asked(Connection(descriptor))


def _fork_when_asked(owner: Connection) -> None:
    """Fork a process for each function and connection that the owner sends, until the owner is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):  # the last: nobody waits for what is forked
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            asked: list[str] | Callable[[int], object] = owner.recv()
            if isinstance(asked, list):
                _import(asked)
                continue
            descriptor = recv_handle(owner)
        except (EOFError, OSError):
            return
        from harness.executors.fork_server import import_needed, to_the_end

        import_needed()
        pid = os.fork()
        if pid == 0:
            with to_the_end():
                owner.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                asked(descriptor)
        os.close(descriptor)
        owner.send(pid)


def _import(modules: list[str]) -> None:
    from harness.executors.fork_server import import_modules

    import_modules(modules)
    gc.collect()
    gc.freeze()  # a collection in what is forked would write to the pages that it shares with the others
