"""The computation of a leaderboard: the records of a suite with their statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import geometric_mean, median
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.leaderboard import (
    Cell,
    CellCosts,
    ColumnInfo,
    Leaderboard,
    LeftOut,
    MetricInfo,
    Overall,
    Resolution,
    RowSummary,
    Standing,
    ToBaseline,
)
from harness.records import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.moderation import Prior
    from harness.plan import Plan
    from harness.records import Costs, Record
    from harness.specs import Metric
    from harness.stats import Estimates, PairTests
    from harness.suite import Column, Row, Suite

__all__ = ["build_leaderboard", "leaderboard_inputs"]

MIN_FOR_RESULT = 3  # seeds: two say next to nothing of their scatter
MIN_FOR_COST = 3  # seeds: of fewer there is no scatter to speak of
MIN_FOR_PROBABILITY = 5  # seeds: what fewer say of the best is off by a third (benchmarks/leaderboard_statistics.py)


def leaderboard_inputs(
    plan: Plan, records: Mapping[str, Record], hardware: Mapping[str, str], code: str, whole: Leaderboard | None = None
) -> str:
    """
    Hash what a leaderboard is computed from, without computing it: columns and rows, the records, and the code that computes.

    Args:
        plan: The suite's trials.
        records: By key of the planned trial.
        hardware: Hardware fingerprint by environment identifier.
        code: Hash of the code that computes leaderboards.
        whole: As of :func:`build_leaderboard`.
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
            list(_look(suite)),
            suite.task.name,
            [[metric.name, metric.summary, metric.direction, metric.unit, list(metric.bounds)] for metric in suite.metrics],
            [[column.label, column.dataset.name] for column in suite.datasets],
            [[row.label, row.spec.summary, _cited(row), list(row.method.privileges), list(row.given)] for row in suite.methods],
            [asdict(item) for item in suite.tuned],
            [[item.dataset, item.method, item.key] for item in plan.planned],
            rows,
            dict(hardware),
            code,
            None if whole is None else whole.inputs,
        ]
    )


