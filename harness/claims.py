"""What the records of a suite say about its claims: reproduced, contradicted or inconclusive, with the effect behind it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import StoreError
from harness.records import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.expressions import Comparison, Figure
    from harness.plan import Plan
    from harness.records import Record
    from harness.suite import Claim

__all__ = ["ClaimBoard", "Finding", "JudgedClaim", "OnDataset", "Verdict", "claim_inputs", "seeds_needed", "verify_claims"]

CLAIMS_FORMAT = 2
LEVEL = 0.95  # of stats.py, which imports numpy
MOST_SEEDS = 2**40  # beyond, the distance to the margin is a rounding error

Verdict = Literal["reproduced", "contradicted", "mixed", "inconclusive", "not asked"]


@dataclass(frozen=True)
class OnDataset:
    """
    What the records say about one comparison on one data set alone.

    Args:
        dataset: Label.
        verdict: As of a :class:`Finding`.
        effect: Over the seeds.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    dataset: str
    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Finding:
    """
    What the records say about one comparison.

    Args:
        expect: The comparison.
        unit: Of the effect.
        is_difference: Whether the effect is a difference of figures of one metric or more, so that a share's is in points.
        verdict: ``mixed`` if the data sets alone contradict each other: one is reproduced and one contradicted. Else ``reproduced`` if the interval lies above
            ``needed``, ``contradicted`` if below, else ``inconclusive``.
        effect: Figures of the larger side less those of the smaller one: averaged over the data sets, then over the seeds; ``None`` without a seed.
        low: Lower end of its 95 % interval over the seeds (Student's t); ``None`` with fewer than two seeds.
        high: Upper end.
        needed: What the effect has to exceed: the margin and the numbers of the comparison.
        n: Seeds for which every data set has every figure.
        total: Seeds that the suite asks for.
        seeds_needed: Where inconclusive, the number of seeds with which the interval would clear ``needed`` if mean and scatter stay as they are; ``None``
            where none would, or where fewer than two seeds tell no scatter.
        gaps: The figures that are missing, and why.
        on: Each data set alone; empty where there is one.
    """

    expect: str
    unit: str
    is_difference: bool
    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None
    needed: float
    n: int
    total: int
    seeds_needed: int | None
    gaps: tuple[str, ...]
    on: tuple[OnDataset, ...] = ()


@dataclass(frozen=True)
class JudgedClaim:
    """
    A claim and what the records say about it.

    Args:
        id: Of the claim.
        paper: Where the statement stands.
        says: The statement in words.
        expect: Its expression, as in the suite file.
        where: Which data sets it is about, as in the suite file.
        margin: By how much each larger side must be larger.
        verdict: ``contradicted`` if a comparison is, the interval of each as wide as the number of comparisons asks for (Holm); else ``mixed`` if one is;
            ``reproduced`` if every comparison is; else ``inconclusive``; ``not asked`` where a changed suite leaves out what the claim needs.
        reason: Why it was not asked.
        datasets: Labels of the data sets that were averaged over.
        selected: How many the claim is about in the unchanged suite.
        findings: One for each comparison.
    """

    id: str
    paper: str
    says: str
    expect: str
    where: Mapping[str, Any]
    margin: float
    verdict: Verdict
    reason: str
    datasets: tuple[str, ...]
    selected: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ClaimBoard:
    """
    The verdicts of a suite and the scale that they hold for.

    Args:
        suite: Name.
        task: Name.
        budget: Of each trial.
        seeds: All seeds.
        stale: Trials whose record was made by other code or data than today's.
        claims: In the suite's order.
        inputs: Hash of all that it was computed from.
    """

    suite: str
    task: str
    budget: Mapping[str, float]
    seeds: tuple[int, ...]
    stale: int
    claims: tuple[JudgedClaim, ...]
    inputs: str

    def counts(self) -> dict[str, int]:
        """Return how many claims have each verdict, without those that no claim has."""
        counted = Counter(claim.verdict for claim in self.claims)
        order: tuple[Verdict, ...] = ("reproduced", "contradicted", "mixed", "inconclusive", "not asked")

        return {verdict: counted[verdict] for verdict in order if counted[verdict]}

    def to_json(self) -> dict[str, Any]:
        """Return the verdicts as JSON holds them."""
        return {"format": CLAIMS_FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClaimBoard:
        """
        Rebuild what :meth:`to_json` returned.

        Raises:
            StoreError: The value is none of this format.
        """
        try:
            if value["format"] != CLAIMS_FORMAT:
                raise StoreError(f"claims of format {value['format']}; this version of weighbridge reads format {CLAIMS_FORMAT}")
            content = {name: item for name, item in value.items() if name != "format"}
            claims = [
                JudgedClaim(
                    **{
                        **claim,
                        "datasets": tuple(claim["datasets"]),
                        "findings": tuple(_finding_from_json(finding) for finding in claim["findings"]),
                    }
                )
                for claim in content["claims"]
            ]
            return cls(**{**content, "seeds": tuple(content["seeds"]), "claims": tuple(claims)})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"not the claims of a suite: {error}") from error


