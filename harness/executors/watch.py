"""What the parent of a method's process knows of it from the kernel: its memory with that of its children, and that all of them have ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

__all__ = ["Afterwards", "adopt_orphans", "children_of", "core_seconds", "die_with_parent", "end_tree", "hide_memory", "used_bytes"]

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
MOST_DESCRIPTORS = 1000  # that are looked at for files in memory
END_SECONDS = 5.0


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that forked it ends, however that ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory() -> None:
    """Let no other process of this user read or change the memory of this one (``/proc/PID/mem``, ``ptrace``)."""
    _prctl(PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of what the children of this process leave behind, so that :func:`end_tree` finds it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


class Afterwards:
    """
    A process that ends others when this one has ended, even by SIGKILL.

    Ray's own look for a driver that is gone takes a minute, in which its workers keep their cores.
    """

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        self._named: set[str] = set()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._writing)
            try:
                _end_at_the_end_of(reading)
            finally:
                os._exit(0)
        os.close(reading)

    def end(self, processes: Iterable[psutil.Process]) -> None:
        """Name processes, whose children are meant too."""
        lines = []
        for process in processes:
            with contextlib.suppress(psutil.Error):
                lines.append(f"{process.pid} {process.create_time()}\n")
        new = [line for line in lines if line not in self._named]
        self._named.update(new)
        with contextlib.suppress(BrokenPipeError):  # somebody has ended it, which is no reason to end the run
            os.write(self._writing, "".join(new).encode())

    def close(self) -> None:
        """Nothing is left to be ended, or it may be now."""
        os.close(self._writing)
        os.waitpid(self._pid, 0)


def _end_at_the_end_of(descriptor: int) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(0, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    text = b""
    while more := os.read(descriptor, 65536):
        text += more
    doomed = []
    for line in text.decode().splitlines():
        pid, created = line.split()
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if process.create_time() == float(created):
                doomed += [process, *process.children(recursive=True)]
    for process in doomed:
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid():  # it is a child of who named them
                process.kill()


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    found = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]

    return found


def end_tree(but: set[int]) -> None:
    """
    Kill all children of this process and theirs, and wait for them.

    Args:
        but: Processes that stay, with their children.
    """
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:  # what a killed process leaves becomes a child of this one, and is next
        doomed = [pid for pid in children_of(os.getpid()) if pid not in but]
        if not doomed:
            return
        for pid in doomed:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in doomed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def core_seconds(pid: int) -> float:
    """Return the time that a process has computed; 0 where there is none."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0

    return float(times.user + times.system)


def used_bytes(pid: int, exact: bool = False) -> int:
    """
    Return the memory that a process and its children hold: private pages, shared ones, and files in memory that are open.

    Args:
        pid: Of the process.
        exact: Divide pages that several processes have among them, which takes longer; otherwise each counts them.
    """
    file, names = ("smaps_rollup", ("Pss_Anon", "Pss_Shmem")) if exact else ("status", ("RssAnon", "RssShmem"))
    private, shared = 0, 0
    for each in _tree(pid):
        accounts = dict(_accounts(f"/proc/{each}/{file}"))
        private += accounts.get(names[0], 0)
        shared += accounts.get(names[1], 0)

    return private + max(shared, _file_bytes(pid))  # a file that is mapped is among the shared pages


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _tree(child)


def _accounts(path: str) -> Iterator[tuple[str, int]]:
    """Give the lines of a table of the kernel that are in kB, in bytes."""
    with contextlib.suppress(OSError):  # it has just ended
        for line in Path(path).read_text(encoding="ascii", errors="replace").splitlines():
            if line.endswith(" kB"):
                name, _, amount = line.partition(":")
                yield name, int(amount.split()[0]) * 1024


def _file_bytes(pid: int) -> int:
    """Return what open files hold that have no place but memory."""
    held = {}
    with contextlib.suppress(OSError):
        folder = f"/proc/{pid}/fd"
        for name in os.listdir(folder)[:MOST_DESCRIPTORS]:  # noqa: PTH208  # several times a second
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{name}").startswith("/memfd:"):  # noqa: PTH115
                    found = os.stat(f"{folder}/{name}")  # noqa: PTH116
                    held[found.st_ino] = found.st_blocks * 512

    return sum(held.values())


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
