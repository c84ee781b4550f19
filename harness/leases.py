"""Trials that a driver has in hand: leases in the store, so that several drivers divide the work and none starts what another is running."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.errors import StoreError
from harness.store import LEASE_SECONDS

if TYPE_CHECKING:
    from harness.store import Store

__all__ = ["Leases"]

JOIN_SECONDS = 5.0  # for a renewal in hand; the store may not answer
RENEWALS = 4  # in the time that a lease lasts, so that one that fails is no loss


class Leases:
    """
    The leases of this process; a context, in which they are renewed by a thread and at whose end they are given up.

    A driver that is killed renews nothing: another takes its trials when its leases have expired, or at once where it can see that the process is gone.
    """

    def __init__(self, store: Store) -> None:
        """
        Args:
            store: Where they are kept.
        """
        self._store = store
        self.holder = f"{_machine()}/{os.getpid()}/{_started(os.getpid())}/{secrets.token_hex(4)}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()

        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(JOIN_SECONDS)
        try:
            self._store.release(self.holder)
        except StoreError:  # the store is gone, or full: the leases expire by themselves
            return

    def take(self, keys: Iterable[str]) -> set[str]:
        """Take trials into hand and return the keys of those that nobody else has."""
        wanted = list(keys)
        taken = self._store.lease(wanted, self.holder)
        left = [key for key in wanted if key not in taken]
        gone = {holder for holder in self._store.holders(left) if _is_gone(holder)} if left else set()

        return taken | self._store.lease(left, self.holder, gone) if gone else taken

    def release(self, keys: Iterable[str]) -> None:
        """Give trials up that need not run after all."""
        self._store.release(self.holder, keys)

    def _renew(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / RENEWALS):
            try:
                self._store.renew(self.holder)
            except (StoreError, MemoryError):  # tried again before they expire
                continue


def _machine() -> str:
    """Return what tells the machine, its start and the space of process numbers from all others."""
    parts = [socket.gethostname().replace("/", "-")]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(Path("/proc/self/ns/pid").readlink().name)
    except OSError:  # no Linux: the name of the machine has to do
        pass

    return ":".join(parts)


def _started(pid: int) -> str:
    """Return when a process started, which tells it from a later one of the same number; empty if there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""


def _is_gone(holder: str) -> bool:
    """Whether a holder is known to run no more; of another machine's nothing is known."""
    machine, _, process = holder.partition("/")
    pid, _, rest = process.partition("/")

    return machine == _machine() and pid.isdecimal() and _started(int(pid)) != rest.partition("/")[0]
