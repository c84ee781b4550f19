"""From a suite to the trials that it consists of, less those whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.artifacts import contents_of
from harness.parameters import make_measure, make_part
from harness.records import (
    Record,
    Resources,
    SeedsAtOnce,
    Trial,
    artifact_of,
    cell_of,
    seed_names,
)
from harness.suite import Configuration
from harness.trust import code_changes

if TYPE_CHECKING:
    from harness.fingerprint import CodeIndex
    from harness.parameters import ParameterMemo
    from harness.registry import Registry
    from harness.specs import Dataset, Method, Metric, Task
    from harness.store import RecordState, Store
    from harness.suite import Column, Row, Suite

__all__ = [
    "KnownRecords",
    "Plan",
    "Planned",
    "carriers",
    "changed_parts",
    "lacks_metrics",
    "make_plan",
    "mean_seconds",
    "plan_tuning",
    "trial_of",
]


@dataclass(frozen=True, slots=True)
class Planned:
    """A trial, where it stands in the leaderboard, and what it is known by."""

    dataset: str
    method: str
    trial: Trial
    key: str
    name: str


@dataclass(frozen=True)
class Plan:
    """
    What a suite asks, and what is known of it.

    Args:
        suite: The suite.
        planned: All its trials, seed by seed, so that every cell has a first figure early.
        known: Records by the key of the planned trial that they answer.
        stale: Names of trials that have a record under other code or data, and none under today's.
        to_rescore: Trials whose outcome is kept and whose record lacks a metric, or has it by other code than today's.
        outdated: Keys of sound records that lack a metric and have no outcome; their trials are to run again.
        code: What each code hash stands for.
        tuning: For a suite that was tuned, the plan of its tuning; its ``known`` are the records that the configurations were chosen by.
    """

    suite: Suite
    planned: tuple[Planned, ...]
    known: Mapping[str, Record]
    stale: frozenset[str] = frozenset()
    to_rescore: tuple[Planned, ...] = ()
    outdated: tuple[str, ...] = ()
    code: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tuning: Plan | None = None

    @property
    def everything(self) -> tuple[Planned, ...]:
        """The trials of the tuning, then those of the leaderboard."""
        return (*(self.tuning.planned if self.tuning is not None else ()), *self.planned)

    @property
    def name(self) -> str:
        """What the plan is called where its trials are shown: the suite's name, and ``NAME/tuning`` for the trials of tuning."""
        tuning = bool(self.planned) and self.planned[0].trial.scored_on == "validation"

        return f"{self.suite.name}/tuning" if tuning else self.suite.name

    def exported(self, records: Mapping[str, Record]) -> dict[str, Record]:
        """Return what an export of the suite holds by key: the records of its tuning, then those of the leaderboard."""
        return {**(self.tuning.known if self.tuning is not None else {}), **records}

    @property
    def shared(self) -> list[Trial]:
        """For each artifact that trials of the plan share, the first of them."""
        return list({item.trial.artifact.key: item.trial for item in self.planned[::-1] if item.trial.artifact is not None}.values())[::-1]

    @property
    def todo(self) -> list[Planned]:
        """The trials without a record."""
        return [planned for planned in self.planned if planned.key not in self.known]


class KnownRecords(Mapping[str, Record]):
    """
    The records by the key of the planned trial that they answer, read from the store when the first of them is asked for.

    Whether there is one, and how many, is known without reading them: a plan of a few hundred thousand trials needs no more.

    Args:
        keys: Of the records in the store.
        read: Reads the records of keys that have one.
        given: Those that are not in the store under the key.
    """

    def __init__(self, keys: Iterable[str], read: Callable[[Iterable[str]], dict[str, Record]], given: Mapping[str, Record]) -> None:
        self._keys = frozenset(keys).union(given)
        self._read = read
        self._given = given
        self._records: dict[str, Record] | None = None

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __getitem__(self, key: str) -> Record:
        return self._all()[key]

    def _all(self) -> dict[str, Record]:
        if self._records is None:
            self._records = {**self._read(key for key in self._keys if key not in self._given), **self._given}
            self._keys = frozenset(self._records)  # another process may have deleted some meanwhile

        return self._records


Exported = Callable[[], Sequence[Record]]


def _nothing() -> Sequence[Record]:
    return ()


