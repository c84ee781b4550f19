"""Trials on the cores of this machine, in processes that are forked for them: no wait for Ray, the same isolation and limits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from harness.environment import environment_id, machine_facts
from harness.errors import BenchError
from harness.executors.engine import Fault, Returned, Running
from harness.executors.fork_server import ForkServer, News, Work
from harness.executors.starter import Starter
from harness.records import Resources, Trial
from harness.trial import Finished

__all__ = ["LocalEngine", "count_slots", "run_apart"]


@dataclass
class _Slot:
    """A fork server and the work that it has."""

    server: ForkServer
    ticket: int | None = None
    running: Running | None = None
    began: float = 0.0


class LocalEngine:
    """
    Fork servers, one a slot.

    Args:
        starter: Forks them.
        slots: How many chunks run at once.
        driver_facts: Environment facts that only the driver knows.
        guarded: Files and folders that no method has business with.
        attached: Whether trials share the terminal and have no limit of time, for a debugger.
    """

    def __init__(
        self, starter: Starter, slots: int, driver_facts: Mapping[str, Any], guarded: Sequence[str] = (), attached: bool = False
    ) -> None:
        self.slots = slots
        self._starter = starter
        self._facts = {**machine_facts(), **driver_facts}
        self._environment = environment_id(self._facts)
        self._guarded = tuple(guarded)
        self._attached = attached
        self._slots: list[_Slot] = []

    def open(self) -> None:
        """
        Start the servers.

        Raises:
            EngineLost: Somebody has ended the starter.
        """
        self._slots += [_Slot(self._starter.server(self._attached)) for _ in range(self.slots)]

    def submit(self, ticket: int, trials: Sequence[Trial]) -> None:
        """Send a chunk to a free server."""
        self._send(ticket, Work(trials, self._environment, guarded=self._guarded))

    def build(self, ticket: int, trial: Trial) -> None:
        """Let a free server build what the trial shares with others."""
        self._send(ticket, Work([trial], builds=True))

    def _send(self, ticket: int, work: Work) -> None:
        slot = next(slot for slot in self._slots if slot.ticket is None)
        slot.ticket = ticket
        try:
            slot.server.send(work)
        except OSError:  # it died while it had nothing to do
            self._renew(slot)
            slot.server.send(work)

    def wait(self, seconds: float) -> list[Returned]:
        """Return what has come back, waiting at most so long for the first."""
        busy = {slot.server.connection: slot for slot in self._slots if slot.ticket is not None}
        deadline = time.monotonic() + seconds
        returned: list[Returned] = []
        while busy and not returned:
            left = deadline - time.monotonic()
            ready = wait(list(busy), max(0.0, left))
            for slot in [slot for connection, slot in busy.items() if connection in ready]:
                came = self._hear(slot)
                if came is not None:
                    returned.append(came)
            if left <= 0:
                break
        stalled = [slot for slot in busy.values() if slot.ticket is not None and slot.server.has_stalled()]

        return [*returned, *(self._lost(slot, "does nothing any more: somebody has stopped it") for slot in stalled)]

    def _hear(self, slot: _Slot) -> Returned | None:
        """Take in what a server says; return its work where that is done."""
        try:
            news = slot.server.hear()
        except EOFError:
            return self._lost(slot, "died")
        if news.kind == "done":
            ticket, slot.ticket, slot.running = slot.ticket or 0, None, None
            return Returned(ticket, news.content.finished, self._facts, news.content.error)
        slot.running = _running(slot, news)

        return None

    def _renew(self, slot: _Slot) -> None:
        slot.server.close()
        slot.server = self._starter.server(self._attached)

    def _lost(self, slot: _Slot, how: str) -> Returned:
        self._renew(slot)
        ticket, slot.ticket, slot.running = slot.ticket or 0, None, None

        return Returned(ticket, fault=Fault("died", f"the process that started the trial {how}"))

    def running(self) -> list[Running]:
        """Return what is in hand."""
        now = time.monotonic()

        return [slot.running._replace(seconds=now - slot.began) for slot in self._slots if slot.running is not None]

    def close(self) -> None:
        """End the servers, with everything in flight."""
        for slot in self._slots:
            slot.server.close()


def _running(slot: _Slot, news: News) -> Running | None:
    if news.kind == "alive" or slot.ticket is None:
        return slot.running
    if news.kind == "stepped" and slot.running is not None:
        return slot.running._replace(step=news.content["step"], figures=news.content["figures"])
    slot.began = time.monotonic()

    return Running(slot.ticket, news.position, news.kind == "loading", 0.0, None, {})


def run_apart(starter: Starter, trials: Sequence[Trial]) -> list[Finished]:
    """
    Run one trial, or the seeds of a cell that are to run as one program, in processes that nothing has run in, and return their records.

    Raises:
        BenchError: The process that starts them died.
    """
    server = starter.server()
    try:
        server.send(Work(trials))
        while (news := server.hear()).kind != "done":
            pass
    except (EOFError, OSError) as error:
        raise BenchError("the process that starts trials died") from error
    finally:
        server.close()

    return list(news.content.finished)


def count_slots(resources: Resources, cores: int) -> int:
    """
    Count how many trials this machine holds at once.

    Raises:
        BenchError: It cannot hold one.
    """
    slots = int(cores / resources.cpu + 1e-9) if resources.cpu > 0 else cores
    if slots == 0:
        raise BenchError(
            f"no trial that reserves {resources.cpu:g} CPUs can be held by the {cores} cores here\n"
            "    lower 'resources' in the suite, raise --workers, or join a larger cluster with --address"
        )

    return slots
