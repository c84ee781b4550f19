"""Every trial of a suite, as the script of its page reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.report import figures

if TYPE_CHECKING:
    from harness.leaderboard import Cell, MetricInfo
    from harness.records import Record
    from harness.report.page import Evidence

__all__ = ["embedded", "trials_of"]

LONGEST_ERROR = 6_000  # characters; the end of a traceback says what happened
ERROR_BUDGET = 1_000_000


def trials_of(evidence: Evidence) -> dict[str, Any]:
    """Return every trial for the script that shows them: what repeats is kept once and referred to by its number."""
    board = evidence.board
    columns = {column.label: place for place, column in enumerate(board.columns)}
    decimals = {metric.name: figures.decimals_of(board, metric) for metric in board.metrics}
    rows = {row.label: place for place, row in enumerate(board.rows)}
    parts, errors = _Shared(), _Shared()
    cells: list[list[dict[str, Any]]] = [
        [
            {
                "figures": [
                    _spelled(board.cell(column.label, row.label, metric.name), metric, decimals[metric.name].get(column.label))
                    for metric in board.metrics
                ]
            }
            for column in board.columns
        ]
        for row in board.rows
    ]
    for item in evidence.plan.planned:
        cell = cells[rows[item.method]][columns[item.dataset]]
        if "trials" not in cell:
            trial = item.trial
            asked = {
                kind: [part.name, dict(part.parameters)]
                for kind, part in (("task", trial.task), ("dataset", trial.dataset), ("method", trial.method))
            }
            cell |= {"asked": [parts.number(json.dumps([kind, *content])) for kind, content in asked.items()], "trials": []}
        cell["trials"].append(_trial(item.name, item.trial.seed, item.key, evidence.records.get(item.key), board.metrics, errors))

    return {
        "metrics": [metric.name for metric in board.metrics],
        "datasets": list(columns),
        "methods": list(rows),
        "parts": [json.loads(part) for part in parts.texts],
        "errors": errors.texts,
        "cells": cells,
    }


class _Shared:
    """Texts by number, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.size = 0

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)

    def number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = len(self._numbers)
            self.size += len(text)

        return self._numbers[text]


def _trial(name: str, seed: int, key: str, record: Record | None, metrics: Sequence[MetricInfo], errors: _Shared) -> list[Any]:
    """Return seed, name, status, figures, wall seconds, number of the error and whether the record is stale."""
    if record is None:
        return [seed, name, "missing", [], None, None, 0]
    values = [record.metrics.get(metric.name) for metric in metrics]

    return [
        seed,
        name,
        record.status,
        [None if value is None else float(f"{value:.5g}") for value in values],
        None if record.costs is None else float(f"{record.costs.wall_seconds:.3g}"),
        None if record.error is None else errors.number(_shortened(record.error, errors.size < ERROR_BUDGET)),
        int(record.key != key),
    ]


def _shortened(error: str, room: bool) -> str:
    """Return as much of a traceback as the page has room for: its end, or its last line."""
    text = error.rstrip()
    longest = LONGEST_ERROR if room else 300
    if not room:
        text = text.rpartition("\n")[2]

    return text if len(text) <= longest and room else f"[the beginning is left out here; `bench show` has it]\n{text[-longest:]}"


def _spelled(cell: Cell, metric: MetricInfo, decimals: int | None) -> list[str]:
    """Return mean, interval, difference, its interval, p-value and rank as text."""
    unit, beside = metric.unit, cell.to_baseline

    return [
        figures.number(cell.mean, unit, decimals=decimals),
        figures.interval(cell.low, cell.high, unit, decimals=decimals) or figures.NOTHING,
        figures.number(beside.difference, unit, signed=True, decimals=decimals),
        figures.interval(beside.difference_low, beside.difference_high, unit, signed=True, decimals=decimals) or figures.NOTHING,
        figures.p_value(beside.p),
        figures.NOTHING if cell.rank is None else f"{cell.rank:g}",
    ]


def embedded(value: Any) -> Any:  # Any: whatever JSON holds, and markupsafe's string
    """Spell JSON so that nothing in it can end the element that holds it."""
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), allow_nan=False)

    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))
