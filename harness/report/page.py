"""A suite's page, and the page that joins all suites: one file each that asks no network for anything."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import StoreError
from harness.records import digest
from harness.report import claims as claim_report
from harness.report import figures
from harness.store import replace_file

if TYPE_CHECKING:
    from harness.claims import ClaimBoard
    from harness.leaderboard import Cell, Leaderboard, MetricInfo, RowSummary
    from harness.plan import Plan
    from harness.records import Record
    from harness.report.plots import Curve, Style

__all__ = ["Evidence", "average_curve", "page_inputs", "to_index", "to_page", "write_index", "write_page"]

TEMPLATES = Path(__file__).parent / "templates"
MOST_POINTS = 60  # of a curve: a figure as wide as a phone shows no more
FEWEST_POINTS = 8
POINT_BUDGET = 30_000  # of all curves together: with their bands, about a megabyte of the page
MOST_CURVE_FIGURES = 60
LONGEST_ERROR = 6_000  # characters; the end of a traceback says what happened
ERROR_BUDGET = 1_000_000


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
    if _inputs_of(path) != page_inputs(evidence):
        depth = len(folder.relative_to(results).parts)
        replace_file(path, to_page(evidence, f"{'../' * depth}index.html"))

    return path


def write_index(results: Path) -> Path:
    """
    Write the page that joins all suites under a results folder, unless the one that is there was drawn from the same files.

    Raises:
        StoreError: The file cannot be written.
    """
    path = results / "index.html"
    # A suite that was changed on the command line is a look at something; its pages are not committed, and this one is.
    folders = [found.parent for found in sorted(results.rglob("leaderboard.json")) if not found.parent.name.endswith("-modified")]
    contents = [
        [str(folder.relative_to(results)), (folder / "index.html").is_file(), *(_file_hash(folder / name) for name in _INDEXED)]
        for folder in folders
    ]
    inputs = digest([contents, _code_hash()])
    if _inputs_of(path) != inputs:
        replace_file(path, to_index(results, folders, inputs))

    return path


_INDEXED = ("leaderboard.json", "claims.json")


def page_inputs(evidence: Evidence) -> str:
    """Hash what a page is drawn from, without drawing it; the command is not part of it."""
    claims = evidence.claims

    return digest([evidence.board.inputs, "" if claims is None else claims.inputs, _code_hash()])


def to_page(evidence: Evidence, home: str = "../index.html") -> str:
    """
    Return a suite's page as HTML.

    Args:
        evidence: What to draw.
        home: Link to the page that joins all suites.
    """
    from harness.report.plots import style_of

    board = evidence.board
    labels = [row.label for row in board.rows]
    styles = {label: style_of(index, labels.index(board.baseline)) for index, label in enumerate(labels)}
    curves = list(_curve_groups(evidence, styles))

    return _render(
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
        curves_left_out=_curve_names_count(evidence) - sum(len(group.drawings) for group in curves),
        claims=_claims(evidence.claims),
        provenance=_provenance(evidence),
        trials=_embedded(_trials(evidence)),
    )


def to_index(results: Path, folders: Sequence[Path], inputs: str) -> str:
    """
    Return the page that joins all suites as HTML.

    Args:
        results: Folder of all reports.
        folders: Those of the suites, under ``results``.
        inputs: Hash of what the page is drawn from.
    """
    return _render("index.html", inputs=inputs, suites=[_indexed(folder, results) for folder in folders])


def _render(template: str, **values: Any) -> str:  # Any: whatever the template shows
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"paint": _paint, "breakable": _breakable}
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    values |= {
        "css": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }

    return environment.get_template(template).render(values)


def _paint(colour: str) -> str:
    """Return a colour of the figures as the page's own."""
    from harness.report.plots import VARIABLES

    return VARIABLES[colour]


