"""
The scheduling that every engine shares: chunks, back-pressure, limits of time, retries.

At most ``engine.slots`` chunks are in flight, so a queue of any length costs the driver no more than its list. Trials that are expected to be short
travel together, because a round trip to a worker costs a millisecond or two; so do seeds that run as one program.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.artifacts import is_shared_built
from harness.executors.engine import Engine, Returned, Running
from harness.records import Record, Status, Trial, canonical_json, cell_of, is_one_program
from harness.trial import Finished, RunningTrial, fault_record

__all__ = ["RETRIES", "schedule"]

RETRIES = 2  # of infrastructure faults; a method's own exceptions are final
SHORT_SECONDS = 0.2  # trials expected to be shorter go in chunks
CHUNK_SECONDS = 0.5  # what a chunk is filled up to: long enough to hide the round trip, short enough to lose little
CHUNK_TRIALS = 200
CHUNKS_PER_SLOT = 2  # chunks that each slot should still get, so that the last one does not keep a single worker busy
POLL_SECONDS = 0.2
LOADING_SECONDS = 600.0  # for the import of a trial's code, which its own limit does not count


@dataclass
class _Attempt:
    trial: Trial
    faults: int = 0


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


@dataclass
class _Chunk:
    """Trials that travel together; or one trial, whose shared artifact ``builds`` is to be built."""

    attempts: list[_Attempt]
    timed_out: int | None = None
    timeout: str = ""
    builds: str = ""


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
        deliver: Called with records as they come, and with the chunk that brought them (``None`` for a record that the scheduler wrote itself).
        tick: Called several times a second with what is in hand.
        wanted: Called before a chunk is sent with its trials; returns those that still need to run (another process may have been faster).
        known_seconds: Mean duration by cell from earlier runs.
    """
    waiting: deque[_Unit] = deque()
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
    ticket = 0
    polled = 0.0
    while waiting or alone or builds or flying:
        while len(flying) < engine.slots and (waiting or alone or builds):
            if not waiting and not alone:
                key, build = builds.popleft()
                ticket += 1
                flying[ticket] = _Chunk([build], builds=key)
                engine.build(ticket, build.trial)
                continue
            attempts = [alone.popleft()] if alone else _next_chunk(waiting, engine.slots, durations)
            if wanted is not None:
                keep = {id(trial) for trial in wanted([attempt.trial for attempt in attempts])}
                attempts = [attempt for attempt in attempts if id(attempt.trial) in keep]
            if attempts:
                ticket += 1
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
                waiting.extend(unit for unit in behind if not unit.missing and unit.attempts)
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
            _enforce_time(running, flying, engine)
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


def _next_chunk(waiting: deque[_Unit], slots: int, durations: _Durations) -> list[_Attempt]:
    """Take the next unit, and with a short trial as many of its short neighbours as make a worthwhile chunk."""
    attempts = list(waiting.popleft().attempts)
    if attempts[0].trial.seeds_at_once is not None:
        return attempts
    seconds = durations.expect(attempts[0].trial)
    if seconds >= SHORT_SECONDS:
        return attempts
    most = min(CHUNK_TRIALS, 1 + len(waiting) // (slots * CHUNKS_PER_SLOT))
    while waiting and len(attempts) < most and waiting[0].attempts[0].trial.seeds_at_once is None:
        following = durations.expect(waiting[0].attempts[0].trial)
        if following >= SHORT_SECONDS or seconds + following > CHUNK_SECONDS:
            break
        seconds += following
        attempts += waiting.popleft().attempts

    return attempts


def _enforce_time(running: Sequence[Running], flying: dict[int, _Chunk], engine: Engine) -> None:
    for item in running:
        chunk = flying[item.ticket]
        trials = [attempt.trial for attempt in chunk.attempts]
        limit = LOADING_SECONDS if item.loading else trials[item.index].limits.seconds * (len(trials) if is_one_program(trials) else 1)
        if chunk.timed_out is None and item.seconds > limit:
            chunk.timed_out = item.index
            what = "import of its code" if item.loading else "build" if chunk.builds else "trial"
            chunk.timeout = f"the {what} took longer than its limit of {limit:g} s"
            engine.cancel(item.ticket)


def _after_fault(chunk: _Chunk, returned: Returned, alone: deque[_Attempt]) -> list[Record]:
    """Turn a fault into records where it is final, and send the other trials back."""
    fault = returned.fault
    if fault is None:
        return []
    if is_one_program([attempt.trial for attempt in chunk.attempts]):
        alone.extend(chunk.attempts)  # which of the seeds was it?
        return []
    records = []
    for index, attempt in enumerate(chunk.attempts):
        if index == chunk.timed_out:
            records.append(fault_record(attempt.trial, "timeout", chunk.timeout))
        elif chunk.timed_out is not None or len(chunk.attempts) > 1:
            alone.append(attempt)  # the fault may be a neighbour's
        elif fault.kind == "out_of_memory":
            records.append(fault_record(attempt.trial, "out_of_memory", fault.message))
        elif fault.kind == "error":
            records.append(fault_record(attempt.trial, "failed", fault.message))
        elif attempt.faults < RETRIES:
            attempt.faults += 1
            alone.append(attempt)
        else:
            records.append(fault_record(attempt.trial, "crashed", f"{fault.message}; tried {attempt.faults + 1} times"))

    return records


def _after_build(chunk: _Chunk, returned: Returned) -> tuple[Status, str] | None:
    """Return status and cause of the trials behind a build that failed for good; ``None`` for one that succeeded or is to be tried again."""
    (attempt,) = chunk.attempts
    what = f"what these trials share ({attempt.trial.artifact.summary if attempt.trial.artifact is not None else ''}) could not be built"
    fault = returned.fault
    if fault is None:
        return None if returned.error is None else ("failed", f"{what}\n{returned.error}")
    if chunk.timed_out is not None:
        return "timeout", f"{what}: {chunk.timeout}"
    if fault.kind in ("out_of_memory", "error"):
        return "out_of_memory" if fault.kind == "out_of_memory" else "failed", f"{what}: {fault.message}"
    attempt.faults += 1

    return None if attempt.faults <= RETRIES else ("crashed", f"{what}: {fault.message}; tried {attempt.faults} times")


def _displayed(item: Running, flying: dict[int, _Chunk]) -> RunningTrial:
    chunk = flying[item.ticket]

    return RunningTrial(chunk.attempts[item.index].trial, item.seconds, item.step, dict(item.figures), bool(chunk.builds))
