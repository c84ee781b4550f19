"""The figures of a suite's page against a parameter of a data set that its columns try at several values, all else being equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from harness.report.rendering import Drawing, drawing

if TYPE_CHECKING:
    from harness.report.page import Evidence
    from harness.report.styles import Style
    from harness.suite import Column

__all__ = ["Sweep", "sweep_drawings", "sweeps"]

FEWEST_VALUES = 3
MOST_FIGURES = 24


class Sweep(NamedTuple):
    """A parameter, and the labels of the columns that differ in it alone, by its value, least first."""

    parameter: str
    columns: dict[float, str]


def sweeps(columns: tuple[Column, ...]) -> list[Sweep]:
    """Find the parameters that at least three columns differ in, and in nothing else."""
    found: dict[tuple[str, str], dict[float, str]] = {}
    for column in columns:
        for name, value in column.dataset.parameters.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                others = {key: other for key, other in column.dataset.parameters.items() if key != name}
                all_else = json.dumps([column.dataset.name, others, column.task.parameters], sort_keys=True, default=str)
                found.setdefault((name, all_else), {})[value] = column.label

    return [Sweep(name, dict(sorted(tried.items()))) for (name, _), tried in found.items() if len(tried) >= FEWEST_VALUES]


def sweep_drawings(evidence: Evidence, styles: Mapping[str, Style]) -> list[Drawing]:
    """
    Draw each metric against each such parameter, as many figures as a page has room for.

    A method that has the same figure with every seed, as a theory has, is a line; others are points with their 95 % intervals.
    """
    drawings: list[Drawing] = []
    board = evidence.board
    for number, sweep in enumerate(sweeps(evidence.plan.suite.datasets)):
        for metric in board.metrics:
            series = []
            for label, style in styles.items():
                cells = {value: board.cell(column, label, metric.name) for value, column in sweep.columns.items()}
                known = {value: cell for value, cell in cells.items() if cell.mean is not None}
                if known:
                    from harness.report.plots import Series

                    is_exact = all(cell.low is not None and cell.low == cell.high for cell in known.values())
                    series.append(
                        Series(
                            style,
                            list(known),
                            [cell.mean for cell in known.values() if cell.mean is not None],
                            [(cell.low, cell.high) if cell.low is not None and cell.high is not None else None for cell in known.values()],
                            is_exact,
                        )
                    )
            if not series or len(drawings) == MOST_FIGURES:
                continue
            from harness.report.plots import sweep_figure

            name = f"{metric.name}{', %' if metric.unit == '%' else ''}"
            title = f"{name} of {len(series)} methods against {sweep.parameter}"
            place = f"sweep-{number}-{len(drawings)}"
            svg = sweep_figure(series, sweep.parameter, percent=metric.unit == "%", name=place, title=title)
            labels = list(sweep.columns.values())
            drawings.append(drawing(svg, f"{name}; {labels[0]} to {labels[-1]}"))

    return drawings