def _breakable(label: str) -> Any:  # Any: markupsafe's string
    """Let a label be broken after its underscores."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in label.split("_"))


@cache
def _code_hash() -> str:
    here = Path(__file__).parent
    files = [*(here / name for name in ("page.py", "plots.py", "figures.py", "claims.py")), *sorted(TEMPLATES.iterdir())]

    return digest([_file_hash(path) for path in files if path.is_file()])


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _inputs_of(path: Path) -> str:
    """Return what a page that was written before was drawn from; empty if it does not say."""
    try:
        with path.open(encoding="utf-8") as file:
            found = re.search(r'<meta name="weighbridge-inputs" content="([0-9a-f]{64})">', file.read(2000))
    except (OSError, UnicodeDecodeError):
        return ""

    return "" if found is None else found[1]


# The table


class Entry(NamedTuple):
    """A cell of the table."""

    text: str
    change: str
    best: bool
    value: float | None
    coverage: str
    anchor: str


class Line(NamedTuple):
    """A row of the table."""

    row: RowSummary
    place: int
    entries: list[Entry]
    rank: float | None


class Board(NamedTuple):
    """The table of one metric."""

    metric: MetricInfo
    legend: str
    lines: list[Line]
    floors: list[tuple[str, str]]
    floors_legend: str


def _table(board: Leaderboard, metric: MetricInfo) -> Board:
    places = {row.label: index for index, row in enumerate(board.rows)}
    lines = [
        Line(
            row,
            places[row.label],
            [
                _entry(board.cell(column.label, row.label, metric.name), metric, f"trials-{places[row.label]}-{number}")
                for number, column in enumerate(board.columns)
            ],
            row.mean_ranks[metric.name],
        )
        for row in figures.by_rank(board, metric)
    ]

    found = {item.dataset: item for item in board.over_all(metric.name).resolution}
    floors = [
        (figures.number(found[column.label].noise_floor, metric.unit), figures.number(found[column.label].detectable, metric.unit))
        for column in board.columns
    ]

    return Board(metric, figures.legend(board, metric), lines, floors, figures.resolution_legend(board, metric))


def _entry(cell: Cell, metric: MetricInfo, anchor: str) -> Entry:
    ok = cell.statuses.get("ok", 0)

    return Entry(
        figures.mean(cell, metric.unit),
        figures.difference(cell, metric.unit),
        cell.best,
        cell.mean,
        figures.coverage(ok, cell.total) if ok < cell.total else "",
        anchor,
    )


# Figures


class Drawing(NamedTuple):
    """A figure with what stands under it."""

    svg: Any  # Any: markupsafe is imported with jinja2, when a page is drawn
    caption: str


class CurveGroup(NamedTuple):
    """The learning curves of a data set."""

    label: str
    drawings: list[Drawing]


def _drawing(svg: str, caption: str) -> Drawing:
    from markupsafe import Markup

    return Drawing(Markup(svg), caption)


def _scatter(board: Leaderboard, styles: Mapping[str, Style]) -> Drawing | None:
    """Draw quality against cost of the methods that have both: over several data sets the mean rank, over one the mean."""
    from harness.report.plots import Point, cost_scatter

    metric = board.metrics[0]
    several = len(board.columns) > 1
    qualities = {
        row.label: row.mean_ranks[metric.name] if several else board.cell(board.columns[0].label, row.label, metric.name).mean
        for row in board.rows
    }
    points = [
        Point(row.label, styles[row.label], row.cost_ratio, quality)
        for row in board.rows
        if (quality := qualities[row.label]) is not None and row.cost_ratio is not None and row.cost_ratio > 0
    ]
    if len(points) < 2:
        return None
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

    return _drawing(svg, caption)


def _rank_figure(board: Leaderboard, styles: Mapping[str, Style]) -> Drawing | None:
    from harness.report.plots import rank_diagram

    metric = board.metrics[0]
    ranks = [(row.label, styles[row.label], rank) for row in board.rows if (rank := row.mean_ranks[metric.name]) is not None]
    if len(ranks) < 2 or len(board.columns) < 2:
        return None
    overall = board.over_all(metric.name)
    caption = f"Average ranks over {figures.count(len(board.columns), 'data set')} by {metric.name}, best at the left."
    if overall.critical_difference is not None:
        caption += (
            " A bar joins methods whose ranks differ by less than Nemenyi's critical difference: these data sets do not tell them apart."
        )
    if overall.friedman_p is not None:
        caption += f" That all rank alike has a p-value of {figures.p_value(overall.friedman_p)} (Friedman)."

    return _drawing(rank_diagram(ranks, overall.critical_difference, "ranks"), caption)


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
        figures.left_out(board, metric),
        "Interval of the mean rank, and P(best), the chance of the lowest one: over draws of the seeds of each data set, the data sets being what they are.",
        "Interquartile mean: of the middle half of a method's figures over all data sets and seeds." if middle else "",
    ]

    return Standings(rows, middle, [note for note in notes if note])


def _curve_names(evidence: Evidence) -> dict[str, list[str]]:
    """Return the names of the curves that the records of each data set have."""
    names: dict[str, dict[str, None]] = {column.label: {} for column in evidence.board.columns}
    for item in evidence.plan.planned:
        record = evidence.records.get(item.key)
        if record is not None and record.status == "ok":
            names[item.dataset].update(dict.fromkeys(record.curves))

    return {label: sorted(found) for label, found in names.items()}


def _curve_names_count(evidence: Evidence) -> int:
    return sum(map(len, _curve_names(evidence).values()))


def _curve_groups(evidence: Evidence, styles: Mapping[str, Style]) -> Iterator[CurveGroup]:
    """Draw the learning curves, data set by data set, as many as a page has room for."""
    from harness.report.plots import learning_curves

    names = _curve_names(evidence)
    points = max(FEWEST_POINTS, min(MOST_POINTS, POINT_BUDGET // max(1, len(styles) * sum(map(len, names.values())))))
    found: dict[tuple[str, str, str], list[Sequence[tuple[int, float]]]] = {}
    for item in evidence.plan.planned:
        record = evidence.records.get(item.key)
        for name, curve_points in record.curves.items() if record is not None and record.status == "ok" else ():
            found.setdefault((item.dataset, name, item.method), []).append(curve_points)
    units = {metric.name: metric.unit for metric in evidence.board.metrics}
    left = MOST_CURVE_FIGURES
    for number, column in enumerate(evidence.board.columns):
        drawings = []
        for place, name in enumerate(names[column.label][:left]):
            seeds = {label: found.get((column.label, name, label), []) for label in styles}
            curves = [curve for label, style in styles.items() if (curve := average_curve(seeds[label], style, points)) is not None]
            if curves:
                title = f"{name} of {len(curves)} methods on {column.label}"
                percent = units.get(name.partition("_")[2], units.get(name, "")) == "%"
                svg = learning_curves(curves, "step", percent=percent, name=f"curve-{number}-{place}", title=title)
                drawings.append(_drawing(svg, f"{name}{', %' if percent else ''}"))
        left -= len(drawings)
        if drawings:
            yield CurveGroup(column.label, drawings)


def average_curve(seeds: Sequence[Sequence[tuple[int, float]]], style: Style, most: int) -> Curve | None:
    """Average a method's curves over the steps that all its seeds have, so that no mean is over different seeds than its neighbour."""
    import numpy as np

    from harness.report.plots import Curve
    from harness.stats import mean_intervals

    by_seed = [dict(points) for points in seeds]
    shared = sorted(set(by_seed[0]).intersection(*by_seed[1:])) if by_seed else []
    if len(shared) < 2:
        return None
    chosen = [shared[place] for place in np.unique(np.linspace(0, len(shared) - 1, most).round().astype(int))]
    estimates = mean_intervals(np.array([[points[step] for points in by_seed] for step in chosen]))

    return Curve(style, np.array(chosen, dtype=float), estimates.mean, estimates.low, estimates.high)


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


