"""The seeds of one cell as one program in this process, where the method has a function that trains them so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.context import Reporter, Run
from harness.isolation import memory_limit, prepare_imports, process_state
from harness.meter import Meter
from harness.outcomes import pack_outcome
from harness.records import Trial
from harness.specs import load_entry
from harness.trial import Finished, Trained, device_of, finished, judge, load, new_run, shared_folder

__all__ = ["execute_at_once", "train_at_once"]


def execute_at_once(trials: Sequence[Trial]) -> list[Finished]:
    """
    Run the seeds of one cell as one program in this process and return their records.

    Whatever the method's code raises passes through.

    Args:
        trials: Of one cell.
    """
    return [finished(trial, trained, "", judge) for trial, trained in zip(trials, train_at_once(trials), strict=True)]


def train_at_once(trials: Sequence[Trial], report: Reporter | None = None, begin: Callable[[], None] | None = None) -> list[Trained]:
    """
    Train the seeds of one cell as one program (:attr:`harness.specs.Method.seeds_at_once`); seconds are divided among them.

    Whatever the method's code raises passes through.

    Args:
        trials: Of one cell.
        report: As in :func:`harness.trial.train`, for the first seed.
        begin: As in :func:`harness.trial.train`.
    """
    first, n = trials[0], len(trials)
    if first.seeds_at_once is None:
        raise ValueError(f"the method '{first.method.name}' is not asked to train its seeds at once")
    prepare_imports(first)
    loaded = load(first)
    fit_at_once = load_entry(first.seeds_at_once.entry)
    device = device_of(first)
    folders = [shared_folder(trial, loaded, device, report) for trial in trials]
    if begin is not None:
        begin()
    with process_state(first), memory_limit(first, n):
        meter = Meter(device)
        meter.start()
        runs = [new_run(trial, device, report if trial is first else None, folder) for trial, folder in zip(trials, folders, strict=True)]
        data = [loaded.shown(trial, run) for trial, run in zip(trials, runs, strict=True)]
        views = [
            _seen(loaded.protocol, one, new_run(trial, device, None, folder), first)
            for trial, one, folder in zip(trials, data, folders, strict=True)
        ]
        fitted = fit_at_once(loaded.method, views, [run.for_method() for run in runs])
        outcomes = [
            loaded.protocol.confront(_Ready(result), one, run, first.method.privileges)
            for result, one, run in zip(fitted, data, runs, strict=True)
        ]
        costs = [meter.stop(run) for run in runs]

    wall, cpu = costs[-1].wall_seconds / n, costs[-1].cpu_seconds / n

    return [
        Trained(
            pack_outcome(outcome),
            "ok",
            None,
            run.curves,
            run.witnesses,
            replace(cost, wall_seconds=wall, cpu_seconds=cpu, seeds_at_once=n),
        )
        for run, outcome, cost in zip(runs, outcomes, costs, strict=True)
    ]


class _Seen(Exception):
    """What a protocol shows to a method: raised by the method, since with any answer the protocol would go on to judge it."""

    def __init__(self, view: Any) -> None:
        super().__init__("a method's view")
        self.view = view


class _Looking:
    """A method, whatever its verb is called, that only looks."""

    def __getattr__(self, verb: str) -> Callable[[Any, Run], Any]:
        def look(data: Any, run: Run) -> Any:
            raise _Seen(data)

        return look


@dataclass(frozen=True)
class _Ready:
    """A method, whatever its verb is called, whose answer is there already."""

    answer: Any

    def __getattr__(self, verb: str) -> Callable[[Any, Run], Any]:
        return lambda data, run: self.answer


def _seen(protocol: Any, data: Any, run: Run, trial: Trial) -> Any:
    """Return what the protocol shows to a method."""
    try:
        protocol.confront(_Looking(), data, run, trial.method.privileges)
    except _Seen as seen:
        run.artifact = None  # the view may hold this run
        return seen.view
    raise TypeError(f"the protocol of '{trial.task.name}' asks its method nothing: seeds cannot be trained at once")
