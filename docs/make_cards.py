"""
Fill the tables of the cards from ``results/``: ``python docs/make_cards.py``.

A table stands between a line that says what it shows, as YAML's flow mapping without its braces, and ``<!-- end -->``::

    <!-- results: rlvr, metrics: [entropy, accuracy], methods: [grpo, steer 0.3] -->
    <!-- claims: rlvr, ids: [steer-is-more-accurate-than-grpo] -->

What is not named is the main metric, and all data sets, methods and claims of the suite.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tabulate import tabulate

from harness.claims import ClaimBoard
from harness.leaderboard import Cell, Leaderboard, MetricInfo
from harness.report import figures
from harness.report.claims import spell_effect, summary
from harness.report.files import escape

__all__ = ["cards", "filled", "prose"]

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^<!-- ((?:results|claims): [^\n]*?) -->\n.*?^<!-- end -->$", re.DOTALL | re.MULTILINE)


def cards() -> list[Path]:
    """Return the cards of the bundled plugins and of the example."""
    found = [*ROOT.glob("plugins/*/README.md"), *ROOT.glob("plugins/*/*/README.md"), *ROOT.glob("examples/*/README.md")]

    return sorted(found)


def prose(card: str) -> str:
    """Return what of a card is written by hand."""
    return BLOCK.sub("", card)


def filled(card: str) -> str:
    """
    Return a card with its tables as the results have them.

    Raises:
        KeyError: A block names a metric, a data set, a method or a claim that the suite has not.
        FileNotFoundError: It names a suite that has no results.
        TypeError: It has a word that no block has.
    """
    return BLOCK.sub(lambda block: f"<!-- {block[1]} -->\n\n{_content(yaml.safe_load(f'{{{block[1]}}}'))}\n\n<!-- end -->", card)


def _content(asked: dict[str, Any]) -> str:
    kind = next(iter(asked))
    suite = asked.pop(kind)
    path = ROOT / "results" / suite / ("leaderboard.json" if kind == "results" else "claims.json")
    content = json.loads(path.read_text(encoding="utf-8"))

    return _results(Leaderboard.from_json(content), **asked) if kind == "results" else _claims(ClaimBoard.from_json(content), **asked)


def _results(board: Leaderboard, metrics: Sequence[str] = (), datasets: Sequence[str] = (), methods: Sequence[str] = ()) -> str:
    """Return a column for each data set and metric, the best method first; where there is one metric, its differences to the baseline stand beside the means."""
    chosen = _named({metric.name: metric for metric in board.metrics}, metrics or [board.metrics[0].name])
    main, alone = chosen[0], len(chosen) == 1
    labels = [column.label for column in _named({column.label: column for column in board.columns}, datasets)]
    rows = _named({row.label: row for row in figures.by_rank(board, main)}, methods)
    rows.sort(key=lambda row: sum(_rank(board.cell(label, row.label, main.name)) for label in labels))
    columns = [(label, metric, figures.decimals_of(board, metric).get(label)) for label in labels for metric in chosen]

    titles = [
        label if alone else _with_unit(metric) if len(labels) == 1 else f"{label}, {_with_unit(metric)}" for label, metric, _ in columns
    ]
    lines = []
    for row in rows:
        cells = [
            _spell(board.cell(label, row.label, metric.name), metric, decimals, with_difference=alone)
            for label, metric, decimals in columns
        ]
        lines.append([escape(row.label) + ("†" if row.privileges else ""), *cells, figures.ratio(row.cost_ratio)])
    option = "" if main == board.metrics[0] else f" --metric {main.name}"
    verdict = f"The whole suite by {escape(main.name)} (`bench leaderboard {board.suite}{option}`): {escape(figures.verdict(board, main))}"
    several = f"Mean ± half its 95 % interval over {len(board.seeds)} seeds. Bold: not shown worse than the best."
    legend = escape(figures.short_legend(board, main)) if alone else several if len(board.seeds) > 1 else "One seed."

    return "\n\n".join([_table(["method", *map(escape, titles), "cost"], lines), verdict, legend])


def _rank(cell: Cell) -> float:
    """Return the rank of a method in a column; one that has none comes last."""
    return math.inf if cell.rank is None else cell.rank


def _spell(cell: Cell, metric: MetricInfo, decimals: int | None, *, with_difference: bool) -> str:
    text = figures.mean(cell, metric.unit, decimals)
    difference = figures.difference(cell, metric.unit, decimals) if with_difference else ""

    return (f"**{text}**" if cell.best else text) + (f" ({escape(difference)})" if difference else "")


def _claims(board: ClaimBoard, ids: Sequence[str] = ()) -> str:
    """Return a row for each claim, with the effect of each of its comparisons."""
    lines = [
        [escape(claim.says), claim.verdict, escape("; ".join(spell_effect(finding) for finding in claim.findings))]
        for claim in _named({claim.id: claim for claim in board.claims}, ids)
    ]

    return f"{_table(['claim', 'verdict', 'effect, 95 % interval'], lines)}\n\n`bench verify {board.suite}`: {summary(board)}."


def _named(things: dict[str, T], names: Sequence[str]) -> list[T]:
    """Return the things of these names, all where there is no name."""
    return [things[name] for name in names or things]


def _with_unit(metric: MetricInfo) -> str:
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


def _table(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    for path in cards():
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