# Every trial


def _trials(evidence: Evidence) -> dict[str, Any]:
    """Return every trial for the script that shows them: what repeats is kept once and referred to by its number."""
    board = evidence.board
    columns = {column.label: place for place, column in enumerate(board.columns)}
    rows = {row.label: place for place, row in enumerate(board.rows)}
    parts, errors = _Shared(), _Shared()
    cells: list[list[dict[str, Any]]] = [
        [
            {"figures": [_spelled(board.cell(column.label, row.label, metric.name), metric) for metric in board.metrics]}
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


def _spelled(cell: Cell, metric: MetricInfo) -> list[str]:
    """Return mean, interval, difference, its interval, p-value and rank as text."""
    unit = metric.unit

    return [
        figures.number(cell.mean, unit),
        figures.interval(cell.low, cell.high, unit) or figures.NOTHING,
        figures.number(cell.to_baseline.difference, unit, signed=True),
        figures.interval(cell.to_baseline.difference_low, cell.to_baseline.difference_high, unit, signed=True) or figures.NOTHING,
        figures.p_value(cell.to_baseline.p),
        figures.NOTHING if cell.rank is None else f"{cell.rank:g}",
    ]


def _embedded(value: Any) -> Any:  # Any: whatever JSON holds, and markupsafe's string
    """Spell JSON so that nothing in it can end the element that holds it."""
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), allow_nan=False)

    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


