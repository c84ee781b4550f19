"""What the scheduler needs of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from harness.errors import BenchError
from harness.records import Trial
from harness.trial import Finished

__all__ = ["Engine", "EngineLost", "Fault", "Returned", "Running"]


class EngineLost(BenchError):
    """The engine itself is gone; what it had in hand has no record, and the same command goes on."""

    exit_code = 1

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}\n    what was finished before is stored; the same command goes on from there")


@dataclass(frozen=True)
class Fault:
    """
    Why a chunk of trials brought no records.

    Args:
        kind: ``died`` (what started the trial is gone, perhaps by its doing), ``lost`` (a node is gone or cannot start a trial, which says nothing about
            this one), ``out_of_memory`` (the engine killed it).
        message: For the record.
    """

    kind: Literal["died", "lost", "out_of_memory"]
    message: str


@dataclass(frozen=True)
class Returned:
    """
    What came back of a chunk or of a build.

    Args:
        ticket: Of the chunk or the build.
        finished: The records of a chunk.
        facts: The environment that they were made in.
        error: Of a build that failed: a status, and the traceback or cause behind it.
        fault: Why nothing came back.
    """

    ticket: int
    finished: Sequence[Finished] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    fault: Fault | None = None


class Running(NamedTuple):
    """
    A trial that a worker has in hand.

    Args:
        ticket: Of its chunk.
        position: In the chunk.
        loading: Whether its code is still being imported; the clock of its limit starts afterwards.
        seconds: Since it began, or since the import began.
        step: The newest that its method logged, or ``None``.
        figures: Logged at that step.
    """

    ticket: int
    position: int
    loading: bool
    seconds: float
    step: int | None
    figures: Mapping[str, float]


class Engine(Protocol):
    """Runs chunks of trials; a chunk is known by its ticket."""

    def open(self) -> None:
        """Start what it consists of; called once, before all else."""

    @property
    def slots(self) -> int:
        """How many chunks can run at once."""

    def submit(self, ticket: int, trials: Sequence[Trial]) -> None:
        """Start a chunk; returns at once where the engine has workers of its own."""

    def build(self, ticket: int, trial: Trial) -> None:
        """Start to build what the trial shares with others; as :meth:`submit`."""

    def wait(self, seconds: float) -> list[Returned]:
        """Return what has come back, waiting at most so long for the first."""

    def running(self) -> list[Running]:
        """Return what is in hand now."""

    def close(self) -> None:
        """Stop; what is in flight is lost."""
