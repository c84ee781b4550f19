"""A suite's page: one file that asks no network for anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.records import digest
from harness.report import claims as claim_report
from harness.report import figures
from harness.report.curves import count_curves, curve_groups
from harness.report.heat_maps import heat_maps
from harness.report.rendering import Drawing, code_hash, drawing, inputs_of, render
from harness.report.styles import style_of
from harness.report.sweeps import sweep_drawings
from harness.report.trials import embedded, trials_of
from harness.store import replace_file

if TYPE_CHECKING:
    from harness.claims import ClaimBoard
    from harness.leaderboard import Cell, Leaderboard, MetricInfo, RowSummary
    from harness.plan import Plan
    from harness.records import Record
    from harness.report.styles import Style

__all__ = ["Evidence", "page_inputs", "to_page", "write_page"]


@dataclass(frozen=True)
class Evidence:
    """
    What a page is drawn from.

    Args:
        board: The leaderboard.
        plan: The suite's trials.
        records: By key of the planned trial.
        environments: Facts by the identifiers that the records refer to.
        claims: Verdicts, or ``None`` where the suite has no claims.
        command: What produced the leaderboard, for the reader.
    """

    board: Leaderboard
    plan: Plan
    records: Mapping[str, Record]
    environments: Mapping[str, Mapping[str, Any]]  # Any: whatever JSON holds
    claims: ClaimBoard | None
    command: str


def write_page(evidence: Evidence, folder: Path, results: Path) -> Path:
    """
    Write ``index.html``, unless the one that is there was drawn from the same evidence by the same code.

    Args:
        evidence: What to draw.
        folder: Of the suite's reports, under ``results``.
        results: Folder of all reports, for the link back.

    Raises:
        StoreError: The file cannot be written.
    """
    path = folder / "index.html"
    if inputs_of(path) != page_inputs(evidence):
        depth = len(folder.relative_to(results).parts)
        replace_file(path, to_page(evidence, f"{'../' * depth}index.html"))

    return path


def page_inputs(evidence: Evidence) -> str:
    """Hash what a page is drawn from, without drawing it; the command is not part of it."""
    claims = evidence.claims

    return digest([evidence.board.inputs, "" if claims is None else claims.inputs, code_hash()])


def to_page(evidence: Evidence, home: str = "../index.html") -> str:
    """
    Return a suite's page as HTML.

    Args:
        evidence: What to draw.
        home: Link to the page that joins all suites.
    """
    board = evidence.board
    labels = [row.label for row in board.rows]
    styles = {label: style_of(index, labels.index(board.baseline)) for index, label in enumerate(labels)}
    curves = list(curve_groups(evidence, styles))

    return render(
        "page.html",
        board=board,
        home=home,
        command=evidence.command,
        inputs=page_inputs(evidence),
        figures=figures,
        styles=styles,
        boards=[_table(board, metric) for metric in board.metrics],
        scatter=_scatter(board, styles),
        ranks=_rank_figure(board, styles),
        standings=_standings(board),
        curves=curves,
        curves_left_out=count_curves(evidence) - sum(len(group.drawings) for group in curves),
        sweeps=sweep_drawings(evidence, styles),
        heat_maps=heat_maps(evidence),
        claims=_claims(evidence.claims),
        provenance=_provenance(evidence),
        trials=embedded(trials_of(evidence)),
    )


# The table


class Entry(NamedTuple):
    """A cell of the table; what ranks is the figure of a complete method."""

    text: str
    change: str
    best: bool
    value: float | None
    ranks: bool
    coverage: str
    anchor: str


class Line(NamedTuple):
    """A row of the table."""

    row: RowSummary
    place: int
    entries: list[Entry]
    rank: float | None
    score: figures.Score | None


class Board(NamedTuple):
    """The table of one metric."""

    metric: MetricInfo
    verdict: str
    legend: str
    lines: list[Line]
    floors: list[tuple[str, ...]]
    floors_legend: str
    notes: list[str]


def _table(board: Leaderboard, metric: MetricInfo) -> Board:
    places = {row.label: index for index, row in enumerate(board.rows)}
    decimals = figures.decimals_of(board, metric)
    lines = [
        Line(
            row,
            places[row.label],
            [
                _entry(
                    board.cell(column.label, row.label, metric.name),
                    metric,
                    decimals.get(column.label),
                    f"trials-{places[row.label]}-{number}",
                )
                for number, column in enumerate(board.columns)
            ],
            row.mean_ranks[metric.name],
            figures.score(board, metric, row.label),
        )
        for row in figures.by_rank(board, metric)
    ]

    found = {item.dataset: item for item in board.over_all(metric.name).resolution}
    floors = [
        tuple(
            figures.number(value, metric.unit, decimals=decimals.get(column.label))
            for value in (found[column.label].noise_floor, found[column.label].detectable, found[column.label].detectable_star)
        )
        for column in board.columns
    ]
    notes = [line for line in (figures.untested(board, metric), figures.unranked(board, metric)) if line]

    return Board(
        metric,
        figures.verdict(board, metric),
        figures.legend(board, metric),
        lines,
        floors,
        figures.resolution_legend(board, metric),
        notes,
    )


def _entry(cell: Cell, metric: MetricInfo, decimals: int | None, anchor: str) -> Entry:
    ok = cell.statuses.get("ok", 0)

    return Entry(
        figures.mean(cell, metric.unit, decimals),
        figures.difference(cell, metric.unit, decimals),
        cell.best,
        cell.mean,
        cell.rank is not None,
        figures.coverage(ok, cell.total) if ok < cell.total else "",
        anchor,
    )


# Figures


def _scatter(board: Leaderboard, styles: Mapping[str, Style]) -> Drawing | None:
    """Draw quality against cost of the methods that have both: over several data sets the mean rank, over one the mean."""
    metric = board.metrics[0]
    several = len(board.columns) > 1
    qualities = {
        row.label: row.mean_ranks[metric.name] if several else board.cell(board.columns[0].label, row.label, metric.name).mean
        for row in board.rows
    }
    known = [
        (row.label, row.cost_ratio, quality)
        for row in board.rows
        if (quality := qualities[row.label]) is not None and row.cost_ratio is not None and row.cost_ratio > 0
    ]
    if len(known) < 2:
        return None

    from harness.report.plots import Point, cost_scatter

    points = [Point(label, styles[label], cost, quality) for label, cost, quality in known]
    drawn = {point.label for point in points}
    absent = [row.label for row in board.rows if row.label not in drawn]
    percent = metric.unit == "%" and not several
    name = f"mean rank by {metric.name}" if several else f"{metric.name}{', %' if percent else ''}"
    svg = cost_scatter(points, name, lower_is_better=several or metric.direction == "lower", percent=percent, name="scatter")
    caption = (
        f"{name[0].upper()}{name[1:]} against cost; better is up, cheaper is left. "
        "The line is the Pareto front: no method on it is beaten at its cost or less."
    )
    if absent:
        caption += f" Not shown, since they are incomplete or their cost was not measured beside the baseline's: {', '.join(absent)}."

    return drawing(svg, caption)


def _rank_figure(board: Leaderboard, styles: Mapping[str, Style]) -> Drawing | None:
    metric = board.metrics[0]
    ranks = [(row.label, styles[row.label], rank) for row in board.rows if (rank := row.mean_ranks[metric.name]) is not None]
    if len(ranks) < 2 or len(board.columns) < 2:
        return None

    from harness.report.plots import rank_diagram

    overall = board.over_all(metric.name)
    caption = f"Average ranks over {figures.count(len(board.columns), 'data set')} by {metric.name}, best at the left."
    if overall.critical_difference is not None:
        caption += (
            " A bar joins methods whose ranks differ by less than Nemenyi's critical difference: these data sets do not tell them apart."
        )
    if overall.friedman_p is not None:
        caption += f" That all rank alike has a p-value of {figures.p_value(overall.friedman_p)} (Friedman)."

    return drawing(rank_diagram(ranks, overall.critical_difference, "ranks"), caption)


class Standings(NamedTuple):
    """The methods over all data sets: texts row by row, whether there are interquartile means, and what stands under the table."""

    rows: list[list[str]]
    middle: bool
    notes: list[str]


def _standings(board: Leaderboard) -> Standings:
    metric = board.metrics[0]
    overall = board.over_all(metric.name)
    middle = any(standing.interquartile_mean is not None for standing in overall.standings)
    rows = []
    for standing in sorted(overall.standings, key=lambda standing: standing.mean_rank):
        ranks = (
            f"[{figures.rank(standing.rank_low)}, {figures.rank(standing.rank_high)}]" if standing.rank_low is not None else figures.NOTHING
        )
        texts = [standing.method, figures.rank(standing.mean_rank), ranks, figures.probability(standing.best_probability)]
        if middle:
            ends = figures.interval(standing.interquartile_low, standing.interquartile_high, metric.unit)
            texts += [figures.number(standing.interquartile_mean, metric.unit), ends or figures.NOTHING]
        rows.append(texts)
    notes = [
        figures.rank_tests(board, metric),
        figures.left_out(board, metric),
        "Interval of the mean rank: what the tests of pairs allow on these data sets. P(best): how probable it is that a method is the best of these, from five "
        "seeds on.",
        "Interquartile mean: of the middle half of a method's figures over all data sets and seeds." if middle else "",
    ]

    return Standings(rows, middle, [note for note in notes if note])


# Claims and provenance


class Claim(NamedTuple):
    """A claim in words."""

    id: str
    verdict: str
    says: str
    paper: str
    expect: str
    datasets: str
    sentences: list[str]


def _claims(board: ClaimBoard | None) -> list[Claim]:
    if board is None:
        return []

    return [
        Claim(
            claim.id,
            claim.verdict,
            claim.says,
            claim.paper,
            f"{claim.expect}{f', by a margin of {claim.margin:g}' if claim.margin else ''}",
            ", ".join(claim.datasets),
            [*map(claim_report.sentence, claim.findings), *([f"Not asked: {claim.reason}"] if claim.reason else [])],
        )
        for claim in board.claims
    ]


class Place(NamedTuple):
    """An environment and how many trials ran in it."""

    identifier: str
    trials: int
    facts: list[tuple[str, str]]


class Provenance(NamedTuple):
    """Where the figures come from."""

    suite: list[tuple[str, str]]
    places: list[Place]


def _provenance(evidence: Evidence) -> Provenance:
    board, suite = evidence.board, evidence.plan.suite
    records = [record for item in evidence.plan.planned if (record := evidence.records.get(item.key)) is not None]
    started = sorted(record.started for record in records if record.started)
    seeds = ", ".join(map(str, board.seeds[:20])) + (", …" if len(board.seeds) > 20 else "")
    facts = [
        ("task", board.task),
        ("baseline", board.baseline),
        ("seeds", f"{len(board.seeds)}: {seeds}"),
        ("budget", ", ".join(f"{key} {value}" for key, value in suite.budget.items())),
        ("limits of a trial", f"{suite.limits.seconds:g} s, {suite.limits.memory_gb:g} GB"),
        ("trials", f"{len(evidence.plan.planned)} asked for, {len(records)} with a record, {board.lacking} without a result"),
        ("started", f"{started[0][:19]} to {started[-1][:19]} UTC" if started else figures.NOTHING),
        ("made by other code or data than today's", figures.count(board.stale, "record")),
        ("hash of all inputs", board.inputs[:16]),
    ]
    trials = Counter(record.environment for record in records)
    places = [
        Place(identifier, count, list(_facts(evidence.environments.get(identifier, {})))) for identifier, count in sorted(trials.items())
    ]

    return Provenance(facts, places)


def _facts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Spell the facts of an environment; one level of nesting becomes one line."""
    for name, value in sorted(facts.items()):
        if isinstance(value, Mapping):
            yield name, ", ".join(f"{key} {item}" for key, item in value.items())
        else:
            yield name, value if isinstance(value, str) else json.dumps(value)
