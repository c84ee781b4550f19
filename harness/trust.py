"""What two records of one trial have in common, why they differ, and what two sets of records say of each other: pure functions."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from harness.environment import HARDWARE
from harness.records import Record, canonical_json, changed_defaults, digest, seeds_at_once_change

__all__ = [
    "SEEDS_AT_ONCE_TOLERANCE",
    "CellChange",
    "Difference",
    "MetricChange",
    "Pair",
    "PartChange",
    "Reason",
    "SetComparison",
    "Side",
    "Threshold",
    "code_changes",
    "compare_records",
    "compare_sets",
    "explain",
    "figures_that_differ",
    "is_consistent",
    "why_disjoint",
]

Kind = Literal["code", "data", "environment", "hardware", "harness"]
ModulesOf = Callable[[str], "Mapping[str, str] | None"]

NOTHING = "nothing"  # what a record moved by where nothing that is recorded changed

RELATIVE = 1e-9  # figures of a leaderboard that are closer are equal: versions of numpy and scipy add up in different orders
ABSOLUTE = 1e-12
SEEDS_AT_ONCE_TOLERANCE = (
    2e-3  # between a trial alone and as one of several seeds at once: sums are rounded in another order, and a prediction may tip over
)


@dataclass(frozen=True)
class Difference:
    """
    What differs between two records of one trial.

    Args:
        status: Of both, where they differ.
        metrics: Both figures of each metric that differs.
        curves: Names of the curves that differ.
        witnesses: Names of what was consumed differently.
        largest: Largest absolute difference of a figure, points of curves included; ``None`` where no two figures differ.
    """

    status: tuple[str, str] | None = None
    metrics: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    curves: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    largest: float | None = None

    @property
    def is_none(self) -> bool:
        """Whether the records agree in all that must be equal when a trial runs again."""
        return self.status is None and not self.metrics and not self.curves and not self.witnesses

    def lines(self) -> list[str]:
        """Say what differs, one thing a line."""
        lines = [] if self.status is None else [f"status: {self.status[0]} -> {self.status[1]}"]
        lines += [f"{name}: {_spelled(before)} -> {_spelled(after)}" for name, (before, after) in self.metrics.items()]
        lines += [f"the curve {name} differs" for name in self.curves]
        lines += [f"what was consumed differs: {name}" for name in self.witnesses]
        if self.largest is not None:
            lines.append(f"largest difference of a figure: {self.largest:.3g}")

        return lines


@dataclass(frozen=True)
class Reason:
    """Something that changed between two records and may be why they differ."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class PartChange:
    """What changed of a trial's task, data set or method (``kind``) that decides its answer, one thing a text."""

    kind: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """
    One of two sets of records.

    Args:
        label: What the user called it.
        records: One a trial, by the trial's name.
        environments: Facts by identifier.
        modules_of: Gives what a code hash stands for, or ``None``.
    """

    label: str
    records: Mapping[str, Record]
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    modules_of: ModulesOf = lambda code: None

    def facts(self, record: Record) -> Mapping[str, Any]:
        """Return the facts of a record's environment; empty where they are unknown."""
        return self.environments.get(record.environment, {})


