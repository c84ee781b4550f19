"""The choice of hyperparameters: every method tries as many configurations, on validation data, with seeds that the leaderboard does not use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from harness.errors import BenchError
from harness.search import Tuned

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.records import Record
    from harness.suite import Suite

__all__ = ["UnfinishedTuning", "choose"]


class UnfinishedTuning(BenchError):
    """Trials of the tuning have no record yet, so that nothing can be chosen."""


def choose(suite: Suite, plan: Plan, records: Mapping[str, Record]) -> Suite:
    """
    Return the suite with the configuration of each cell that has the best mean of the main metric over the tuning seeds.

    A configuration with a figure missing is not chosen; of equal ones the first is. With two tuning seeds or more, the suite's own stays where the best is
    ahead of it by no more than one standard error of their paired difference: a choice by so little is one by chance.

    Args:
        suite: With ``tuning``.
        plan: Its tuning trials (:func:`harness.plan.plan_tuning`).
        records: By key of the planned trial.

    Raises:
        UnfinishedTuning: A trial has no record.
    """
    tuning = suite.tuning
    if tuning is None:
        raise ValueError(f"the suite '{suite.name}' has no 'tuning'")
    missing = sum(item.key not in records for item in plan.planned)
    if missing:
        raise UnfinishedTuning(
            f"the tuning of '{suite.name}' lacks {missing} of its {len(plan.planned)} trials\n    `bench run {suite.path}` goes on with it"
        )
    main = suite.metrics[0]
    sign = 1.0 if main.direction == "higher" else -1.0
    of_cell: dict[tuple[str, str], list[Record]] = {cell: [] for cell in tuning.candidates}
    for item in plan.planned:  # configuration by configuration, seed by seed
        of_cell[item.dataset, item.method].append(records[item.key])

    chosen, tuned = {}, []
    for (dataset, method), candidates in tuning.candidates.items():
        own = of_cell[dataset, method]
        figures = [record.metrics.get(main.name) if record.status == "ok" else None for record in own]
        n = len(tuning.seeds)
        scores = [_mean(figures[start : start + n]) for start in range(0, len(own), n)] or [None]
        ranked = sorted((-sign * score, place) for place, score in enumerate(scores) if score is not None)
        best = ranked[0][1] if ranked else 0
        if scores[0] is not None and _within_one_error(figures[:n], figures[best * n : (best + 1) * n]):
            best = 0
        chosen[dataset, method] = candidates[best]
        tuned.append(
            Tuned(
                dataset=dataset,
                method=method,
                values=candidates[best].values,
                before=candidates[0].values,
                score=scores[best],
                score_before=scores[0],
                configs=len(candidates),
                trials=len(own),
                failed=figures.count(None),
                wall_seconds=sum(record.costs.wall_seconds for record in own if record.costs is not None),
                ends=_ends([candidate.values for candidate in candidates], best),
            )
        )

    return replace(suite, chosen=chosen, tuned=tuple(tuned))


def _within_one_error(own: Sequence[float | None], best: Sequence[float | None]) -> bool:
    """Whether two configurations, by their figures on the same seeds, differ by at most one standard error of the mean of the differences."""
    differences = [one - other for one, other in zip(best, own, strict=True) if one is not None and other is not None]
    if len(differences) < 2:
        return False

    return abs(mean(differences)) <= stdev(differences) / math.sqrt(len(differences))


def _ends(tried: Sequence[Mapping[str, Any]], best: int) -> tuple[str, ...]:
    """Return the fields whose value in configuration ``best`` is the least or the greatest of those tried (:class:`harness.search.Tuned`)."""
    found = []
    for name, chosen in tried[best].items():
        values = {values[name] for values in tried if isinstance(values[name], int | float) and not isinstance(values[name], bool)}
        if len(values) >= 3 and chosen != 0 and chosen in (min(values), max(values)):
            found.append(name)

    return tuple(found)


def _mean(figures: Sequence[float | None]) -> float | None:
    present = [figure for figure in figures if figure is not None]

    return sum(present) / len(present) if present and len(present) == len(figures) else None