def make_plan(
    suite: Suite,
    code: CodeIndex,
    store: Store | None,
    paths: Iterable[str] = (),
    exported: Exported = _nothing,
    *,
    trust_cache: bool = False,
) -> Plan:
    """
    Expand a suite and look up what is known.

    Args:
        suite: The suite.
        code: Hashes the code of entries.
        store: Where records are; ``None`` for none.
        paths: Folders of local plugins, for the workers.
        exported: Gives the records that a repository carries; asked where the store lacks some.
        trust_cache: Accept the newest sound record of a trial even if code or data have changed since.

    Raises:
        ValueError: The suite is to be tuned first.
    """
    if suite.tuning is not None and not suite.chosen:
        raise ValueError(f"the suite '{suite.name}' is to be tuned before its trials are known (harness.tuning)")
    common = _common(suite, suite.metrics, code, paths)
    cells = []
    for column in suite.datasets:
        for row in suite.methods:
            chosen = suite.chosen.get((column.label, row.label)) or Configuration({}, column.task, row.method)
            at_once = _seeds_at_once(row.spec, code) if suite.seeds_at_once else None
            trial = replace(common, task=chosen.task, dataset=column.dataset, method=chosen.method, seeds_at_once=at_once)
            cells.append(_Seeds(suite.task, column, row, trial, code))
    planned = [cell.planned(seed) for seed in suite.seeds for cell in cells]

    return _looked_up(suite, planned, code, store, exported, trust_cache)


def plan_tuning(
    suite: Suite,
    code: CodeIndex,
    store: Store | None,
    paths: Iterable[str] = (),
    exported: Exported = _nothing,
    *,
    trust_cache: bool = False,
) -> Plan:
    """
    Plan the trials by which a suite with ``tuning`` chooses its configurations; arguments as of :func:`make_plan`.

    They compute the main metric alone. A cell with nothing to tune has no trial.
    """
    if suite.tuning is None:
        raise ValueError(f"the suite '{suite.name}' has no 'tuning'")
    common = replace(_common(suite, suite.metrics[:1], code, paths), scored_on="validation")
    planned = []
    for position in range(suite.tuning.configs):
        for seed in suite.tuning.seeds:
            for column in suite.datasets:
                for row in suite.methods:
                    candidates = suite.tuning.candidates[column.label, row.label]
                    if position < len(candidates) > 1:
                        chosen = candidates[position]
                        trial = replace(common, task=chosen.task, dataset=column.dataset, method=chosen.method)
                        planned.append(_Seeds(suite.task, column, row, trial, code).planned(seed))

    return _looked_up(replace(suite, metrics=suite.metrics[:1]), planned, code, store, exported, trust_cache)


def _common(suite: Suite, metrics: Iterable[Metric], code: CodeIndex, paths: Iterable[str]) -> Trial:
    """Return a trial with all that the trials of a suite share."""
    return Trial(
        task=suite.datasets[0].task,
        dataset=suite.datasets[0].dataset,
        method=suite.methods[0].method,
        budget=suite.budget,
        seed=0,
        metrics=tuple(make_measure(metric, code) for metric in metrics),
        limits=suite.limits,
        resources=suite.resources,
        paths=tuple(paths),
    )


def _seeds_at_once(method: Method, code: CodeIndex) -> SeedsAtOnce | None:
    return SeedsAtOnce(method.seeds_at_once, code.code_hash(method.seeds_at_once)) if method.seeds_at_once else None


class _Seeds:
    """The trials of a cell: what they have in common is worked out and kept once."""

    def __init__(self, task: Task, column: Column, row: Row, trial: Trial, code: CodeIndex) -> None:
        self._task = task
        self._labels = (column.label, row.label)
        self._trial = replace(_with_unread(trial, code), guarded=carriers(column.spec), blind=task.blind)
        self._names = seed_names(self._trial)

    def planned(self, seed: int) -> Planned:
        """Return the trial with one of the seeds."""
        names = self._names(seed)

        return Planned(*self._labels, _with_artifact(self._task, replace(self._trial, seed=seed)), names.key, names.name)


def carriers(dataset: Dataset) -> tuple[str, ...]:
    """Name the installed packages that carry raw data of a data set."""
    return tuple(sorted({source.name for raw in dataset.raw for source in raw.sources if source.kind == "package"}))


def _with_unread(trial: Trial, code: CodeIndex) -> Trial:
    """Note which parameters at their defaults no code of the trial can read: one that is added changes no key until something reads it."""
    parts = (trial.task, trial.dataset, trial.method)
    entries = [part.entry for part in parts] + ([trial.seeds_at_once.entry] if trial.seeds_at_once is not None else [])
    task, dataset, method = (replace(part, unread=code.unread(entries, part.at_default)) for part in parts)

    return replace(trial, task=task, dataset=dataset, method=method)


def _with_artifact(task: Task, trial: Trial) -> Trial:
    return replace(trial, artifact=artifact_of(trial, task.artifact, task.artifact_parameters)) if task.artifact else trial