def build_leaderboard(
    plan: Plan, records: Mapping[str, Record], hardware: Mapping[str, str], inputs: str, whole: Leaderboard | None = None
) -> Leaderboard:
    """
    Compute a leaderboard.

    Args:
        plan: The suite's trials.
        records: By key of the planned trial; a trial without one is missing.
        hardware: Hardware fingerprint by environment identifier; costs are compared within one alone.
        inputs: See :func:`leaderboard_inputs`.
        whole: The leaderboard of the whole suite where the plan is for some of its methods and data sets: its p-values stand in every view.

    Raises:
        StoreError: The plan asks for a trial twice: copies of a record would count as seeds.
    """
    import numpy as np

    from harness.stats import average_ranks, holm

    suite = plan.suite
    look = _look(suite)
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
        columns = _statistics([tables[column.label].figures(metric.name) for column in suite.datasets], sign, baseline)
        corrected, wilcoxon = (
            iter(holm(np.concatenate([np.delete(p, baseline) for p in raw]) if raw else np.array([])).tolist())
            for raw in ([column.p for column in columns], [column.wilcoxon_p for column in columns])
        )
        for column, described in zip(columns, suite.datasets, strict=True):
            means, differences = column.means, column.differences
            ranked = column.complete & (not look)
            ranks = average_ranks(np.where(ranked, sign * means.mean, np.nan), column.largest)
            for row, label in enumerate(methods):
                p, wilcoxon_p = (None, None) if row == baseline else (_number(next(corrected)), _number(next(wilcoxon)))
                if whole is not None and row != baseline:
                    beside = whole.cell(described.label, label, metric.name).to_baseline
                    p, wilcoxon_p = beside.p, beside.wilcoxon_p
                cells.append(
                    Cell(
                        dataset=described.label,
                        method=label,
                        metric=metric.name,
                        n=int(means.n[row]),
                        total=len(seeds),
                        statuses=dict(tables[described.label].statuses[row]),
                        mean=_number(means.mean[row]),
                        low=_number(means.low[row]),
                        high=_number(means.high[row]),
                        to_baseline=ToBaseline()
                        if row == baseline
                        else ToBaseline(
                            difference=_number(differences.mean[row]),
                            difference_low=_number(differences.low[row]),
                            difference_high=_number(differences.high[row]),
                            p=None if look else p,
                            wilcoxon_p=None if look else wilcoxon_p,
                            win_rate=_number(column.win_rate[row]),
                            improvement_probability=_number(column.improvement_probability[row]),
                            detectable=_number(column.detectable[row]),
                            detectable_star=_number(column.detectable_star[row]),
                        ),
                        rank=_number(ranks[row]),
                        best=bool(column.compared.best[row]) and not look,
                        candidate=bool(column.compared.candidates[row]) and not look,
                        costs=costs[described.label][row],
                    )
                )
        overall.append(_overall(metric, sign, methods, suite.datasets, columns, baseline, is_look=bool(look)))

    return Leaderboard(
        suite=suite.name,
        summary=suite.summary,
        task=suite.task.name,
        baseline=suite.baseline,
        seeds=suite.seeds,
        look=look,
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


def _look(suite: Suite) -> tuple[str, ...]:
    """Say why what comes out is a look and no result; nothing where it is one."""
    seeds = len(suite.seeds)

    return (*([f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"] if seeds < MIN_FOR_RESULT else []), *suite.shortened)


def _cited(row: Row) -> str:
    return "" if row.spec.paper is None else str(row.spec.paper)


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

    def costs(self, row: int, baseline: int) -> CellCosts:
        """Return what the trials of a cell used."""
        own = [costs for _, costs, _ in self._costs[row]]

        def middle(value: Callable[[Costs], float | None]) -> float | None:
            figures = [figure for costs in own if (figure := value(costs)) is not None]

            return float(median(figures)) if figures else None

        return CellCosts(
            wall_seconds=middle(lambda costs: costs.wall_seconds),
            cpu_seconds=middle(lambda costs: costs.cpu_seconds),
            peak_rss_bytes=middle(lambda costs: costs.peak_rss_bytes),
            peak_gpu_bytes=middle(lambda costs: costs.peak_gpu_bytes),
            samples_forward=middle(lambda costs: costs.samples_forward),
            samples_backward=middle(lambda costs: costs.samples_backward),
            machines=len({machine for _, _, machine in self._costs[row]}),
            seeds_at_once=max((costs.seeds_at_once for costs in own), default=1),
            **self._cost_ratio(row, baseline),
        )

    def _cost_ratio(self, row: int, baseline: int) -> dict[str, Any]:  # Any: fields of CellCosts
        """Compare seconds over the seeds that both finished on the same hardware."""
        import numpy as np

        from harness.stats import mean_intervals

        reference = {(column, machine): costs for column, costs, machine in self._costs[baseline]}
        both = [(costs, reference[column, machine]) for column, costs, machine in self._costs[row] if (column, machine) in reference]
        if len(both) < MIN_FOR_COST:
            return {}
        by_wall = any(costs.peak_gpu_bytes is not None for pair in both for costs in pair)
        wall, cpu = (np.array([[getattr(costs, name) for costs in pair] for pair in both]) for name in ("wall_seconds", "cpu_seconds"))
        seconds = wall if by_wall else cpu
        if not (seconds > 0).all():
            return {}
        own = np.log(seconds[:, 0] / seconds[:, 1])
        estimate = mean_intervals(own[None, :])
        waits = None if by_wall or not (wall > 0).all() else float(np.exp(np.mean(np.log(wall[:, 0] / wall[:, 1]) - own)))
        ratio, low, high = (float(np.exp(value[0])) for value in (estimate.mean, estimate.low, estimate.high))

        return {"cost_ratio": ratio, "cost_low": low, "cost_high": high, "cost_by": "wall" if by_wall else "cpu", "waits": waits}


@dataclass(frozen=True)
class _Statistics:
    """The statistics of one metric on one data set, one entry a method; ``values`` is ``(M, S)``, ``largest`` the largest of them regardless of its sign."""

    values: NDArray[np.float64]
    means: Estimates
    complete: NDArray[np.bool_]
    differences: Estimates
    p: NDArray[np.float64]
    wilcoxon_p: NDArray[np.float64]
    win_rate: NDArray[np.float64]
    improvement_probability: NDArray[np.float64]
    detectable: NDArray[np.float64]
    detectable_star: NDArray[np.float64]
    compared: PairTests
    prior: Prior
    largest: float


def _statistics(tables: Sequence[NDArray[np.float64]], sign: float, baseline: int) -> list[_Statistics]:
    """Compute the statistics of one metric, whose figures on each data set are ``(M, S)``: what scatter is usual, all data sets say together."""
    import numpy as np

    from harness.moderation import against, fit_priors, moderated_deviation, moderated_p
    from harness.stats import (
        SIGNIFICANCE,
        compare_all,
        detectable_effect,
        improvement_probability,
        mean_intervals,
        pair_differences,
        paired_differences,
        signed_rank_p,
        win_rates,
    )

    priors = fit_priors([pair_differences(values) for values in tables])
    comparisons = max(sum(len(values) - 1 for values in tables), 1)
    found = []
    for values, prior in zip(tables, priors, strict=True):
        scores = sign * values
        means = mean_intervals(values)
        differences = paired_differences(values, values[baseline])
        others = np.arange(len(values)) != baseline
        of_baseline = against(prior, paired_differences(values[others], values[baseline]))
        flat = (differences.n > 1) & (differences.deviation == 0)
        wilcoxon_p = signed_rank_p(values - values[baseline])
        wilcoxon_p[flat] = differences.p[flat]
        effects = np.array([detectable_effect(n) for n in differences.n.tolist()])
        deviation, df = moderated_deviation(differences, of_baseline)
        star_effects = np.array(
            [
                detectable_effect(n, round(own, 1), SIGNIFICANCE / comparisons)
                for n, own in zip(differences.n.tolist(), df.tolist(), strict=True)
            ]
        )
        found.append(
            _Statistics(
                values=values,
                means=means,
                complete=means.n == values.shape[1],
                differences=differences,
                p=moderated_p(differences, of_baseline),
                wilcoxon_p=wilcoxon_p,
                win_rate=win_rates(scores, scores[baseline]),
                improvement_probability=improvement_probability(scores, scores[baseline]),
                detectable=effects * differences.deviation,
                detectable_star=np.where(flat, 0.0, star_effects * deviation),
                compared=compare_all(scores, prior),
                prior=prior,
                largest=float(np.nan_to_num(np.abs(values)).max(initial=0.0)),
            )
        )

    return found


def _overall(
    metric: Metric,
    sign: float,
    methods: Sequence[str],
    datasets: Sequence[Column],
    columns: Sequence[_Statistics],
    baseline: int,
    *,
    is_look: bool,
) -> Overall:
    import numpy as np

    from harness.stats import average_ranks, best_probabilities, compare_all, critical_difference, friedman, interquartile_means, snapped

    resolution = tuple(_resolution(described.label, column, baseline) for described, column in zip(datasets, columns, strict=True))
    # A data set on which nobody is complete ranks nobody, and must not silence the others.
    ranked = [place for place, column in enumerate(columns) if column.complete.any()]
    datasets, columns = [datasets[place] for place in ranked], [columns[place] for place in ranked]
    labels = [described.label for described in datasets]
    complete = np.flatnonzero(np.logical_and.reduce([column.complete for column in columns])) if columns else np.array([])
    if is_look or not len(complete):
        return Overall(metric.name, (), (), None, None, (), resolution)
    values = np.stack([column.values[complete] for column in columns])
    means = np.stack([snapped(sign * column.means.mean[complete], column.largest) for column in columns])
    ranks = np.stack([average_ranks(row) for row in means])
    names = [methods[row] for row in complete.tolist()]
    mean_ranks = ranks.mean(axis=0)
    seeds = values.shape[2]
    likely = best_probabilities(sign * values) if seeds >= MIN_FOR_PROBABILITY else None
    compared = [compare_all(sign * column.values[complete], column.prior) for column in columns]
    better, worse = (np.stack([getattr(found, side) for found in compared]).mean(axis=0) for side in ("better", "worse"))
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
                rank_low=1 + float(better[place]) if seeds > 1 else None,
                rank_high=len(names) - float(worse[place]) if seeds > 1 else None,
                best_probability=None if likely is None else float(likely[place]),
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
    # 0: equal on every seed, as the baseline is to itself; NaN is not above 0
    detectable, star = ([value for value in values.tolist() if value > 0] for values in (column.detectable, column.detectable_star))

    return Resolution(
        dataset=label,
        noise_floor=_number(floor),
        half=half,
        detectable=median(detectable) if detectable else None,
        detectable_star=median(star) if star else None,
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
        ratios = [ratio for cell in own if (ratio := cell.costs.cost_ratio) is not None]
        summaries.append(
            RowSummary(
                label=row.label,
                summary=row.spec.summary,
                paper=_cited(row),
                privileges=row.method.privileges,
                hyperparameters=_origin(suite, row),
                mean_ranks={metric: means.get(row.label) for metric, means in ranks.items()},
                cost_ratio=geometric_mean(ratios) if own and len(ratios) == len(own) else None,
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
