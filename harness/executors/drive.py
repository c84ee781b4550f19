"""Runs what a plan still lacks: data first, then trials, each record committed the moment that it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.artifacts import obtain
from harness.data import fetch
from harness.environment import git_facts
from harness.executors.schedule import schedule
from harness.guard import ForeignError, guarded
from harness.plan import mean_seconds
from harness.records import trial_key
from harness.specs import Artifact
from harness.trial import Finished, RunningTrial, rescore

if TYPE_CHECKING:
    import pluggy

    from harness.executors.engine import Engine, Returned
    from harness.plan import Plan
    from harness.records import Record, Trial
    from harness.specs import Dataset
    from harness.store import Store

__all__ = ["Listener", "execute_plan", "obtain_parts", "prepare_data"]

SAY_EVERY_SECONDS = 5
OBSERVER_SECONDS = 300.0  # that one call of an observer may take: at the end of a run it may send all of it

EngineFactory = Callable[[Mapping[str, Any]], "Engine"]


class Listener(Protocol):
    """Who watches a run: a progress display, a list of records."""

    def say(self, line: str) -> None:
        """One line of news."""

    def finished(self, record: Record) -> None:
        """A record was committed."""

    def running(self, trials: Sequence[RunningTrial]) -> None:
        """What is in hand now; called several times a second."""


@dataclass
class _Delivery:
    """Commits what comes back and tells those who watch."""

    plan: Plan
    store: Store
    hooks: pluggy.HookRelay
    listener: Listener
    known: dict[str, Record]

    def __post_init__(self) -> None:
        self._environments: set[str] = set()
        self._failed_observers: set[str] = set()

    def deliver(self, finished: Sequence[Finished], returned: Returned | None) -> None:
        if returned is not None and finished:
            environment = finished[0].record.environment
            if environment not in self._environments:
                self.store.add_environment(environment, returned.facts)
                self._environments.add(environment)
        self.store.add([(item.record, item.outcome) for item in finished])
        for item in finished:
            self.known[item.record.key] = item.record
            self.listener.finished(item.record)
            self.observe(self.hooks.bench_trial_finished, record=item.record)

    def observe(self, hook: pluggy.HookCaller, **facts: object) -> None:
        """Call the observers; one that fails is named and not called again, and stops neither the run nor the others."""
        given = {"suite": self.plan.name, **facts}
        for observer in hook.get_hookimpls():
            if observer.plugin_name in self._failed_observers:
                continue
            try:
                with guarded(OBSERVER_SECONDS):
                    observer.function(*(given[name] for name in observer.argnames))
            except ForeignError as error:
                self._failed_observers.add(observer.plugin_name)
                self.listener.say(f"the observer '{observer.plugin_name}' failed and is not called again: {error}")

    def still_wanted(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Drop trials that another process has finished meanwhile, and take their records over."""
        keys = {trial_key(trial): trial for trial in trials}
        for key, record in self.store.known(keys).items():
            self.known[key] = record
            self.listener.finished(record)
            del keys[key]

        return list(keys.values())


class _Steps:
    """Says every few seconds how far a download is."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._said_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= SAY_EVERY_SECONDS:
            self._said_at = now
            self._say(f"{self._name}: {done / 1e6:.0f}{f' of {total / 1e6:.0f}' if total else ''} MB")


def prepare_data(plan: Plan, say: Callable[[str], None]) -> None:
    """
    Fetch and verify the raw data of the trials that are still to run, and build their artifacts.

    Raises:
        DataError: A data set cannot be had.
    """
    needed = {item.trial.dataset.name for item in [*plan.todo, *plan.to_rescore]}
    obtain_parts([column.spec for column in plan.suite.datasets if column.dataset.name in needed], say)


def obtain_parts(specs: Sequence[Dataset], say: Callable[[str], None]) -> None:
    """
    Fetch and verify the raw data of data sets, and build their artifacts.

    Raises:
        DataError: Some cannot be had.
    """
    for raw in {raw.name: raw for spec in specs for raw in spec.raw}.values():
        fetch(raw, say, _Steps(raw.name, say))
    for artifact in {part.name: part for spec in specs for part in spec.parts if isinstance(part, Artifact)}.values():
        obtain(artifact, None, say, _Steps(artifact.name, say))


def execute_plan(plan: Plan, store: Store, hooks: pluggy.HookRelay, listener: Listener, build_engine: EngineFactory) -> dict[str, Record]:
    """
    Run the trials that a plan lacks and return all its records by key.

    The engine starts while the data is checked. An interrupt closes the engine after what has come back is committed.

    Args:
        plan: What to run.
        store: Where records go, one commit each time that something comes back.
        hooks: The observers.
        listener: Who watches.
        build_engine: Called with the driver's environment facts, only if there is something to run.

    Raises:
        DataError: A data set cannot be had; no trial has started.
        StoreError: A record cannot be written.
    """
    todo = plan.todo
    delivery = _Delivery(plan, store, hooks, listener, dict(plan.known))
    delivery.observe(hooks.bench_run_started, trials=len(plan.planned), known=len(plan.planned) - len(todo))
    if plan.to_rescore:
        prepare_data(plan, listener.say)
        _rescore(plan, store, delivery, listener)
    if todo:
        store.add_code(plan.code)
        store.forget(plan.outdated)
        facts = {
            "git": git_facts(),
            "threads": max(1, int(plan.suite.resources.cpu)),
            "device": "cuda" if plan.suite.resources.gpu else "cpu",
        }
        with ThreadPoolExecutor(1) as background:
            data = background.submit(prepare_data, plan, listener.say)
            engine = build_engine(facts)
        try:
            data.result()
            schedule(
                [item.trial for item in todo],
                engine,
                delivery.deliver,
                listener.running,
                delivery.still_wanted,
                mean_seconds(plan.known.values()),
            )
        except KeyboardInterrupt:
            for returned in engine.wait(0):
                if returned.fault is None:
                    delivery.deliver(returned.finished, returned)
            raise
        finally:
            engine.close()
    records = {item.key: delivery.known[item.key] for item in plan.planned if item.key in delivery.known}
    delivery.observe(hooks.bench_run_finished, records=list(records.values()))

    return records


def _rescore(plan: Plan, store: Store, delivery: _Delivery, listener: Listener) -> None:
    """Compute metrics that records lack from their kept outcomes; a metric that fails leaves its figure missing, with the cause in the record."""
    listener.say(f"computing new or changed metrics of {len(plan.to_rescore)} known trials")
    for item in plan.to_rescore:
        record = plan.known[item.key]
        packed = store.outcome(record.key)
        if packed is None:
            continue  # another process has just deleted it
        scored = rescore(item.trial, record, packed)
        store.replace(scored)
        delivery.known[item.key] = scored
        if scored.status != "ok":
            cause = (scored.error or "").rstrip().splitlines()
            listener.say(f"{scored.status}: {item.method} on {item.dataset}, seed {item.trial.seed}: {cause[-1] if cause else ''}")