# All suites


class Winner(NamedTuple):
    """The best of a data set."""

    dataset: str
    methods: str
    figure: str
    others: str


class Indexed(NamedTuple):
    """A suite on the page that joins all."""

    name: str
    link: str
    summary: str
    size: str
    failed: int
    winners: list[Winner]
    metric: str
    verdicts: list[tuple[str, int]]
    problem: str


def _indexed(folder: Path, results: Path) -> Indexed:
    from harness.claims import ClaimBoard
    from harness.leaderboard import Leaderboard

    name = folder.relative_to(results).as_posix()
    link = f"{name}/index.html" if (folder / "index.html").is_file() else ""
    try:
        board = Leaderboard.from_json(_read_json(folder / "leaderboard.json"))
        claims = ClaimBoard.from_json(_read_json(folder / "claims.json")) if (folder / "claims.json").is_file() else None
    except (OSError, ValueError, StoreError) as error:
        return Indexed(name, link, "", "", 0, [], "", [], str(error))
    main = board.metrics[0]
    size = f"{figures.count(len(board.rows), 'method')}, {figures.count(len(board.columns), 'data set')}, {figures.count(len(board.seeds), 'seed')}"
    winners = [_winner(board, column.label, main) for column in board.columns]
    unit = f", {main.unit}" if main.unit else ""

    return Indexed(
        name, link, board.summary, size, board.lacking, winners, f"{main.name}{unit}", list(claims.counts().items()) if claims else [], ""
    )


def _winner(board: Leaderboard, dataset: str, metric: MetricInfo) -> Winner:
    cells = [board.cell(dataset, row.label, metric.name) for row in board.rows]
    ranked = [cell for cell in cells if cell.rank is not None]
    if not ranked:
        return Winner(dataset, figures.NOTHING, "", "no method is complete")
    first = min(cell.rank or 0.0 for cell in ranked)
    top = [cell for cell in ranked if cell.rank == first]
    others = sum(cell.best for cell in cells) - len(top)
    few = len(board.seeds) < 2
    said = "one seed: nothing can be told" if few else f"{figures.count(others, 'method')} not significantly worse" if others > 0 else ""

    return Winner(dataset, ", ".join(cell.method for cell in top), figures.mean(top[0], metric.unit), said)


def _read_json(path: Path) -> Any:  # Any: whatever JSON holds
    return json.loads(path.read_text(encoding="utf-8"))