def _finding_from_json(value: Mapping[str, Any]) -> Finding:
    return Finding(**{**value, "gaps": tuple(value["gaps"]), "on": tuple(OnDataset(**item) for item in value["on"])})


def claim_inputs(plan: Plan, board_inputs: str) -> str:
    """
    Hash what the verdicts are computed from, without computing them.

    Args:
        plan: The suite's trials.
        board_inputs: Hash of columns and rows, the records and the code that judges, see :func:`harness.leaderboard_computation.leaderboard_inputs`.
    """
    claims = [{**asdict(claim), "comparisons": list(map(str, claim.comparisons))} for claim in plan.suite.claims]

    return digest([board_inputs, dict(plan.suite.budget), claims])


def verify_claims(plan: Plan, records: Mapping[str, Record], inputs: str) -> ClaimBoard:
    """
    Judge the claims of a suite by its records.

    Args:
        plan: The suite's trials.
        records: By key of the planned trial; a trial without one is missing.
        inputs: See :func:`claim_inputs`.
    """
    suite = plan.suite
    by_place = {(item.dataset, item.method, item.trial.seed): records.get(item.key) for item in plan.planned}

    return ClaimBoard(
        suite=suite.name,
        task=suite.task.name,
        budget=dict(suite.budget),
        seeds=suite.seeds,
        stale=sum(records[item.key].key != item.key for item in plan.planned if item.key in records),
        claims=tuple(_judged(claim, plan, by_place) for claim in suite.claims),
        inputs=inputs,
    )


Place = tuple[str, str, int]  # labels of data set and method, and the seed


def _judged(claim: Claim, plan: Plan, by_place: Mapping[Place, Record | None]) -> JudgedClaim:
    present = {column.label for column in plan.suite.datasets}
    datasets = tuple(label for label in claim.datasets if label in present)
    found = [] if claim.unasked else [_finding(comparison, claim, datasets, plan, by_place) for comparison in claim.comparisons]
    findings = tuple(finding for finding, _ in found)
    verdicts = {finding.verdict for finding in findings}
    verdict: Verdict = "inconclusive"
    if claim.unasked:
        verdict = "not asked"
    elif any(finding.verdict == "contradicted" and p_below * len(found) < (1 - LEVEL) / 2 for finding, p_below in found):
        verdict = "contradicted"  # the smallest of Holm's p-values decides whether one is
    elif "mixed" in verdicts:
        verdict = "mixed"
    elif verdicts == {"reproduced"}:
        verdict = "reproduced"

    return JudgedClaim(
        id=claim.id,
        paper=claim.paper,
        says=claim.says,
        expect=claim.expect,
        where=dict(claim.where),
        margin=claim.margin,
        verdict=verdict,
        reason=claim.unasked,
        datasets=datasets,
        selected=len(claim.datasets),
        findings=findings,
    )


