"""Runs what a plan still lacks: data first, then trials, each record committed the moment that it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from harness.artifacts import obtain
from harness.data import fetch
from harness.environment import git_facts
from harness.executors.schedule import schedule
from harness.guard import ForeignError, guarded
from harness.leases import Leases
from harness.plan import lacks_metrics, mean_seconds
from harness.records import cell_of, storable, trial_key
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
LOOK_EVERY_SECONDS = 1.0  # at trials that another driver has in hand
OBSERVER_SECONDS = 300.0  # that a call of an observer may take: at the end of a run it may send all of it

EngineFactory = Callable[[Mapping[str, Any], float, Callable[[str], None]], "Engine"]

UNKNOWN_SECONDS = 1.0  # that a trial is taken to last of which nothing is known: a few of them are short in any case


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
    leases: Leases

    def __post_init__(self) -> None:
        self.elsewhere: dict[str, Trial] = {}  # what another driver has in hand, by key
        self._environments: set[str] = set()
        self._failed_observers: set[str] = set()

    def deliver(self, finished: Sequence[Finished], returned: Returned | None) -> None:
        if returned is not None and finished:
            environment = finished[0].record.environment
            if environment not in self._environments:
                self.store.add_environment(environment, returned.facts)
                self._environments.add(environment)
        finished = [replace(item, record=storable(item.record)) for item in finished]
        self.store.add([(item.record, item.outcome) for item in finished], self.leases.holder)
        for item in finished:
            self.known[item.record.key] = item.record
            self.listener.finished(item.record)
        self.observe(self.hooks.bench_trial_finished, *({"record": item.record} for item in finished))

    def observe(self, hook: pluggy.HookCaller, *facts: Mapping[str, object]) -> None:
        """
        Call the observers with each of some facts; one that fails is named and not called again, and stops neither the run nor the others.

        Each is guarded once for all of them: a guard takes longer than a trial may.
        """
        for observer in hook.get_hookimpls():
            if observer.plugin_name in self._failed_observers:
                continue
            try:
                with guarded(OBSERVER_SECONDS * len(facts)):
                    for each in facts:
                        given = {"suite": self.plan.name, **each}
                        observer.function(*(given[name] for name in observer.argnames))
            except ForeignError as error:
                self._failed_observers.add(observer.plugin_name)
                self.listener.say(f"the observer '{observer.plugin_name}' failed and is not called again: {error}")

    def still_wanted(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Take trials into hand; drop those that another driver has in hand or has finished meanwhile, and take the records of the latter over."""
        keys = {trial_key(trial): trial for trial in trials}
        taken = self.leases.take(keys)  # before the look at the records: what is finished between the two would run again
        done = self.store.known(keys)
        for key, record in done.items():
            self.known[key] = record
            self.listener.finished(record)
        if done:
            self.leases.release(taken & set(done))
        self.elsewhere.update({key: trial for key, trial in keys.items() if key not in taken and key not in done})

        return [trial for key, trial in keys.items() if key in taken and key not in done]

    def wait_elsewhere(self) -> Sequence[Trial]:
        """Wait until another driver has finished a trial or let go of one; return those that are to run here now."""
        while True:
            self.listener.running([])
            time.sleep(LOOK_EVERY_SECONDS)
            trials = list(self.elsewhere.values())
            self.elsewhere.clear()
            free = self.still_wanted(trials)
            if free or not self.elsewhere:
                return free


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

    The engine starts while the data is checked. An interrupt closes the engine after what has come back is committed. A trial that another driver on the
    same store has in hand is left to it, and its record is waited for.

    Args:
        plan: What to run.
        store: Where records go, one commit each time that something comes back.
        hooks: The observers.
        listener: Who watches.
        build_engine: Called with the driver's environment facts, the seconds of computing that are expected and what says a line of news, only if there is
            something to run.

    Raises:
        DataError: A data set cannot be had; no trial has started.
        StoreError: A record cannot be written.
    """
    todo = plan.todo
    delivery = _Delivery(plan, store, hooks, listener, dict(plan.known), Leases(store))
    delivery.observe(hooks.bench_run_started, {"trials": len(plan.planned), "known": len(plan.planned) - len(todo)})
    if plan.to_rescore:
        prepare_data(plan, listener.say)
        _rescore(plan, store, delivery, listener)
    if todo:
        store.add_code(plan.code)
        _forget_outdated(plan, store)
        facts = {
            "git": git_facts(),
            "threads": max(1, int(plan.suite.resources.cpu)),
            "device": "cuda" if plan.suite.resources.gpu else "cpu",
        }
        known_seconds = mean_seconds(plan.known.values())
        engine = build_engine(facts, sum(known_seconds.get(cell_of(item.trial.question()), UNKNOWN_SECONDS) for item in todo), listener.say)
        with delivery.leases:  # given up when the engine has stopped, and nothing that they hold can run any more
            try:
                with ThreadPoolExecutor(1) as background:  # an engine that forks has done so when it is built, before there is a thread
                    data = background.submit(prepare_data, plan, listener.say)
                    engine.open()
                data.result()
                _run([item.trial for item in todo], engine, delivery, known_seconds)
            except KeyboardInterrupt:
                for returned in engine.wait(0):
                    if returned.fault is None:
                        delivery.deliver(returned.finished, returned)
                raise
            finally:
                engine.close()
    records = {item.key: delivery.known[item.key] for item in plan.planned if item.key in delivery.known}
    delivery.observe(hooks.bench_run_finished, {"records": list(records.values())})

    return records


def _forget_outdated(plan: Plan, store: Store) -> None:
    """Delete the records that still lack a metric: another driver may have run their trials again since the plan was made."""
    trials = {item.key: item.trial for item in plan.planned}
    store.forget(record for key, record in store.known(plan.outdated).items() if lacks_metrics(record, trials[key]))


def _run(trials: Sequence[Trial], engine: Engine, delivery: _Delivery, known_seconds: dict[str, float]) -> None:
    """Run trials; those that another driver has in hand are looked at again when all others are done."""
    told = False
    tickets = count(1)
    while trials:
        schedule(trials, engine, tickets, delivery.deliver, delivery.listener.running, delivery.still_wanted, known_seconds)
        if delivery.elsewhere and not told:
            told = True
            delivery.listener.say(
                f"another run on this store took {len(delivery.elsewhere)} of these trials; waiting for the records of those that it still has in hand"
            )
        trials = delivery.wait_elsewhere() if delivery.elsewhere else ()


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
