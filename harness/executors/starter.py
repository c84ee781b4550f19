"""
A process that forks servers, itself forked from the command line before a plugin is loaded.

What the import of a plugin's code changes in the process of the command line is not there, and so reaches no trial of another. It imports next to nothing
until it is asked to, so that a run that has nothing to do pays a fork of a small process; and then frameworks once, for all servers (3 s of CPU for torch).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Collection
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from harness.executors.fork_server import ForkServer

__all__ = ["Starter"]


class Starter:
    """
    The starter, as the command line sees it; a context, and it ends with its owner.

    Args:
        prints_aside: Whether what trials print (where they share the terminal) goes to the standard error, since the standard output is to hold JSON.
    """

    def __init__(self, *, prints_aside: bool = False) -> None:
        import pydantic.dataclasses
        import pydantic.type_adapter  # noqa: F401  # a command needs it to read its suite, and the servers for each trial

        self._connection, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._connection.close()
                if prints_aside:
                    os.dup2(2, 1)
                _fork_servers(theirs)
            finally:
                os._exit(0)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._connection.close()
        os.waitpid(self._pid, 0)

    def prepare(self, modules: Collection[str]) -> None:
        """Let the starter import modules, which all servers that it forks from now on have; only who asks for the next server waits until that is done."""
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
        from harness.executors.engine import EngineLost
        from harness.executors.fork_server import ForkServer

        ours, theirs = Pipe()
        try:
            self._connection.send(attached)
            send_handle(self._connection, theirs.fileno(), None)
            pid: int = self._connection.recv()
        except (EOFError, OSError) as error:
            raise EngineLost("the process that starts all others is gone") from error
        finally:
            theirs.close()

        return ForkServer(ours, pid, lambda: _has_ended(pid))


def _fork_servers(owner: Connection) -> None:
    """Fork a server for each connection that the owner sends, until the owner is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):  # the last: nobody waits for a server
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            asked: list[str] | bool = owner.recv()
            if isinstance(asked, list):
                _import(asked)
                continue
            descriptor = recv_handle(owner)
        except (EOFError, OSError):
            return
        from harness.executors.fork_server import import_needed, serve

        import_needed()
        pid = os.fork()
        if pid == 0:
            owner.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            serve(descriptor, asked)
        os.close(descriptor)
        owner.send(pid)


def _import(modules: list[str]) -> None:
    from harness.executors.fork_server import import_modules

    import_modules(modules)
    gc.collect()
    gc.freeze()  # a collection in a server would write to the pages that it shares with the others


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
