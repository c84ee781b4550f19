"""What the records of a suite say, as pure data: every report is drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

from harness.errors import StoreError
from harness.search import Tuned

__all__ = [
    "Cell",
    "CellCosts",
    "ColumnInfo",
    "Leaderboard",
    "LeftOut",
    "MetricInfo",
    "Overall",
    "Resolution",
    "RowSummary",
    "Standing",
    "ToBaseline",
]

LEADERBOARD_FORMAT = 6
SIGNIFICANCE = 0.05  # of stats.py, which imports numpy: a leaderboard that is known is shown without it


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
        summary: What the method is, in one line.
        paper: Where it was published: title, year, number; empty for common practice.
        privileges: What it needs beyond its neighbours.
        hyperparameters: Where they come from: ``defaults`` (the method's own, as its card has them), ``suite`` (the suite gives some), ``tuned``, or
            ``tuned, suite``.
        mean_ranks: By metric, the mean over the data sets of its rank among the methods that are complete on every one of them (data sets on which
            no method is complete do not count); ``None`` for the others.
        cost_ratio: Geometric mean over the data sets of :attr:`CellCosts.cost_ratio`; ``None`` where one of them is lacking.
        ok: Trials with the status ok.
        total: Trials that the suite asks for.
    """

    label: str
    summary: str
    paper: str
    privileges: tuple[str, ...]
    hyperparameters: str
    mean_ranks: Mapping[str, float | None]
    cost_ratio: float | None
    ok: int
    total: int


@dataclass(frozen=True)
class ToBaseline:
    """
    A cell beside the baseline's on the same data set, by one metric; the baseline's own has nothing but ``None``.

    Args:
        difference: Mean paired difference to the baseline over the seeds that both have.
        difference_low: Lower end of its 95 % interval (Student's t).
        difference_high: Upper end.
        p: Two-sided p-value of the paired t test with a moderated variance (:mod:`harness.moderation`), corrected by Holm over all comparisons of this metric in
            the suite; ``None`` with one seed, and where the difference is the same on every seed and not 0: without scatter there is no test.
        wilcoxon_p: The same of Wilcoxon's signed-rank test, for comparison: with few seeds it cannot become small, so that nothing is decided by it.
        win_rate: Share of the seeds that both have on which the method beats the baseline, a tie counting half.
        improvement_probability: How probable it is that a seed of the method beats a seed of the baseline, over all pairs of seeds, a tie counting half.
        detectable: The smallest difference to the baseline that a paired t test at 5 % of as many other seeds finds with a power of 80 %, given the scatter of
            these, for one comparison.
        detectable_star: The same for a star: with the moderated variance, where it is the smallest p-value of all comparisons of this metric.
    """

    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    wilcoxon_p: float | None = None
    win_rate: float | None = None
    improvement_probability: float | None = None
    detectable: float | None = None
    detectable_star: float | None = None