def _finding(
    comparison: Comparison, claim: Claim, datasets: tuple[str, ...], plan: Plan, by_place: Mapping[Place, Record | None]
) -> tuple[Finding, float]:
    """Judge a comparison; beside it stands the p-value of its effect being at least what it has to exceed."""
    import numpy as np

    weights = comparison.weights()
    seeds = plan.suite.seeds
    needed = claim.margin - comparison.constant()
    values = np.array([_value(weights, datasets, seed, by_place) for seed in seeds])
    whole, n, p_below = _estimate(", ".join(datasets), values, needed)
    alone = [
        _estimate(dataset, np.array([_value(weights, (dataset,), seed, by_place) for seed in seeds]), needed)[0] for dataset in datasets
    ]
    is_mixed = {"reproduced", "contradicted"} <= {part.verdict for part in alone}
    needs_more = whole.verdict == "inconclusive" and n > 1 and not is_mixed
    finding = Finding(
        expect=str(comparison),
        unit=next(metric.unit for metric in plan.suite.metrics if metric.name in {figure.metric for figure in weights}),
        is_difference=sum(weights.values()) == 0,
        verdict="mixed" if is_mixed else whole.verdict,
        effect=whole.effect,
        low=whole.low,
        high=whole.high,
        needed=needed,
        n=n,
        total=len(seeds),
        seeds_needed=seeds_needed(abs((whole.effect or 0.0) - needed), float(np.nanstd(values, ddof=1))) if needs_more else None,
        gaps=tuple(_gaps(weights, datasets, seeds, by_place)),
        on=tuple(alone) if len(alone) > 1 else (),
    )

    return finding, p_below


def _estimate(dataset: str, values: NDArray[np.float64], needed: float) -> tuple[OnDataset, int, float]:
    """Estimate an effect from one figure a seed; beside it stand the seeds that have one, and the p-value of its being at least what it has to exceed."""
    from scipy.special import stdtr

    from harness.stats import mean_intervals

    estimate = mean_intervals(values[None, :])
    effect, low, high, n = float(estimate.mean[0]), float(estimate.low[0]), float(estimate.high[0]), int(estimate.n[0])
    verdict: Verdict = "reproduced" if low > needed else "contradicted" if high < needed else "inconclusive"
    error = float(estimate.deviation[0]) / math.sqrt(n) if n > 1 else math.nan
    p_below = 1.0 if math.isnan(error) else float(effect >= needed) if error == 0 else float(stdtr(n - 1, (effect - needed) / error))

    return OnDataset(dataset, verdict, _number(effect), _number(low), _number(high)), n, p_below


def _value(weights: Mapping[Figure, float], datasets: tuple[str, ...], seed: int, by_place: Mapping[Place, Record | None]) -> float:
    """Return a seed's difference, averaged over the data sets; NaN unless every data set has every figure."""
    figures = [
        (_figure_of(by_place[dataset, figure.method, seed], figure), weight) for dataset in datasets for figure, weight in weights.items()
    ]
    terms = [weight * figure for figure, weight in figures if figure is not None]

    return math.fsum(terms) / len(datasets) if len(terms) == len(figures) else math.nan


def _figure_of(record: Record | None, figure: Figure) -> float | None:
    return None if record is None else record.metrics.get(figure.metric)


def _gaps(
    weights: Iterable[Figure], datasets: tuple[str, ...], seeds: tuple[int, ...], by_place: Mapping[Place, Record | None]
) -> Iterable[str]:
    for figure in weights:
        for dataset in datasets:
            found = [by_place[dataset, figure.method, seed] for seed in seeds]
            lacking = [record for record in found if _figure_of(record, figure) is None]
            causes = Counter("missing" if record is None else "undefined" if record.status == "ok" else record.status for record in lacking)
            if causes:
                yield f"{figure} on {dataset}: {', '.join(f'{count} {cause}' for cause, count in sorted(causes.items()))}"


def seeds_needed(distance: float, deviation: float) -> int | None:
    """
    Estimate how many seeds it takes until half a 95 % interval is smaller than a distance, if the scatter stays as it is.

    Args:
        distance: Between the mean and the margin.
        deviation: Standard deviation over seeds.

    Returns:
        The smallest ``n`` of 2 or more with ``t(0.975, n - 1) * deviation / sqrt(n) < distance``; ``None`` where mean and margin are equal.
    """
    from scipy.special import stdtrit

    def would_do(n: int) -> bool:
        return bool(stdtrit(n - 1, 0.5 + LEVEL / 2) * deviation / math.sqrt(n) < distance)

    above = 2
    while not would_do(above):
        above *= 2
        if above > MOST_SEEDS:
            return None
    below = above // 2
    while above - below > 1:  # `above` would do, `below` would not
        middle = (below + above) // 2
        below, above = (below, middle) if would_do(middle) else (middle, above)

    return above


def _number(value: float) -> float | None:
    """Return ``None`` for NaN: a figure that does not exist is null."""
    return None if math.isnan(value) else value