def _looked_up(
    suite: Suite, planned: Sequence[Planned], code: CodeIndex, store: Store | None, exported: Exported, trust_cache: bool
) -> Plan:
    """Look up what is known of the planned trials."""
    states = {} if store is None else store.states(item.key for item in planned)
    given: dict[str, Record] = {}  # what is known otherwise than by a record of the store under the very key
    stale: set[str] = set()
    unknown = {item.name: item.key for item in planned if item.key not in states}
    if unknown:
        carried = [record for record in exported() if record.trial in unknown]
        given.update({record.key: record for record in carried if record.key == unknown[record.trial]})
        unknown = {name: key for name, key in unknown.items() if key not in given}
        older = [record for record in carried if record.trial in unknown] + (store.of_trials(unknown) if store is not None else [])
        for record in sorted(older, key=lambda record: record.started):
            stale.add(record.trial)
            if trust_cache and record.status == "ok":
                given[unknown[record.trial]] = record

    found: dict[str, Record | RecordState] = {**states, **given}
    lacking = [item for item in planned if item.key in found and lacks_metrics(found[item.key], item.trial)]
    of_key = {item.key: given[item.key].key if item.key in given else item.key for item in lacking}
    kept = store.outcomes_kept(of_key.values()) if store is not None else set()
    # A record that failed before its metrics were computed has no outcome and no figures to miss.
    outdated = tuple(item.key for item in lacking if of_key[item.key] not in kept and found[item.key].status == "ok")
    to_rescore = tuple(item for item in lacking if of_key[item.key] in kept)
    for key in outdated:
        states.pop(key, None)
        given.pop(key, None)
    known: Mapping[str, Record] = given if store is None else KnownRecords(states, store.known, given)
    parts = [(item.trial.task, item.trial.dataset, item.trial.method, item.trial.seeds_at_once) for item in planned]
    entries = {part.entry: part.code for trial_parts in parts for part in trial_parts if part is not None}

    return Plan(
        suite=suite,
        planned=tuple(planned),
        known=known,
        stale=frozenset(stale if not trust_cache else ()),
        to_rescore=to_rescore,
        outdated=outdated,
        code={value: code.closure(entry).parts for entry, value in entries.items()},
    )


def lacks_metrics(record: Record | RecordState, trial: Trial) -> bool:
    """Whether a record has not all metrics of its trial by today's code."""
    return any(record.metric_code.get(measure.name) != measure.code for measure in trial.metrics)


def trial_of(
    record: Record,
    registry: Registry,
    code: CodeIndex,
    memo: ParameterMemo,
    metrics: Iterable[str] = (),
    resources: Resources | None = None,
) -> Trial:
    """
    Rebuild the trial that a record answers, with today's code, defaults and data and the limits of a suite that names none.

    Args:
        record: Holds the question.
        registry: Knows the entries of its task, data set, method and metrics.
        code: Hashes their code.
        memo: Knows their defaults.
        metrics: Names of those to compute.
        resources: What to reserve.

    Raises:
        PluginError: No plugin provides one of them any more.
        ParameterError: One of them no longer has a parameter that the question names.
    """
    question = record.question
    task = registry.task(question["task"]["name"])
    dataset = registry.dataset(task.name, question["dataset"]["name"])
    method = registry.method(task.name, question["method"]["name"])
    measured = [registry.metric(task.name, name) for name in metrics]

    trial = Trial(
        task=make_part(task, question["task"]["parameters"], code, memo),
        dataset=make_part(dataset, question["dataset"]["parameters"], code, memo, content="+".join(contents_of(dataset))),
        method=make_part(method, question["method"]["parameters"], code, memo, method.privileges),
        budget=question["budget"],
        seed=question["seed"],
        metrics=tuple(make_measure(metric, code) for metric in measured),
        resources=resources or Resources(),
        paths=tuple(registry.paths),
        guarded=carriers(dataset),
        blind=task.blind,
        scored_on=question.get("scored_on", "test"),
        seeds_at_once=_seeds_at_once(method, code) if "seeds_at_once" in record.circumstances else None,
    )

    return _with_artifact(task, _with_unread(trial, code))


def mean_seconds(records: Iterable[Record]) -> dict[str, float]:
    """Return the mean wall time of the records by cell (:func:`harness.records.cell_of`)."""
    seconds: dict[str, list[float]] = {}
    for record in records:
        if record.costs is not None:
            seconds.setdefault(cell_of(record.question), []).append(record.costs.wall_seconds)

    return {cell: sum(values) / len(values) for cell, values in seconds.items()}


def changed_parts(old: Record, trial: Trial, store: Store | None, code: CodeIndex) -> list[str]:
    """Say in one line each what differs between the circumstances of a record and of the trial today; empty if nothing does."""
    parts = {"task": trial.task, "dataset": trial.dataset, "method": trial.method}
    today = {part.code: part.entry for part in parts.values()}

    def modules_of(code_hash: str) -> Mapping[str, str] | None:
        if code_hash in today:
            return code.closure(today[code_hash]).parts
        return None if store is None else store.code_modules(code_hash)

    now = trial.circumstances()
    changes = code_changes(old.question, old.circumstances, now, modules_of)
    lines = [f"{change.kind} '{parts[change.kind].name}': {text}" for change in changes for text in change.texts]
    if old.circumstances.get("dataset_content") != now["dataset_content"]:
        lines.append(f"dataset '{trial.dataset.name}': the bytes of its raw data changed")

    return lines