@dataclass(frozen=True)
class CellCosts:
    """
    What a cell's trials used.

    Args:
        wall_seconds: Median over the trials that ended ok, as are the other costs.
        cpu_seconds: Of the process.
        peak_rss_bytes: Highest resident memory; ``None`` where it was not measured.
        peak_gpu_bytes: Highest memory on the GPU; ``None`` without one.
        samples_forward: Samples that went through a network.
        samples_backward: Samples that were differentiated through.
        machines: Kinds of hardware that these trials ran on; with more than one, the medians of seconds mix them.
        cost_ratio: Seconds relative to the baseline's, geometric mean over the seeds (three at least) that both finished on the same hardware, at once or not.
        cost_low: Lower end of its 95 % interval, Student's t of the logarithms.
        cost_high: Upper end.
        cost_by: Which seconds: ``cpu``, or ``wall`` where a GPU does the work.
        waits: How many times as far from its CPU time a trial's wall time is as the baseline's, where the ratio is by CPU: above 1, it waits, or ran on a machine
            that was busier.
        seeds_at_once: How many seeds ran as one program at most, of which each trial's seconds are a share.
    """

    wall_seconds: float | None
    cpu_seconds: float | None
    peak_rss_bytes: float | None
    peak_gpu_bytes: float | None
    samples_forward: float | None
    samples_backward: float | None
    machines: int
    cost_ratio: float | None = None
    cost_low: float | None = None
    cost_high: float | None = None
    cost_by: str | None = None
    waits: float | None = None
    seeds_at_once: int = 1


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
        low: Lower end of its 95 % interval (Student's t); ``None`` with fewer than two seeds.
        high: Upper end.
        to_baseline: How it compares with the baseline's.
        rank: Among the methods that are complete on this data set; ``None`` for the others.
        best: Whether the method is complete and not significantly worse than the top one of this column (paired t test with moderated variances, Holm over all
            pairs of methods): where none is better than another, all are, in 95 % of columns.
        candidate: Whether it is complete and cannot be excluded as the best one of this column: the best one is, in 95 % of columns.
        costs: What its trials used.
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
    to_baseline: ToBaseline
    rank: float | None
    best: bool
    candidate: bool
    costs: CellCosts

    def to_json(self) -> dict[str, Any]:
        """Return the cell as files hold it: one level of names, those of the comparison and of the costs among them."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            flat |= value if name in ("to_baseline", "costs") else {name: value}

        return flat

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """
        Rebuild a cell.

        Raises:
            KeyError: A name is missing.
            TypeError: A name is unknown.
        """
        left = dict(value)
        to_baseline = ToBaseline(**{field.name: left.pop(field.name) for field in fields(ToBaseline)})
        costs = CellCosts(**{field.name: left.pop(field.name) for field in fields(CellCosts)})

        return cls(**left, to_baseline=to_baseline, costs=costs)


@dataclass(frozen=True)
class Standing:
    """
    One method over all data sets by one metric, but for those on which no method is complete.

    Args:
        method: Label; the method is complete on every one of them.
        mean_rank: Mean over the data sets of its rank among these methods.
        rank_low: The least mean rank that the tests of pairs allow: on each data set, one more than the number of methods that are significantly better;
            ``None`` with one seed.
        rank_high: The greatest: on each data set, the number of methods less those that are significantly worse.
        best_probability: How probable it is that the method is the best of these by its mean rank; ``None`` with fewer than five seeds.
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
        noise_floor: Below which size 95 % of the differences are between the baseline on one half of its seeds and on the other; ``None`` with fewer than two
            seeds.
        half: Seeds in each half.
        detectable: Median over the methods of :attr:`ToBaseline.detectable`, those left out that equal the baseline on every seed.
        detectable_star: The same of :attr:`ToBaseline.detectable_star`.
        pairing_gain: Share of the variance of the differences to the baseline that pairing removed; ``None`` where nothing varies.
    """

    dataset: str
    noise_floor: float | None
    half: int
    detectable: float | None
    detectable_star: float | None
    pairing_gain: float | None


@dataclass(frozen=True)
class Overall:
    """
    What the data sets say together by one metric, about the methods that are complete on every one of them; one on which nobody is complete is left out.

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
        look: Why this is a look and no result (``1 seed``, ``1 of 20 epochs``): then nothing is tested, ranked or called best. Empty for a result.
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
        bold: What :attr:`Cell.best` is: ``equal``, not shown to be worse than the top one; or ``best``, not excluded as the best one.
    """

    suite: str
    summary: str
    task: str
    baseline: str
    seeds: tuple[int, ...]
    look: tuple[str, ...]
    metrics: tuple[MetricInfo, ...]
    columns: tuple[ColumnInfo, ...]
    rows: tuple[RowSummary, ...]
    cells: tuple[Cell, ...]
    overall: tuple[Overall, ...]
    tuned: tuple[Tuned, ...]
    stale: int
    pairing: Mapping[str, tuple[int, int]]
    inputs: str
    bold: str = "equal"

    def cell(self, dataset: str, method: str, metric: str) -> Cell:
        """Return one cell by one metric."""
        return self._index[dataset, method, metric]

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], Cell]:
        return {(cell.dataset, cell.method, cell.metric): cell for cell in self.cells}

    def with_candidates(self) -> Leaderboard:
        """Return it with those in bold that cannot be excluded as the best one of their column, instead of those that are not shown to be worse than the top one."""
        return replace(
            self, cells=tuple(replace(cell, best=cell.candidate) for cell in self.cells), bold="best", inputs=f"{self.inputs}, bold best"
        )

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
        return {"format": LEADERBOARD_FORMAT, **asdict(self), "cells": [cell.to_json() for cell in self.cells]}

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
                    "look": tuple(content["look"]),
                    "pairing": {name: (same, total) for name, (same, total) in content["pairing"].items()},
                    "metrics": tuple(MetricInfo(**item) for item in content["metrics"]),
                    "columns": tuple(ColumnInfo(**item) for item in content["columns"]),
                    "rows": tuple(RowSummary(**{**item, "privileges": tuple(item["privileges"])}) for item in content["rows"]),
                    "cells": tuple(Cell.from_json(item) for item in content["cells"]),
                    "overall": tuple(_overall_from_json(item) for item in content["overall"]),
                    "tuned": tuple(Tuned(**{**item, "ends": tuple(item["ends"])}) for item in content["tuned"]),
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
