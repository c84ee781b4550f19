"""What the records of a suite say: pure data, from which every report is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.records import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.plan import Plan
    from harness.records import Record

__all__ = ["Cell", "Column", "Leaderboard", "MetricInfo", "Row", "build_leaderboard", "leaderboard_inputs"]

LEADERBOARD_FORMAT = 1
SIGNIFICANCE = 0.05
MIN_FOR_COST = 3  # seeds: the first trial of a worker warms it up, and a median of fewer cannot hide it


@dataclass(frozen=True)
class MetricInfo:
    """A metric as reports need it."""

    name: str
    summary: str
    direction: str
    unit: str


@dataclass(frozen=True)
class Column:
    """A data set of the suite."""

    label: str
    name: str


@dataclass(frozen=True)
class Row:
    """
    A method of the suite, over all its data sets.

    Args:
        label: As in the suite.
        privileges: What it needs beyond its neighbours.
        mean_ranks: By metric, the mean over the data sets of its rank among the methods that are complete on every one of them; ``None`` for the others.
        cost_ratio: Mean over the data sets of its wall time relative to the baseline's; ``None`` where they cannot be compared.
        ok: Trials with the status ok.
        total: Trials that the suite asks for.
    """

    label: str
    privileges: tuple[str, ...]
    mean_ranks: Mapping[str, float | None]
    cost_ratio: float | None
    ok: int
    total: int


@dataclass(frozen=True)
class Cell:
    """
    One method on one data set by one metric.

    Args:
        dataset: Label.
        method: Label.
        metric: Name.
        n: Seeds with a figure.
        total: Seeds that the suite asks for.
        statuses: How many trials ended in each status; ``missing`` for those without a record.
        mean: Mean over the seeds that have a figure.
        low: Lower end of its 95 % interval (Student's t); ``None`` with fewer than two seeds.
        high: Upper end.
        difference: Mean paired difference to the baseline over the seeds that both have.
        difference_low: Lower end of its 95 % interval.
        difference_high: Upper end.
        p: Two-sided p-value of the paired t test, corrected by Holm over all comparisons of this metric in the suite.
        rank: Among the methods that are complete on this data set; ``None`` for the others.
        best: Whether the method is complete and not significantly worse than the top one of this column (paired t test, Holm over the column).
        wall_seconds: Median over the trials that ended ok.
        cost_ratio: Median wall time relative to the baseline's, over the seeds (three at least) that both finished on the same hardware.
    """

    dataset: str
    method: str
    metric: str
    n: int
    total: int
    statuses: Mapping[str, int]
    mean: float | None
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    rank: float | None
    best: bool
    wall_seconds: float | None
    cost_ratio: float | None


@dataclass(frozen=True)
class Leaderboard:
    """
    A suite's result.

    Args:
        suite: Name.
        summary: As in the suite file.
        task: Name.
        baseline: Label of the method that the others are compared with.
        seeds: All seeds.
        metrics: The main one first.
        columns: Data sets in the suite's order.
        rows: Methods in the suite's order.
        cells: One for each metric, data set and method.
        stale: Trials whose record was made by other code or data than today's.
        pairing: By what was consumed (split, noise, batches): on how many (data set, seed) pairs all methods consumed the same, and on how many at least
            two did at all.
        inputs: Hash of all that it was computed from.
    """

    suite: str
    summary: str
    task: str
    baseline: str
    seeds: tuple[int, ...]
    metrics: tuple[MetricInfo, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    stale: int
    pairing: Mapping[str, tuple[int, int]]
    inputs: str

    def cell(self, dataset: str, method: str, metric: str) -> Cell:
        """Return one cell."""
        return self._index[dataset, method, metric]

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], Cell]:
        return {(cell.dataset, cell.method, cell.metric): cell for cell in self.cells}

    @property
    def failed(self) -> int:
        """Trials with a record whose status is not ok, or without a record."""
        return sum(row.total - row.ok for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return the leaderboard as JSON holds it."""
        return {"format": LEADERBOARD_FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Leaderboard:
        """
        Rebuild a leaderboard.

        Raises:
            StoreError: The value is no leaderboard of this format.
        """
        try:
            if value["format"] != LEADERBOARD_FORMAT:
                raise StoreError(
                    f"a leaderboard of format {value['format']}; this version of weighbridge reads format {LEADERBOARD_FORMAT}"
                )
            content = {name: item for name, item in value.items() if name != "format"}
            return cls(
                **{
                    **content,
                    "seeds": tuple(content["seeds"]),
                    "pairing": {name: (same, total) for name, (same, total) in content["pairing"].items()},
                    "metrics": tuple(MetricInfo(**item) for item in content["metrics"]),
                    "columns": tuple(Column(**item) for item in content["columns"]),
                    "rows": tuple(Row(**{**item, "privileges": tuple(item["privileges"])}) for item in content["rows"]),
                    "cells": tuple(Cell(**item) for item in content["cells"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"not a leaderboard: {error}") from error


def leaderboard_inputs(plan: Plan, records: Mapping[str, Record], hardware: Mapping[str, str], code: str) -> str:
    """
    Hash what a leaderboard is computed from, without computing it: the cells, the records, and the code that computes.

    Args:
        plan: The suite's trials.
        records: By key of the planned trial.
        hardware: Hardware fingerprint by environment identifier.
        code: Hash of the code that computes leaderboards.
    """
    suite = plan.suite
    rows = [
        [item.key, record.key, record.started, record.status, record.environment, sorted(record.metric_code.items())]
        for item in plan.planned
        if (record := records.get(item.key)) is not None
    ]

    return digest(
        [
            suite.name,
            suite.summary,
            suite.baseline,
            list(suite.seeds),
            suite.task.name,
            [[metric.name, metric.summary, metric.direction, metric.unit] for metric in suite.metrics],
            [[cell.label, cell.dataset.name] for cell in suite.datasets],
            [[cell.label, list(cell.method.privileges)] for cell in suite.methods],
            [[item.dataset, item.method, item.key] for item in plan.planned],
            rows,
            dict(hardware),
            code,
        ]
    )


def build_leaderboard(plan: Plan, records: Mapping[str, Record], hardware: Mapping[str, str], inputs: str) -> Leaderboard:
    """
    Compute a leaderboard.

    Args:
        plan: The suite's trials.
        records: By key of the planned trial; a trial without one is missing.
        hardware: Hardware fingerprint by environment identifier; costs are compared within one alone.
        inputs: See :func:`leaderboard_inputs`.
    """
    import numpy as np

    from harness.stats import average_ranks, holm

    suite = plan.suite
    methods = [cell.label for cell in suite.methods]
    seeds = {seed: position for position, seed in enumerate(suite.seeds)}
    baseline = methods.index(suite.baseline)
    tables = {column.label: _Table(len(methods), len(seeds)) for column in suite.datasets}
    rows_of = {label: position for position, label in enumerate(methods)}
    for item in plan.planned:
        tables[item.dataset].put(rows_of[item.method], seeds[item.trial.seed], records.get(item.key), hardware)

    cells: list[Cell] = []
    for metric in suite.metrics:
        sign = 1.0 if metric.direction == "higher" else -1.0
        columns = [_column(tables[column.label], metric.name, sign, baseline) for column in suite.datasets]
        raw = np.concatenate([np.delete(column.p, baseline) for column in columns]) if columns else np.array([])
        corrected = iter(holm(raw).tolist())
        for column, described in zip(columns, suite.datasets, strict=True):
            table = tables[described.label]
            ranks = average_ranks(np.where(column.complete, sign * column.mean, np.nan))
            for row, label in enumerate(methods):
                cells.append(
                    Cell(
                        dataset=described.label,
                        method=label,
                        metric=metric.name,
                        n=int(column.n[row]),
                        total=len(seeds),
                        statuses=dict(table.statuses[row]),
                        mean=_number(column.mean[row]),
                        low=_number(column.low[row]),
                        high=_number(column.high[row]),
                        difference=None if row == baseline else _number(column.difference[row]),
                        difference_low=None if row == baseline else _number(column.difference_low[row]),
                        difference_high=None if row == baseline else _number(column.difference_high[row]),
                        p=None if row == baseline else _number(next(corrected)),
                        rank=_number(ranks[row]),
                        best=bool(column.best[row]),
                        wall_seconds=_number(table.median_seconds(row)),
                        cost_ratio=_number(table.cost_ratio(row, baseline)),
                    )
                )

    return Leaderboard(
        suite=suite.name,
        summary=suite.summary,
        task=suite.task.name,
        baseline=suite.baseline,
        seeds=suite.seeds,
        metrics=tuple(MetricInfo(metric.name, metric.summary, metric.direction, metric.unit) for metric in suite.metrics),
        columns=tuple(Column(cell.label, cell.dataset.name) for cell in suite.datasets),
        rows=tuple(_rows(plan, cells)),
        cells=tuple(cells),
        pairing=_pairing(plan, records),
        stale=sum(records[item.key].key != item.key for item in plan.planned if item.key in records),
        inputs=inputs,
    )


class _Table:
    """The records of one data set, one row a method, one column a seed."""

    def __init__(self, n_methods: int, n_seeds: int) -> None:
        import numpy as np

        self._figures: dict[str, NDArray[np.float64]] = {}
        self._shape = (n_methods, n_seeds)
        self._seconds = np.full(self._shape, np.nan)
        self._hardware = np.full(self._shape, "", dtype=object)
        self.statuses: list[Counter[str]] = [Counter() for _ in range(n_methods)]

    def put(self, row: int, column: int, record: Record | None, hardware: Mapping[str, str]) -> None:
        self.statuses[row]["missing" if record is None else record.status] += 1
        if record is None:
            return
        for name, value in record.metrics.items():
            if value is not None:
                self.figures(name)[row, column] = value
        if record.costs is not None and record.status == "ok":
            self._seconds[row, column] = record.costs.wall_seconds
            self._hardware[row, column] = hardware.get(record.environment, record.environment)

    def figures(self, metric: str) -> NDArray[np.float64]:
        import numpy as np

        if metric not in self._figures:
            self._figures[metric] = np.full(self._shape, np.nan)

        return self._figures[metric]

    def median_seconds(self, row: int) -> float:
        import numpy as np

        present = self._seconds[row][~np.isnan(self._seconds[row])]

        return float(np.median(present)) if len(present) else float("nan")

    def cost_ratio(self, row: int, baseline: int) -> float:
        """Ratio of median times over the seeds that both finished on the same hardware; a median, since the first trial of a worker warms it up."""
        import numpy as np

        both = ~np.isnan(self._seconds[row]) & ~np.isnan(self._seconds[baseline]) & (self._hardware[row] == self._hardware[baseline])
        if both.sum() < MIN_FOR_COST:
            return float("nan")

        return float(np.median(self._seconds[row][both]) / np.median(self._seconds[baseline][both]))


@dataclass(frozen=True)
class _Column:
    """The statistics of one metric on one data set, one entry a method."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    complete: NDArray[np.bool_]
    difference: NDArray[np.float64]
    difference_low: NDArray[np.float64]
    difference_high: NDArray[np.float64]
    p: NDArray[np.float64]
    best: NDArray[np.bool_]


def _column(table: _Table, metric: str, sign: float, baseline: int) -> _Column:
    import numpy as np

    from harness.stats import holm, mean_intervals, paired_differences

    values = table.figures(metric)
    means = mean_intervals(values)
    differences = paired_differences(values, values[baseline])
    complete = means.n == values.shape[1]
    best = np.zeros(len(values), dtype=bool)
    if complete.any() and values.shape[1] > 1:  # one seed tells nothing about the next
        top = int(np.argmax(np.where(complete, sign * means.mean, -np.inf)))
        to_top = paired_differences(values, values[top])
        p = np.where(complete, to_top.p, np.nan)
        p[top] = np.nan
        worse = (holm(p) < SIGNIFICANCE) & (sign * to_top.mean < 0)
        best = complete & ~worse

    return _Column(
        means.mean,
        means.low,
        means.high,
        means.n,
        complete,
        differences.mean,
        differences.low,
        differences.high,
        differences.p,
        best,
    )


def _rows(plan: Plan, cells: Sequence[Cell]) -> list[Row]:
    suite = plan.suite
    of_method = {row.label: [cell for cell in cells if cell.method == row.label] for row in suite.methods}
    ranks = {metric.name: _mean_ranks(of_method, metric.name, metric.direction) for metric in suite.metrics}
    rows = []
    for described in suite.methods:
        own = [cell for cell in of_method[described.label] if cell.metric == suite.metrics[0].name]
        ratios = [cell.cost_ratio for cell in own if cell.cost_ratio is not None]
        rows.append(
            Row(
                label=described.label,
                privileges=described.method.privileges,
                mean_ranks={metric: means[described.label] for metric, means in ranks.items()},
                cost_ratio=sum(ratios) / len(ratios) if own and len(ratios) == len(own) else None,
                ok=sum(cell.statuses.get("ok", 0) for cell in own),
                total=sum(cell.total for cell in own),
            )
        )

    return rows


def _mean_ranks(of_method: Mapping[str, Sequence[Cell]], metric: str, direction: str) -> dict[str, float | None]:
    """Rank the methods that are complete on every data set against each other, data set by data set, and average."""
    import numpy as np

    from harness.stats import average_ranks

    sign = 1.0 if direction == "higher" else -1.0
    own = {method: [cell for cell in cells if cell.metric == metric] for method, cells in of_method.items()}
    complete = [method for method, cells in own.items() if cells and all(cell.rank is not None for cell in cells)]
    means: dict[str, float | None] = dict.fromkeys(of_method)
    if complete:
        scores = np.array([[sign * (cell.mean or 0.0) for cell in own[method]] for method in complete])
        ranks = np.stack([average_ranks(column) for column in scores.T], axis=1).mean(axis=1)
        means |= dict(zip(complete, ranks.tolist(), strict=True))

    return means


def _pairing(plan: Plan, records: Mapping[str, Record]) -> dict[str, tuple[int, int]]:
    """Compare what the methods consumed, by name, data set and seed."""
    seen: dict[tuple[str, str, int], list[str]] = {}
    for item in plan.planned:
        record = records.get(item.key)
        for name, value in record.witnesses.items() if record is not None and record.status == "ok" else ():
            seen.setdefault((name, item.dataset, item.trial.seed), []).append(value)
    shared = {place: values for place, values in seen.items() if len(values) > 1}

    return {
        name: (
            sum(len(set(values)) == 1 for place, values in shared.items() if place[0] == name),
            sum(place[0] == name for place in shared),
        )
        for name in sorted({place[0] for place in shared})
    }


def _number(value: float) -> float | None:
    """Return a Python float, or ``None`` for NaN: a figure that does not exist is null."""
    return None if value != value else float(value)
