"""The tables over steps of a suite's page, such as the accuracy on each experience after each: curves named ``name [1]``, ``name [2]``, ... as one heat map."""

from __future__ import annotations

import re
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from harness.report import figures

if TYPE_CHECKING:
    from harness.report.page import Evidence

__all__ = ["HeatMap", "HeatMapGroup", "HeatMaps", "heat_maps", "table_row", "unit_of"]

MOST_CELLS = 10_000  # of a page: half a megabyte
_ROW = re.compile(r"(?P<name>.+) \[(?P<row>\d+)\]")


class Cell(NamedTuple):
    """A mean over seeds: its text, and where it lies between the least and the greatest of its group, 0 to 1."""

    text: str
    share: float


class HeatMap(NamedTuple):
    """A method's table: its label, and a row of cells by number, ``None`` where there is no figure."""

    label: str
    rows: dict[int, list[Cell | None]]


class HeatMaps(NamedTuple):
    """What a page shows, and how many groups it has no room for."""

    groups: list[HeatMapGroup]
    left_out: int


class HeatMapGroup(NamedTuple):
    """The heat maps of a data set and a name, and the steps that are their columns."""

    dataset: str
    name: str
    steps: list[int]
    maps: list[HeatMap]


def table_row(curve: str) -> tuple[str, int] | None:
    """Return the name and the row of a table that a curve is, or ``None`` for a curve of its own."""
    found = _ROW.fullmatch(curve)

    return (found["name"], int(found["row"])) if found else None


def unit_of(curve: str, evidence: Evidence) -> str:
    """Return the unit of a curve: that of the metric whose name its own ends with behind a part and ``_`` or ``/``, or begins with before a space."""
    units = {metric.name: metric.unit for metric in evidence.board.metrics}
    name = curve.rpartition("/")[2].partition(" ")[0]

    return units.get(name.partition("_")[2], units.get(name, ""))


def heat_maps(evidence: Evidence) -> HeatMaps:
    """Gather the tables, data set by data set, those that a page has room for; each figure is a mean over the seeds that have it."""
    groups: list[HeatMapGroup] = []
    found: dict[tuple[str, str], dict[str, dict[int, dict[int, list[float]]]]] = {}
    for item in evidence.plan.planned:
        record = evidence.records.get(item.key)
        for curve, points in record.curves.items() if record is not None and record.status == "ok" else ():
            row = table_row(curve)
            if row is not None:
                steps = found.setdefault((item.dataset, row[0]), {}).setdefault(item.method, {}).setdefault(row[1], {})
                for step, value in points:
                    steps.setdefault(step, []).append(value)
    left = MOST_CELLS
    order = {column.label: place for place, column in enumerate(evidence.board.columns)}
    for (dataset, name), methods in sorted(found.items(), key=lambda group: (order[group[0][0]], group[0][1])):
        means = {
            method: {number: {step: fmean(values) for step, values in row.items()} for number, row in rows.items()}
            for method, rows in methods.items()
        }
        n_cells = sum(len(row) for rows in means.values() for row in rows.values())
        if n_cells <= left:
            left -= n_cells
            groups.append(_group(dataset, name, means, unit_of(name, evidence), [row.label for row in evidence.board.rows]))

    return HeatMaps(groups, len(found) - len(groups))


def _group(dataset: str, name: str, means: dict[str, dict[int, dict[int, float]]], unit: str, labels: list[str]) -> HeatMapGroup:
    every = [value for rows in means.values() for row in rows.values() for value in row.values()]
    low, high = (0.0, 1.0) if unit == "%" else (min(every), max(every))
    steps = sorted({step for rows in means.values() for row in rows.values() for step in row})

    def cell(value: float | None) -> Cell | None:
        if value is None:
            return None

        return Cell(figures.number(value, unit, decimals=0 if unit == "%" else None), (value - low) / (high - low) if high > low else 0.0)

    return HeatMapGroup(
        dataset,
        name,
        steps,
        [
            HeatMap(label, {number: [cell(row.get(step)) for step in steps] for number, row in sorted(means[label].items())})
            for label in labels
            if label in means
        ],
    )
