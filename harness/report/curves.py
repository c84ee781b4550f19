"""The learning curves of a suite's page, as many and as fine as the page has room for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from harness.report.heat_maps import table_row, unit_of
from harness.report.rendering import Drawing, drawing

if TYPE_CHECKING:
    from harness.report.page import Evidence
    from harness.report.plots import Curve
    from harness.report.styles import Style

__all__ = ["CurveGroup", "average_curve", "count_curves", "curve_groups"]

MOST_POINTS = 60  # of a curve: a figure as wide as a phone shows no more
FEWEST_POINTS = 8
POINT_BUDGET = 30_000  # of all curves together: with their bands, about a megabyte of the page
MOST_CURVE_FIGURES = 60


class CurveGroup(NamedTuple):
    """The learning curves of a data set."""

    label: str
    drawings: list[Drawing]


def _curve_names(evidence: Evidence) -> dict[str, list[str]]:
    """Return the names of the curves that the records of each data set have."""
    names: dict[str, dict[str, None]] = {column.label: {} for column in evidence.board.columns}
    for item in evidence.plan.planned:
        record = evidence.records.get(item.key)
        if record is not None and record.status == "ok":
            names[item.dataset].update(dict.fromkeys(name for name in record.curves if table_row(name) is None))

    return {label: sorted(found) for label, found in names.items()}


def count_curves(evidence: Evidence) -> int:
    """Count the figures of curves that the records would give, whether or not the page has room for them."""
    return sum(map(len, _curve_names(evidence).values()))


def curve_groups(evidence: Evidence, styles: Mapping[str, Style]) -> Iterator[CurveGroup]:
    """Draw the learning curves, data set by data set, as many as a page has room for."""
    names = _curve_names(evidence)
    points = max(FEWEST_POINTS, min(MOST_POINTS, POINT_BUDGET // max(1, len(styles) * sum(map(len, names.values())))))
    found: dict[tuple[str, str, str], list[Sequence[tuple[int, float]]]] = {}
    for item in evidence.plan.planned:
        record = evidence.records.get(item.key)
        for name, curve_points in record.curves.items() if record is not None and record.status == "ok" else ():
            found.setdefault((item.dataset, name, item.method), []).append(curve_points)
    left = MOST_CURVE_FIGURES
    for number, column in enumerate(evidence.board.columns):
        drawings = []
        for place, name in enumerate(names[column.label][:left]):
            seeds = {label: found.get((column.label, name, label), []) for label in styles}
            curves = [curve for label, style in styles.items() if (curve := average_curve(seeds[label], style, points)) is not None]
            if curves:
                from harness.report.plots import learning_curves

                title = f"{name} of {len(curves)} methods on {column.label}"
                percent = unit_of(name, evidence) == "%"
                svg = learning_curves(curves, "step", percent=percent, name=f"curve-{number}-{place}", title=title)
                drawings.append(drawing(svg, f"{name}{', %' if percent else ''}"))
        left -= len(drawings)
        if drawings:
            yield CurveGroup(column.label, drawings)


def average_curve(seeds: Sequence[Sequence[tuple[int, float]]], style: Style, most: int) -> Curve | None:
    """Average a method's curves over the steps that all its seeds have, so that no mean is over different seeds than its neighbour."""
    by_seed = [dict(points) for points in seeds]
    shared = sorted(set(by_seed[0]).intersection(*by_seed[1:])) if by_seed else []
    if len(shared) < 2:
        return None

    import numpy as np

    from harness.report.plots import Curve
    from harness.stats import mean_intervals

    chosen = [shared[place] for place in np.unique(np.linspace(0, len(shared) - 1, most).round().astype(int))]
    estimates = mean_intervals(np.array([[points[step] for points in by_seed] for step in chosen]))

    return Curve(style, np.array(chosen, dtype=float), estimates.mean, estimates.low, estimates.high)