@dataclass(frozen=True)
class Pair:
    """The two records of one trial, what differs, and what else changed; without a reason, nothing that is recorded did."""

    before: Record
    after: Record
    difference: Difference
    reasons: tuple[Reason, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of reasons, or ``nothing``."""
        return tuple(dict.fromkeys(reason.kind for reason in self.reasons)) or (NOTHING,)


@dataclass(frozen=True)
class MetricChange:
    """
    How one metric of a cell moved.

    Args:
        n: Trials with a figure on both sides.
        mean: Mean of the paired differences, B less A; ``None`` without any.
        largest: Largest absolute difference; ``None`` without any.
        lost: Trials with a figure in A alone.
        gained: Trials with a figure in B alone.
    """

    n: int
    mean: float | None
    largest: float | None
    lost: int
    gained: int


@dataclass(frozen=True)
class CellChange:
    """
    How a method on a data set moved.

    Args:
        dataset: Name, with the parameters, budget and settings in which the cells of this data set differ.
        method: Likewise.
        pairs: Trials on both sides.
        moved: Those whose records differ.
        metrics: By name, those that both sides know.
        kinds: How many of the trials that moved have each kind of reason.
    """

    dataset: str
    method: str
    pairs: int
    moved: int
    metrics: Mapping[str, MetricChange]
    kinds: Mapping[str, int]


@dataclass(frozen=True)
class SetComparison:
    """
    Two sets of records, trial by trial.

    Args:
        pairs: Trials on both sides.
        only_before: Names of trials in A alone.
        only_after: Names of trials in B alone.
        cells: By data set and method.
    """

    pairs: tuple[Pair, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    cells: tuple[CellChange, ...]

    @property
    def moved(self) -> list[Pair]:
        """The pairs whose records differ."""
        return [pair for pair in self.pairs if not pair.difference.is_none]


@dataclass(frozen=True)
class Threshold:
    """How far the mean of a metric may move in a cell; the sign says in which direction."""

    metric: str
    limit: float

    def is_exceeded(self, cell: CellChange) -> bool:
        """Whether the mean moved by the limit or further; a figure that B has lost counts as such, since no mean shows it."""
        change = cell.metrics.get(self.metric)
        if change is None:
            return False
        if change.lost:
            return True
        if change.mean is None:
            return False
        sign = math.copysign(1.0, self.limit)

        return sign * change.mean >= abs(self.limit) - ABSOLUTE  # a difference of 0.70 and 0.71 is not quite 0.01


def compare_records(before: Record, after: Record, metrics: Collection[str] | None = None, tolerance: float = 0.0) -> Difference:
    """
    Compare what must be equal when the same trial runs again: status, metrics, curves and witnesses, not costs, times or tracebacks.

    Args:
        before: A record.
        after: Another of the same trial.
        metrics: Names of the metrics to compare, where one that a record lacks is a missing figure; by default those that both records have.
        tolerance: Two figures are equal if they differ by no more than this share of the larger, or of 1.
    """
    names = [name for name in before.metrics if name in after.metrics] if metrics is None else metrics
    figures = {name: (before.metrics.get(name), after.metrics.get(name)) for name in names}
    moved = {name: values for name, values in figures.items() if not _is_equal(*values, tolerance)}
    curves = [
        name for name in _names(before.curves, after.curves) if not _are_equal(_points(before, name), _points(after, name), tolerance)
    ]
    gaps = [abs(one - other) for one, other in moved.values() if one is not None and other is not None]
    for name in curves:
        gaps += [abs(one[1] - other[1]) for one, other in zip(_points(before, name), _points(after, name), strict=False)]

    return Difference(
        status=None if before.status == after.status else (before.status, after.status),
        metrics=moved,
        curves=tuple(curves),
        witnesses=tuple(
            name for name in _names(before.witnesses, after.witnesses) if before.witnesses.get(name) != after.witnesses.get(name)
        ),
        largest=max(gaps, default=None),
    )


def _is_equal(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other

    return abs(one - other) <= tolerance * max(1.0, abs(one), abs(other))


def _are_equal(one: Sequence[tuple[int, float]], other: Sequence[tuple[int, float]], tolerance: float) -> bool:
    return [step for step, _ in one] == [step for step, _ in other] and all(
        _is_equal(figure, figure_there, tolerance) for (_, figure), (_, figure_there) in zip(one, other, strict=True)
    )


def explain(
    before: Record,
    after: Record,
    facts_before: Mapping[str, Any],
    facts_after: Mapping[str, Any],
    modules_of: ModulesOf = lambda code: None,
) -> list[Reason]:
    """
    List what changed between two records of one trial: code, data, environment, hardware; empty if nothing did.

    The harness itself (its commit) is named where nothing else changed: its core is not part of a trial's key.

    Args:
        before: A record.
        after: Another of the same trial.
        facts_before: Of its environment; empty where they are unknown.
        facts_after: Likewise.
        modules_of: Gives what a code hash stands for, or ``None``.
    """
    changes = code_changes(before.question, before.circumstances, after.circumstances, modules_of)
    reasons = [Reason("code", f"{change.kind}: {', '.join(change.texts)}") for change in changes]
    both = before.metric_code.keys() & after.metric_code.keys()
    changed = sorted(name for name in both if before.metric_code[name] != after.metric_code[name])
    if changed:
        reasons.append(Reason("code", f"metrics: {', '.join(changed)}"))
    if before.circumstances.get("dataset_content") != after.circumstances.get("dataset_content"):
        reasons.append(Reason("data", "the bytes of the raw data changed"))
    if not facts_before or not facts_after:
        if before.environment != after.environment:
            reasons.append(Reason("environment", "unknown: the facts of an environment were not kept"))
        return reasons
    reasons += [
        Reason("environment", f"{name} {_spelled(facts_before.get(name))} -> {_spelled(facts_after.get(name))}")
        for name in ("python", "platform")
        if facts_before.get(name) != facts_after.get(name)
    ]
    packages = [_mapping(facts.get("packages")) for facts in (facts_before, facts_after)]
    reasons += [
        Reason("environment", f"{name} {packages[0].get(name, 'absent')} -> {packages[1].get(name, 'absent')}")
        for name in sorted({*packages[0], *packages[1]})
        if packages[0].get(name) != packages[1].get(name)
    ]
    reasons += [
        Reason("hardware", f"{name} {_spelled(facts_before.get(name))} -> {_spelled(facts_after.get(name))}")
        for name in HARDWARE
        if facts_before.get(name) != facts_after.get(name)
    ]
    if not reasons:
        reasons += _harness_reasons(_mapping(facts_before.get("git")), _mapping(facts_after.get("git")))

    return reasons


def _mapping(value: object) -> Mapping[str, Any]:
    """Read a fact that should be a mapping; exports come from strangers."""
    return value if isinstance(value, Mapping) else {}


def code_changes(
    question: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], modules_of: ModulesOf = lambda code: None
) -> list[PartChange]:
    """
    List what differs between two circumstances of one trial apart from its data: defaults, code, privileges, how its seeds ran.

    Args:
        question: Of the trial.
        before: Circumstances.
        after: Others.
        modules_of: Gives what a code hash stands for, or ``None``.
    """
    changes = [PartChange(kind, (text,)) for kind, _, text in changed_defaults(question, before, after)]
    for kind in ("task", "dataset", "method"):
        old, new = (str(circumstances.get(f"{kind}_code")) for circumstances in (before, after))
        if old != new:
            changes.append(PartChange(kind, _changed_definitions(modules_of(old), modules_of(new)) or (f"its code was {old}, is {new}",)))
    if list(before.get("method_privileges", [])) != list(after.get("method_privileges", [])):
        changes.append(PartChange("method", ("its privileges changed",)))
    if before.get("seeds_at_once") != after.get("seeds_at_once"):
        changes.append(PartChange("method", (seeds_at_once_change(before, after),)))

    return changes


def _changed_definitions(before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> tuple[str, ...]:
    """Say of each definition and data file that differs between two closures what became of it; nothing where one is unknown."""
    if before is None or after is None:
        return ()

    return (
        *(f"{name} changed" for name in after if name in before and before[name] != after[name]),
        *(f"{name} is new" for name in after if name not in before),
        *(f"{name} is gone" for name in before if name not in after),
    )


def _harness_reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Reason]:
    old, new = ((git.get("commit"), git.get("dirty")) for git in (before, after))
    if old != new:  # uncommitted changes are recorded as such, not which they are
        yield Reason("harness", f"commit {_commit(before)} -> {_commit(after)}")


def _commit(git: Mapping[str, Any]) -> str:
    return f"{str(git.get('commit', 'unknown'))[:8]}{' with changes' if git.get('dirty') else ''}"


def compare_sets(before: Side, after: Side) -> SetComparison:
    """Pair the records of two sets by their trial, and say of each pair and each cell what moved and why."""
    shared = [name for name in before.records if name in after.records]

    def modules_of(code: str) -> Mapping[str, str] | None:
        known = before.modules_of(code)
        return after.modules_of(code) if known is None else known

    pairs = []
    for name in shared:
        one, other = before.records[name], after.records[name]
        difference = compare_records(one, other)
        reasons = [] if difference.is_none else explain(one, other, before.facts(one), after.facts(other), modules_of)
        pairs.append(Pair(one, other, difference, tuple(reasons)))

    return SetComparison(
        pairs=tuple(pairs),
        only_before=tuple(sorted(set(before.records) - set(shared))),
        only_after=tuple(sorted(set(after.records) - set(shared))),
        cells=tuple(_cells(pairs)),
    )


def _cells(pairs: Sequence[Pair]) -> Iterator[CellChange]:
    grouped: dict[str, list[Pair]] = {}
    for pair in pairs:
        question = {name: value for name, value in pair.before.question.items() if name != "seed"}
        grouped.setdefault(canonical_json(question), []).append(pair)
    questions = [members[0].before.question for members in grouped.values()]
    columns = _labels([(question["dataset"]["name"], _around(question)) for question in questions])
    rows = _labels([(question["method"]["name"], dict(question["method"]["parameters"])) for question in questions])
    cells = []
    for column, row, members in zip(columns, rows, grouped.values(), strict=True):
        names = dict.fromkeys(name for pair in members for name in pair.before.metrics if name in pair.after.metrics)
        moved = [pair for pair in members if not pair.difference.is_none]
        cells.append(
            CellChange(
                dataset=column,
                method=row,
                pairs=len(members),
                moved=len(moved),
                metrics={name: _metric_change(name, members) for name in names},
                kinds=dict(Counter(kind for pair in moved for kind in pair.kinds)),
            )
        )

    yield from sorted(cells, key=lambda cell: (cell.dataset, cell.method))


def _around(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return all but method and seed that a cell may differ in."""
    return {**question["task"]["parameters"], **question["budget"], **question["dataset"]["parameters"], "task": question["task"]["name"]}


def _labels(things: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Name each thing, with those of its parameters in which the things of this name differ."""
    varied: dict[str, list[str]] = {}
    for name in {name for name, _ in things}:
        of_name = [parameters for other, parameters in things if other == name]
        keys = dict.fromkeys(key for parameters in of_name for key in parameters)
        varied[name] = [key for key in keys if len({canonical_json(parameters.get(key)) for parameters in of_name}) > 1]

    return [
        " ".join([name, *(f"{key}={_spelled(parameters[key])}" for key in varied[name] if key in parameters)])
        for name, parameters in things
    ]


def _metric_change(name: str, pairs: Iterable[Pair]) -> MetricChange:
    figures = [(pair.before.metrics.get(name), pair.after.metrics.get(name)) for pair in pairs]
    gaps = [after - before for before, after in figures if before is not None and after is not None]

    return MetricChange(
        n=len(gaps),
        mean=fmean(gaps) if gaps else None,
        largest=max(map(abs, gaps)) if gaps else None,
        lost=sum(before is not None and after is None for before, after in figures),
        gained=sum(before is None and after is not None for before, after in figures),
    )


def why_disjoint(before: Iterable[Record], after: Iterable[Record]) -> str:
    """Say in what two sets of records without a common trial differ."""
    sides = [[record.question for record in side] for side in (before, after)]
    for name in ("task", "dataset", "method"):
        names = [{question[name]["name"] for question in side} for side in sides]
        if names[0].isdisjoint(names[1]):
            return f"they share no {name}: {_listed(names[0])} in A, {_listed(names[1])} in B"
    for name in ("task", "dataset", "method"):
        values = [{canonical_json(question[name]): question[name]["parameters"] for question in side} for side in sides]
        if values[0].keys().isdisjoint(values[1]):
            shown = [
                f"; {key} is {_listed(found[0])} in A, {_listed(found[1])} in B"
                for key in _names(*(itertools.chain.from_iterable(side.values()) for side in values))
                if (found := _settings(values, key))[0].isdisjoint(found[1])
            ]
            return f"they share no {name} with the same parameters{''.join(shown)}"
    for name in ("budget", "seed"):
        plain = [{canonical_json(question[name]) for question in side} for side in sides]
        if plain[0].isdisjoint(plain[1]):
            return f"they share no {name}: {_listed(plain[0])} in A, {_listed(plain[1])} in B"

    return "they share tasks, data sets, methods, budgets and seeds, but no combination of them"


def _settings(sides: Iterable[Mapping[str, Mapping[str, Any]]], key: str) -> list[set[str]]:
    return [{canonical_json(parameters[key]) for parameters in side.values() if key in parameters} for side in sides]


def _listed(values: Collection[str]) -> str:
    return ", ".join(sorted(values)[:3]) + (" ..." if len(values) > 3 else "") if values else "absent"


def is_consistent(record: Record) -> bool:
    """Whether name and key of a record are the hashes of its question and circumstances."""
    return record.trial == digest(record.question)[:12] and record.key == digest({**record.question, **record.circumstances})


def figures_that_differ(given: Any, computed: Any, path: str = "") -> Iterator[str]:  # Any: whatever JSON holds
    """
    Compare two JSON values and name each place in which they differ; numbers that agree to nine digits are equal.

    Args:
        given: What was received.
        computed: What it should be.
        path: Where in the whole these two stand.
    """
    if isinstance(given, Mapping) and isinstance(computed, Mapping):
        for name in _names(given, computed):
            yield from figures_that_differ(given.get(name), computed.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(given, Sequence) and isinstance(computed, Sequence) and not isinstance(given, str) and not isinstance(computed, str):
        if len(given) != len(computed):
            yield f"{path}: {len(given)} entries, not {len(computed)}"
            return
        for position, (one, other) in enumerate(zip(given, computed, strict=True)):
            yield from figures_that_differ(one, other, f"{path}[{_place(other, position)}]")
    elif isinstance(given, float) or isinstance(computed, float):
        numbers = all(type(value) in (int, float) for value in (given, computed))
        if not numbers or not math.isclose(given, computed, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            yield f"{path}: {_spelled(given)}, not {_spelled(computed)}"
    elif given != computed:
        yield f"{path}: {_spelled(given)}, not {_spelled(computed)}"


def _place(entry: object, position: int) -> str:
    """Name an entry of a list by what it is about."""
    if isinstance(entry, Mapping):
        words = [str(entry[name]) for name in ("dataset", "method", "metric", "label", "name") if entry.get(name)]
        if words:
            return ", ".join(words)

    return str(position)


def _names(one: Iterable[str], other: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _points(record: Record, name: str) -> list[tuple[int, float]]:
    return [(int(step), float(value)) for step, value in record.curves.get(name, [])]


def _spelled(value: object) -> str:
    """Spell a value for a message; a figure with all its digits, since the last ones may be what differs."""
    if value is None:
        return "none"

    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
