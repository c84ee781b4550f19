"""What the records of a suite say: pure data, from which every report is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.records import digest
from harness.search import Tuned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.plan import Plan
    from harness.records import Costs, Record
    from harness.specs import Metric
    from harness.stats import Estimates
    from harness.suite import Column, Row, Suite

__all__ = [
    "Cell",
    "ColumnInfo",
    "Leaderboard",
    "LeftOut",
    "MetricInfo",
    "Overall",
    "Resolution",
    "RowSummary",
    "Standing",
    "build_leaderboard",
    "leaderboard_inputs",
]

LEADERBOARD_FORMAT = 3
SIGNIFICANCE = 0.05  # of stats.py, which imports numpy: a leaderboard that is known is shown without it
MIN_FOR_COST = 3  # seeds: the first trial of a worker warms it up, and a median of fewer cannot hide it


@dataclass(frozen=True)
class MetricInfo:
    """A metric as reports need it."""

    name: str
    summary: str
    direction: str
    unit: str


@dataclass(frozen=True)
class ColumnInfo:
    """A column as reports need it."""

    label: str
    name: str


@dataclass(frozen=True)
class RowSummary:
    """
    What the records say of a row over all columns.

    Args:
        label: As in the suite.
        privileges: What it needs beyond its neighbours.
        hyperparameters: Where they come from: ``defaults`` (the method's own, as its card has them), ``suite`` (the suite gives some), ``tuned``, or
            ``tuned, suite``.
        mean_ranks: By metric, the mean over the data sets of its rank among the methods that are complete on every one of them; ``None`` for the others.
        cost_ratio: Mean over the data sets of its wall time relative to the baseline's; ``None`` where they cannot be compared.
        ok: Trials with the status ok.
        total: Trials that the suite asks for.
    """

    label: str
    privileges: tuple[str, ...]
    hyperparameters: str
    mean_ranks: Mapping[str, float | None]
    cost_ratio: float | None
    ok: int
    total: int


@dataclass(frozen=True)
class Cell:
    """
    One cell by one metric: a method on a data set, over all seeds.

    Args:
        dataset: Label.
        method: Label.
        metric: Name.
        n: Seeds with a figure.
        total: Seeds that the suite asks for.
        statuses: How many trials ended in each status; ``missing`` for those without a record.
        mean: Mean over the seeds that have a figure.
        low: Lower end of its 95 % interval; ``None`` with fewer than two seeds.
        high: Upper end.
        interval: Which interval it is: ``t`` for Student's t, ``bca`` for the bootstrap (at least 20 seeds that are clearly skewed); ``None`` without one.
        difference: Mean paired difference to the baseline over the seeds that both have.
        difference_low: Lower end of its 95 % interval (Student's t).
        difference_high: Upper end.
        p: Two-sided p-value of the paired t test, corrected by Holm over all comparisons of this metric in the suite.
        wilcoxon_p: The same of Wilcoxon's signed-rank test, for comparison: with few seeds it cannot become small, so that nothing is decided by it.
        win_rate: Share of the seeds that both have on which the method beats the baseline, a tie counting half.
        improvement_probability: How probable it is that a seed of the method beats a seed of the baseline, over all pairs of seeds, a tie counting half.
        detectable: The smallest difference to the baseline that a paired t test at 5 % finds with a power of 80 %, given these seeds and their scatter,
            before correction.
        rank: Among the methods that are complete on this data set; ``None`` for the others.
        best: Whether the method is complete and not significantly worse than the top one of this column (paired t test, Holm over all pairs of methods).
        wall_seconds: Median over the trials that ended ok, as are the other costs.
        cpu_seconds: Of the process.
        peak_rss_bytes: Highest resident memory; ``None`` where it was not measured.
        peak_gpu_bytes: Highest memory on the GPU; ``None`` without one.
        samples_forward: Samples that went through a network.
        samples_backward: Samples that were differentiated through.
        machines: Kinds of hardware that these trials ran on; with more than one, the medians of seconds mix them.
        cost_ratio: Median wall time relative to the baseline's, over the seeds (three at least) that both finished on the same hardware, at once or not.
        seeds_at_once: How many seeds ran as one program at most, of which each trial's seconds are a share.
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
    interval: str | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    wilcoxon_p: float | None
    win_rate: float | None
    improvement_probability: float | None
    detectable: float | None
    rank: float | None
    best: bool
    wall_seconds: float | None
    cpu_seconds: float | None
    peak_rss_bytes: float | None
    peak_gpu_bytes: float | None
    samples_forward: float | None
    samples_backward: float | None
    machines: int
    cost_ratio: float | None
    seeds_at_once: int = 1


@dataclass(frozen=True)
class Standing:
    """
    One method over all data sets by one metric.

    Args:
        method: Label; the method is complete on every data set.
        mean_rank: Mean over the data sets of its rank among these methods.
        rank_low: 2.5 % quantile of the mean rank when the seeds of each data set are drawn anew, the same for all methods; ``None`` with one seed.
        rank_high: 97.5 % quantile.
        best_probability: Share of these draws in which the method has the lowest mean rank; ties share it.
        interquartile_mean: Mean of the middle half of its figures over all data sets and seeds; ``None`` unless the metric is bounded on both sides, since
            only then the data sets share a scale.
        interquartile_low: Lower end of its 95 % interval, the seeds of each data set being drawn anew.
        interquartile_high: Upper end.
    """

    method: str
    mean_rank: float
    rank_low: float | None
    rank_high: float | None
    best_probability: float | None
    interquartile_mean: float | None
    interquartile_low: float | None
    interquartile_high: float | None


@dataclass(frozen=True)
class LeftOut:
    """
    Who has the lowest mean rank without some of the data.

    Args:
        name: What is left out: the label of a column, or the name of a data set that has several.
        columns: Labels of the columns that are left out.
        winners: Labels; several where they tie.
    """

    name: str
    columns: tuple[str, ...]
    winners: tuple[str, ...]


@dataclass(frozen=True)
class Resolution:
    """
    What differences the seeds of one data set can show.

    Args:
        dataset: Label of the column.
        noise_floor: 95 % quantile of the difference between the baseline on one half of its seeds and on the other; ``None`` with fewer than two seeds.
        half: Seeds in each half.
        detectable: Median over the methods of :attr:`Cell.detectable`, those left out that equal the baseline on every seed.
        pairing_gain: Share of the variance of the differences to the baseline that pairing removed; ``None`` where nothing varies.
    """

    dataset: str
    noise_floor: float | None
    half: int
    detectable: float | None
    pairing_gain: float | None


@dataclass(frozen=True)
class Overall:
    """
    What the data sets say together by one metric, about the methods that are complete on every one of them.

    Args:
        metric: Name.
        standings: The methods in the suite's order.
        winners: Labels of those with the lowest mean rank.
        friedman_p: Of the hypothesis that all methods rank alike; ``None`` with fewer than three methods or two data sets.
        critical_difference: Nemenyi's critical difference of mean ranks at 5 %; ``None`` likewise.
        left_out: Who wins without each column, and without each data set that has several.
        resolution: For each column.
    """

    metric: str
    standings: tuple[Standing, ...]
    winners: tuple[str, ...]
    friedman_p: float | None
    critical_difference: float | None
    left_out: tuple[LeftOut, ...]
    resolution: tuple[Resolution, ...]


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
        cells: Each by every metric.
        overall: One for each metric.
        tuned: What tuning chose for each method and data set and what that took; empty for a suite without it.
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
    columns: tuple[ColumnInfo, ...]
    rows: tuple[RowSummary, ...]
    cells: tuple[Cell, ...]
    overall: tuple[Overall, ...]
    tuned: tuple[Tuned, ...]
    stale: int
    pairing: Mapping[str, tuple[int, int]]
    inputs: str

    def cell(self, dataset: str, method: str, metric: str) -> Cell:
        """Return one cell by one metric."""
        return self._index[dataset, method, metric]

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], Cell]:
        return {(cell.dataset, cell.method, cell.metric): cell for cell in self.cells}

    def over_all(self, metric: str) -> Overall:
        """Return what the data sets say together by one metric."""
        return next(overall for overall in self.overall if overall.metric == metric)

    @property
    def lacking(self) -> int:
        """Trials with a record whose status is not ok, or without a record."""
        return sum(row.total - row.ok for row in self.rows)

    @property
    def failed(self) -> int:
        """The same without those of methods that cannot treat such data, which say so by the status ``unsupported``."""
        main = self.metrics[0].name

        return self.lacking - sum(cell.statuses.get("unsupported", 0) for cell in self.cells if cell.metric == main)

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
                    "columns": tuple(ColumnInfo(**item) for item in content["columns"]),
                    "rows": tuple(RowSummary(**{**item, "privileges": tuple(item["privileges"])}) for item in content["rows"]),
                    "cells": tuple(Cell(**item) for item in content["cells"]),
                    "overall": tuple(_overall_from_json(item) for item in content["overall"]),
                    "tuned": tuple(Tuned(**item) for item in content["tuned"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"not a leaderboard: {error}") from error


def _overall_from_json(value: Mapping[str, Any]) -> Overall:
    return Overall(
        **{
            **value,
            "standings": tuple(Standing(**item) for item in value["standings"]),
            "winners": tuple(value["winners"]),
            "left_out": tuple(
                LeftOut(**{**item, "columns": tuple(item["columns"]), "winners": tuple(item["winners"])}) for item in value["left_out"]
            ),
            "resolution": tuple(Resolution(**item) for item in value["resolution"]),
        }
    )


def leaderboard_inputs(plan: Plan, records: Mapping[str, Record], hardware: Mapping[str, str], code: str) -> str:
    """
    Hash what a leaderboard is computed from, without computing it: columns and rows, the records, and the code that computes.

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
            [[metric.name, metric.summary, metric.direction, metric.unit, list(metric.bounds)] for metric in suite.metrics],
            [[column.label, column.dataset.name] for column in suite.datasets],
            [[row.label, list(row.method.privileges), list(row.given)] for row in suite.methods],
            [asdict(item) for item in suite.tuned],
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

    Raises:
        StoreError: The plan asks for a trial twice: copies of a record would count as seeds.
    """
    import numpy as np

    from harness.stats import average_ranks, holm

    suite = plan.suite
    methods = [row.label for row in suite.methods]
    seeds = {seed: position for position, seed in enumerate(suite.seeds)}
    baseline = methods.index(suite.baseline)
    tables = {column.label: _Table(column.label, len(methods), len(seeds)) for column in suite.datasets}
    rows_of = {label: position for position, label in enumerate(methods)}
    for item in plan.planned:
        tables[item.dataset].put(rows_of[item.method], seeds[item.trial.seed], records.get(item.key), hardware)
    costs = {label: [table.costs(row, baseline) for row in range(len(methods))] for label, table in tables.items()}

    cells: list[Cell] = []
    overall: list[Overall] = []
    for metric in suite.metrics:
        sign = 1.0 if metric.direction == "higher" else -1.0
        columns = [_statistics(tables[column.label], metric.name, sign, baseline) for column in suite.datasets]
        corrected, wilcoxon = (
            iter(holm(np.concatenate([np.delete(p, baseline) for p in raw]) if raw else np.array([])).tolist())
            for raw in ([column.differences.p for column in columns], [column.wilcoxon_p for column in columns])
        )
        for column, described in zip(columns, suite.datasets, strict=True):
            means, differences = column.means, column.differences
            ranks = average_ranks(np.where(column.complete, sign * means.mean, np.nan))
            for row, label in enumerate(methods):
                low = _number(means.low[row])
                compared = row != baseline
                cells.append(
                    Cell(
                        dataset=described.label,
                        method=label,
                        metric=metric.name,
                        n=int(means.n[row]),
                        total=len(seeds),
                        statuses=dict(tables[described.label].statuses[row]),
                        mean=_number(means.mean[row]),
                        low=low,
                        high=_number(means.high[row]),
                        interval=None if low is None else "bca" if means.bootstrapped[row] else "t",
                        difference=_number(differences.mean[row]) if compared else None,
                        difference_low=_number(differences.low[row]) if compared else None,
                        difference_high=_number(differences.high[row]) if compared else None,
                        p=_number(next(corrected)) if compared else None,
                        wilcoxon_p=_number(next(wilcoxon)) if compared else None,
                        win_rate=_number(column.win_rate[row]) if compared else None,
                        improvement_probability=_number(column.improvement_probability[row]) if compared else None,
                        detectable=_number(column.detectable[row]) if compared else None,
                        rank=_number(ranks[row]),
                        best=bool(column.best[row]),
                        **costs[described.label][row],
                    )
                )
        overall.append(_overall(metric, sign, methods, suite.datasets, columns, baseline))

    return Leaderboard(
        suite=suite.name,
        summary=suite.summary,
        task=suite.task.name,
        baseline=suite.baseline,
        seeds=suite.seeds,
        metrics=tuple(MetricInfo(metric.name, metric.summary, metric.direction, metric.unit) for metric in suite.metrics),
        columns=tuple(ColumnInfo(column.label, column.dataset.name) for column in suite.datasets),
        rows=tuple(_row_summaries(plan, cells, overall)),
        cells=tuple(cells),
        overall=tuple(overall),
        pairing=_pairing(plan, records),
        tuned=suite.tuned,
        stale=sum(records[item.key].key != item.key for item in plan.planned if item.key in records),
        inputs=inputs,
    )


class _Table:
    """The records of one data set, one row a method, one column a seed."""

    def __init__(self, label: str, n_methods: int, n_seeds: int) -> None:
        self._label = label
        self._figures: dict[str, NDArray[np.float64]] = {}
        self._shape = (n_methods, n_seeds)
        self._places: set[tuple[int, int]] = set()
        self._costs: list[list[tuple[int, Costs, str]]] = [[] for _ in range(n_methods)]
        self.statuses: list[Counter[str]] = [Counter() for _ in range(n_methods)]

    def put(self, row: int, column: int, record: Record | None, hardware: Mapping[str, str]) -> None:
        if (row, column) in self._places:
            raise StoreError(f"a trial on {self._label} stands twice in the plan\n    name every seed, method and data set once")
        self._places.add((row, column))
        self.statuses[row]["missing" if record is None else record.status] += 1
        if record is None:
            return
        for name, value in record.metrics.items():
            if value is not None:
                self.figures(name)[row, column] = value
        if record.costs is not None and record.status == "ok":
            manner = "seeds at once" if record.costs.seeds_at_once > 1 else "one by one"  # costs of the two are not compared
            self._costs[row].append((column, record.costs, f"{hardware.get(record.environment, record.environment)}, {manner}"))

    def figures(self, metric: str) -> NDArray[np.float64]:
        import numpy as np

        if metric not in self._figures:
            self._figures[metric] = np.full(self._shape, np.nan)

        return self._figures[metric]

    def costs(self, row: int, baseline: int) -> dict[str, Any]:
        """Return the costs of a cell by the names of its fields."""
        own = [costs for _, costs, _ in self._costs[row]]

        def middle(value: Callable[[Costs], float | None]) -> float | None:
            figures = [figure for costs in own if (figure := value(costs)) is not None]

            return float(median(figures)) if figures else None

        return {
            "wall_seconds": middle(lambda costs: costs.wall_seconds),
            "cpu_seconds": middle(lambda costs: costs.cpu_seconds),
            "peak_rss_bytes": middle(lambda costs: costs.peak_rss_bytes),
            "peak_gpu_bytes": middle(lambda costs: costs.peak_gpu_bytes),
            "samples_forward": middle(lambda costs: costs.samples_forward),
            "samples_backward": middle(lambda costs: costs.samples_backward),
            "machines": len({machine for _, _, machine in self._costs[row]}),
            "seeds_at_once": max((costs.seeds_at_once for costs in own), default=1),
            "cost_ratio": self._cost_ratio(row, baseline),
        }

    def _cost_ratio(self, row: int, baseline: int) -> float | None:
        """Ratio of median times over the seeds that both finished on the same hardware; a median, since the first trial of a worker warms it up."""
        reference = {(column, machine): costs.wall_seconds for column, costs, machine in self._costs[baseline]}
        both = [
            (costs.wall_seconds, reference[column, machine])
            for column, costs, machine in self._costs[row]
            if (column, machine) in reference
        ]
        if len(both) < MIN_FOR_COST:
            return None
        own, other = (median(seconds) for seconds in zip(*both, strict=True))

        return own / other if other > 0 else None


@dataclass(frozen=True)
class _Statistics:
    """The statistics of one metric on one data set, one entry a method; ``values`` is ``(M, S)``."""

    values: NDArray[np.float64]
    means: Estimates
    complete: NDArray[np.bool_]
    differences: Estimates
    wilcoxon_p: NDArray[np.float64]
    win_rate: NDArray[np.float64]
    improvement_probability: NDArray[np.float64]
    detectable: NDArray[np.float64]
    best: NDArray[np.bool_]


def _statistics(table: _Table, metric: str, sign: float, baseline: int) -> _Statistics:
    import numpy as np

    from harness.stats import (
        best_set,
        detectable_effect,
        improvement_probability,
        intervals,
        paired_differences,
        signed_rank_p,
        win_rates,
    )

    values = table.figures(metric)
    scores = sign * values
    means = intervals(values)
    differences = paired_differences(values, values[baseline])
    effects = np.array([detectable_effect(n) for n in differences.n.tolist()])

    return _Statistics(
        values=values,
        means=means,
        complete=means.n == values.shape[1],
        differences=differences,
        wilcoxon_p=signed_rank_p(values - values[baseline]),
        win_rate=win_rates(scores, scores[baseline]),
        improvement_probability=improvement_probability(scores, scores[baseline]),
        detectable=effects * differences.deviation,
        best=best_set(scores),
    )


def _overall(
    metric: Metric, sign: float, methods: Sequence[str], datasets: Sequence[Column], columns: Sequence[_Statistics], baseline: int
) -> Overall:
    import numpy as np

    from harness.stats import average_ranks, critical_difference, friedman, interquartile_means, resampled_ranks

    labels = [described.label for described in datasets]
    resolution = tuple(_resolution(label, column, baseline) for label, column in zip(labels, columns, strict=True))
    complete = np.flatnonzero(np.logical_and.reduce([column.complete for column in columns]))
    if not len(complete):
        return Overall(metric.name, (), (), None, None, (), resolution)
    values = np.stack([column.values[complete] for column in columns])
    means = np.stack([sign * column.means.mean[complete] for column in columns])
    ranks = np.stack([average_ranks(row) for row in means])
    names = [methods[row] for row in complete.tolist()]
    mean_ranks = ranks.mean(axis=0)
    resampled = resampled_ranks(sign * values) if values.shape[2] > 1 else None
    middle = interquartile_means(values) if None not in metric.bounds else None

    def winners(left: Sequence[str] = ()) -> tuple[str, ...]:
        kept = ranks[[label not in left for label in labels]].mean(axis=0)

        return tuple(name for name, rank in zip(names, kept, strict=True) if rank == kept.min())

    return Overall(
        metric=metric.name,
        standings=tuple(
            Standing(
                method=name,
                mean_rank=float(mean_ranks[place]),
                rank_low=None if resampled is None else float(resampled.low[place]),
                rank_high=None if resampled is None else float(resampled.high[place]),
                best_probability=None if resampled is None else float(resampled.best[place]),
                interquartile_mean=None if middle is None else float(middle.mean[place]),
                interquartile_low=None if middle is None else _number(middle.low[place]),
                interquartile_high=None if middle is None else _number(middle.high[place]),
            )
            for place, name in enumerate(names)
        ),
        winners=winners(),
        friedman_p=_number(friedman(means)),
        critical_difference=_number(critical_difference(len(names), len(labels))),
        left_out=tuple(LeftOut(name, left, winners(left)) for name, left in _left_out(datasets)),
        resolution=resolution,
    )


def _left_out(datasets: Sequence[Column]) -> list[tuple[str, tuple[str, ...]]]:
    """Return what to leave out in turn: each column, then each data set that has several columns, which share their pictures or rows."""
    labels = [described.label for described in datasets]
    if len(labels) < 2:
        return []
    of_name: dict[str, list[str]] = {}
    for described in datasets:
        of_name.setdefault(described.dataset.name, []).append(described.label)
    whole = [(name, tuple(own)) for name, own in of_name.items() if 1 < len(own) < len(labels)]

    return [*((label, (label,)) for label in labels), *whole]


def _resolution(label: str, column: _Statistics, baseline: int) -> Resolution:
    from harness.stats import noise_floor, pairing_gain

    floor, half = noise_floor(column.values[baseline])
    detectable = [
        value for value in column.detectable.tolist() if value > 0
    ]  # 0: equal on every seed, as the baseline is to itself; NaN is not above 0

    return Resolution(
        dataset=label,
        noise_floor=_number(floor),
        half=half,
        detectable=median(detectable) if detectable else None,
        pairing_gain=_number(pairing_gain(column.values, column.values[baseline])),
    )


def _row_summaries(plan: Plan, cells: Sequence[Cell], overall: Sequence[Overall]) -> list[RowSummary]:
    suite = plan.suite
    main = suite.metrics[0].name
    of_method: dict[str, list[Cell]] = {row.label: [] for row in suite.methods}
    for cell in cells:
        if cell.metric == main:
            of_method[cell.method].append(cell)
    ranks = {item.metric: {standing.method: standing.mean_rank for standing in item.standings} for item in overall}
    summaries = []
    for row in suite.methods:
        own = of_method[row.label]
        ratios = [cell.cost_ratio for cell in own if cell.cost_ratio is not None]
        summaries.append(
            RowSummary(
                label=row.label,
                privileges=row.method.privileges,
                hyperparameters=_origin(suite, row),
                mean_ranks={metric: means.get(row.label) for metric, means in ranks.items()},
                cost_ratio=sum(ratios) / len(ratios) if own and len(ratios) == len(own) else None,
                ok=sum(cell.statuses.get("ok", 0) for cell in own),
                total=sum(cell.total for cell in own),
            )
        )

    return summaries


def _origin(suite: Suite, row: Row) -> str:
    """Say where the hyperparameters of a method come from."""
    tuned = any(item.method == row.label and item.configs > 1 for item in suite.tuned)
    origins = [word for word, holds in (("tuned", tuned), ("suite", bool(row.given))) if holds]

    return ", ".join(origins) or "defaults"


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
