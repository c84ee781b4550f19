"""Trials in this process, one after the other: for a debugger. Limits of time are not enforced, so that a breakpoint may take its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.environment import environment_id, machine_facts
from harness.executors.engine import Returned, Running
from harness.records import Trial, is_one_program
from harness.seeds_at_once import execute_at_once
from harness.trial import build_shared, execute

__all__ = ["InlineEngine"]


class InlineEngine:
    """
    Runs each chunk when it is submitted.

    Args:
        driver_facts: Environment facts that only the driver knows.
    """

    slots = 1

    def __init__(self, driver_facts: Mapping[str, Any]) -> None:
        self._facts = {**machine_facts(), **driver_facts}
        self._environment = environment_id(self._facts)
        self._returned: list[Returned] = []

    def submit(self, ticket: int, trials: Sequence[Trial]) -> None:
        """Run the chunk now."""
        if is_one_program(trials):
            finished = execute_at_once(trials, environment=self._environment)
        else:
            finished = [execute(trial, environment=self._environment) for trial in trials]
        self._returned.append(Returned(ticket, finished, self._facts))

    def build(self, ticket: int, trial: Trial) -> None:
        """Build what the trial shares with others now."""
        self._returned.append(Returned(ticket, error=build_shared(trial)))

    def wait(self, seconds: float) -> list[Returned]:
        """Return what was submitted since the last call."""
        returned, self._returned = self._returned, []

        return returned

    def running(self) -> list[Running]:
        """Nothing runs between two calls."""
        return []

    def cancel(self, ticket: int) -> None:
        """Nothing runs between two calls, so there is nothing to kill."""

    def close(self) -> None:
        """There is nothing to stop."""
