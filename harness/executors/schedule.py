"""
The scheduling that every engine shares: chunks, back-pressure, retries.

At most ``engine.slots`` chunks are in flight, so a queue of any length costs the driver no more than its list. Trials that are expected to be short
travel together where they have one method, because a process of its own costs some milliseconds; so do seeds that run as one program.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import cast

from harness.artifacts import is_shared_built
from harness.executors.engine import Engine, EngineLost, Fault, Returned, Running
from harness.records import Record, Status, Trial, canonical_json, cell_of, is_one_program
from harness.trial import Finished, RunningTrial, fault_record

__all__ = ["RETRIES", "schedule"]

RETRIES = 2  # of a trial whose starter died; a method's own exceptions are final
LOSSES = 5  # of workers or nodes under one trial, after which there is something wrong with the cluster
SHORT_SECONDS = 0.2  # trials expected to be shorter go in chunks
CHUNK_SECONDS = 0.5  # what a chunk is filled up to: long enough to hide the round trip, short enough to lose little
CHUNK_TRIALS = 200
CHUNKS_PER_SLOT = 2  # chunks that each slot should still get, so that the last one does not keep a single worker busy
POLL_SECONDS = 0.2


@dataclass
class _Attempt:
    trial: Trial
    faults: int = 0
    losses: int = 0


@dataclass
class _Unit:
    """
    What starts together: one trial, or the seeds of a cell that run as one program.

    Args:
        attempts: Their trials.
        missing: Keys of the artifacts that have to be built first.
    """

    attempts: list[_Attempt]
    missing: set[str]

    @property
    def method(self) -> str:
        """What the trials are of, by the entry of the method."""
        return self.attempts[0].trial.method.entry


@dataclass
class _Chunk:
    """Trials that travel together; or one trial, whose shared artifact ``builds`` is to be built."""

    attempts: list[_Attempt]
    builds: str = ""


class _Queue:
    """Units in their order, from which those of one method can be taken ahead of it."""

    def __init__(self) -> None:
        self._by_method: dict[str, deque[tuple[int, _Unit]]] = {}
        self._heads: list[tuple[int, str]] = []  # a heap: the position of the first unit of each method
        self._n = 0

    def __bool__(self) -> bool:
        return bool(self._heads)

    def __len__(self) -> int:
        return sum(map(len, self._by_method.values()))

    def append(self, unit: _Unit) -> None:
        method = unit.method
        line = self._by_method.setdefault(method, deque())
        if not line:
            heappush(self._heads, (self._n, method))
        line.append((self._n, unit))
        self._n += 1

    def take(self) -> _Unit:
        """Take the first unit."""
        _, method = heappop(self._heads)
        line = self._by_method[method]
        unit = line.popleft()[1]
        if line:
            heappush(self._heads, (line[0][0], method))

        return unit

    def take_short(self, method: str, may: Callable[[_Unit], bool]) -> list[_Unit]:
        """Take the first units of a method for as long as ``may`` says so."""
        line = self._by_method.get(method, deque())
        taken = []
        while line and may(line[0][1]):
            taken.append(line.popleft()[1])
        if taken:
            self._heads = [head for head in self._heads if head[1] != method] + ([(line[0][0], method)] if line else [])
            heapify(self._heads)

        return taken


@dataclass
class _Durations:
    """Mean seconds of the trials of each cell, from past costs and from this run."""

    seconds: dict[str, float] = field(default_factory=dict)

    def expect(self, trial: Trial) -> float:
        """Expected seconds of a trial; infinite where nothing is known, so that it travels alone."""
        return self.seconds.get(cell_of(trial.question()), float("inf"))

    def learn(self, record: Record) -> None:
        if record.costs is not None:
            cell = cell_of(record.question)
            before = self.seconds.get(cell, record.costs.wall_seconds)
            self.seconds[cell] = 0.5 * (before + record.costs.wall_seconds)


def schedule(
    trials: Sequence[Trial],
    engine: Engine,
    tickets: Iterator[int],
    deliver: Callable[[Sequence[Finished], Returned | None], None],
    tick: Callable[[Sequence[RunningTrial]], None],
    wanted: Callable[[Sequence[Trial]], Sequence[Trial]] | None = None,
    known_seconds: dict[str, float] | None = None,
) -> None:
    """
    Run trials on an engine.

    Args:
        trials: In the order in which they should start.
        engine: Where they run.
        tickets: Numbers that the engine has not met: what it says late, of a chunk of an earlier call, is of no chunk of this one.
        deliver: Called with records as they come, and with the chunk that brought them (``None`` for a record that the scheduler wrote itself).
        tick: Called several times a second with what is in hand.
        wanted: Called before a chunk is sent with its trials; returns those that still need to run (another process may have been faster).
        known_seconds: Mean duration by cell from earlier runs.
    """
    waiting = _Queue()
    behind: list[_Unit] = []  # they start when the artifacts that they wait for stand, so that nobody waits on a lock
    to_build: dict[str, Trial] = {}
    for unit in _units(trials):
        (behind if unit.missing else waiting).append(unit)
        for attempt in unit.attempts:
            if attempt.trial.artifact is not None and attempt.trial.artifact.key in unit.missing:
                to_build.setdefault(attempt.trial.artifact.key, attempt.trial)
    builds = deque((key, _Attempt(trial)) for key, trial in to_build.items())
    alone: deque[_Attempt] = deque()  # what a fault has sent back: without company, so that it harms nobody else
    flying: dict[int, _Chunk] = {}
    durations = _Durations(dict(known_seconds or {}))
    polled = 0.0
    while waiting or alone or builds or flying:
        while len(flying) < engine.slots and (waiting or alone or builds):
            if not waiting and not alone:
                key, build = builds.popleft()
                ticket = next(tickets)
                flying[ticket] = _Chunk([build], builds=key)
                engine.build(ticket, build.trial)
                continue
            attempts = [alone.popleft()] if alone else _next_chunk(waiting, engine.slots, durations)
            if wanted is not None:
                keep = {id(trial) for trial in wanted([attempt.trial for attempt in attempts])}
                attempts = [attempt for attempt in attempts if id(attempt.trial) in keep]
            if attempts:
                ticket = next(tickets)
                flying[ticket] = _Chunk(attempts)
                engine.submit(ticket, [attempt.trial for attempt in attempts])
        for returned in engine.wait(POLL_SECONDS):
            chunk = flying.pop(returned.ticket)
            if chunk.builds:
                final = _after_build(chunk, returned)
                if final is None and returned.fault is not None:
                    builds.append((chunk.builds, chunk.attempts[0]))
                    continue
                lost = [] if final is None else _without(behind, chunk.builds)
                for unit in behind:
                    unit.missing.discard(chunk.builds)
                for unit in behind:
                    if not unit.missing and unit.attempts:
                        waiting.append(unit)
                behind = [unit for unit in behind if unit.missing]
                if final is not None:
                    deliver([Finished(fault_record(trial, *final), None) for trial in lost], None)
                continue
            if returned.fault is None:
                for finished in returned.finished:
                    durations.learn(finished.record)
                deliver(returned.finished, returned)
            else:
                records = _after_fault(chunk, returned, alone)
                if records:
                    deliver([Finished(record, None) for record in records], None)
        if time.monotonic() - polled >= POLL_SECONDS:
            polled = time.monotonic()
            running = [item for item in engine.running() if item.ticket in flying]
            tick([_displayed(item, flying) for item in running])


def _units(trials: Sequence[Trial]) -> list[_Unit]:
    """Put the seeds of a cell that run as one program together, where the first of them stands."""
    units: dict[object, _Unit] = {}
    for position, trial in enumerate(trials):
        together = None if trial.seeds_at_once is None else replace(trial, seed=0, artifact=None)
        identity = position if together is None else canonical_json([together.question(), together.circumstances()])
        unit = units.setdefault(identity, _Unit([], set()))
        unit.attempts.append(_Attempt(trial))
        if trial.artifact is not None and not is_shared_built(trial):
            unit.missing.add(trial.artifact.key)

    return list(units.values())


def _without(behind: Sequence[_Unit], key: str) -> list[Trial]:
    """Take the trials that wait for an artifact out of their units and return them."""
    lost = []
    for unit in behind:
        lost += [attempt.trial for attempt in unit.attempts if attempt.trial.artifact is not None and attempt.trial.artifact.key == key]
        unit.attempts = [attempt for attempt in unit.attempts if attempt.trial.artifact is None or attempt.trial.artifact.key != key]

    return lost


def _next_chunk(waiting: _Queue, slots: int, durations: _Durations) -> list[_Attempt]:
    """Take the next unit, and with a short trial as many short ones of its method as make a worthwhile chunk."""
    unit = waiting.take()
    attempts = list(unit.attempts)
    seconds = durations.expect(attempts[0].trial)
    if attempts[0].trial.seeds_at_once is not None or seconds >= SHORT_SECONDS:
        return attempts
    most = min(CHUNK_TRIALS, 1 + len(waiting) // (slots * CHUNKS_PER_SLOT)) - 1

    def may(following: _Unit) -> bool:
        nonlocal seconds, most
        more = durations.expect(following.attempts[0].trial)
        if most <= 0 or more >= SHORT_SECONDS or seconds + more > CHUNK_SECONDS or following.attempts[0].trial.seeds_at_once is not None:
            return False
        seconds += more
        most -= 1
        return True

    for following in waiting.take_short(unit.method, may):
        attempts += following.attempts

    return attempts


def _after_fault(chunk: _Chunk, returned: Returned, alone: deque[_Attempt]) -> list[Record]:
    """Turn a fault into records where it is final, and send the other trials back."""
    fault = returned.fault
    if fault is None:
        return []
    if is_one_program([attempt.trial for attempt in chunk.attempts]):
        alone.extend(chunk.attempts)  # which of the seeds was it?
        return []
    records = []
    for attempt in chunk.attempts:
        if fault.kind == "lost":
            _bear_loss(attempt, fault)
            alone.append(attempt)
        elif len(chunk.attempts) > 1:
            alone.append(attempt)  # the fault may be a neighbour's
        elif fault.kind == "out_of_memory":
            records.append(fault_record(attempt.trial, "out_of_memory", fault.message))
        elif attempt.faults < RETRIES:
            attempt.faults += 1
            alone.append(attempt)
        else:
            records.append(fault_record(attempt.trial, "crashed", f"{fault.message}; tried {attempt.faults + 1} times"))

    return records


def _bear_loss(attempt: _Attempt, fault: Fault) -> None:
    """
    Count a loss that says nothing about the trial.

    Raises:
        EngineLost: It was one too many.
    """
    attempt.losses += 1
    if attempt.losses > LOSSES:
        raise EngineLost(f"what ran a trial was lost {attempt.losses} times in a row: {fault.message}")


def _after_build(chunk: _Chunk, returned: Returned) -> tuple[Status, str] | None:
    """Return status and cause of the trials behind a build that failed for good; ``None`` for one that succeeded or is to be tried again."""
    (attempt,) = chunk.attempts
    what = f"what these trials share ({attempt.trial.artifact.summary if attempt.trial.artifact is not None else ''}) could not be built"
    fault = returned.fault
    if fault is None:
        if returned.error is None:
            return None
        status, _, cause = returned.error.partition(": ")
        return cast("Status", status), f"{what}: {cause}"
    if fault.kind == "out_of_memory":
        return "out_of_memory", f"{what}: {fault.message}"
    if fault.kind == "lost":
        _bear_loss(attempt, fault)
        return None
    attempt.faults += 1

    return None if attempt.faults <= RETRIES else ("crashed", f"{what}: {fault.message}; tried {attempt.faults} times")


def _displayed(item: Running, flying: dict[int, _Chunk]) -> RunningTrial:
    chunk = flying[item.ticket]

    return RunningTrial(chunk.attempts[item.position].trial, item.seconds, item.step, dict(item.figures), bool(chunk.builds))
