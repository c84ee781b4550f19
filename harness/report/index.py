"""The page that joins all suites."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import StoreError
from harness.records import digest
from harness.report import figures
from harness.report.rendering import code_hash, file_hash, inputs_of, render
from harness.store import replace_file

if TYPE_CHECKING:
    from harness.leaderboard import Leaderboard, MetricInfo

__all__ = ["to_index", "write_index"]

_INDEXED = ("leaderboard.json", "claims.json")
UNREADABLE = "cannot be read"


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
        [str(folder.relative_to(results)), (folder / "index.html").is_file(), *(file_hash(folder / name) for name in _INDEXED)]
        for folder in folders
    ]
    inputs = digest([contents, code_hash()])
    if inputs_of(path) != inputs:
        replace_file(path, to_index(results, folders, inputs))

    return path


def to_index(results: Path, folders: Sequence[Path], inputs: str) -> str:
    """
    Return the page that joins all suites as HTML.

    Args:
        results: Folder of all reports.
        folders: Those of the suites, under ``results``.
        inputs: Hash of what the page is drawn from.
    """
    by_task: dict[str, list[Indexed]] = {}
    for folder in folders:
        suite = _indexed(folder, results)
        by_task.setdefault(suite.task, []).append(suite)

    return render("index.html", inputs=inputs, tasks=[TaskSuites(name, by_task[name]) for name in sorted(by_task)])


class Winner(NamedTuple):
    """The best of a data set."""

    dataset: str
    methods: str
    figure: str
    others: str


class TaskSuites(NamedTuple):
    """A task with its suites."""

    name: str
    suites: list[Indexed]


class Indexed(NamedTuple):
    """A suite on the page that joins all; its words are what the search looks in."""

    task: str
    name: str
    link: str
    words: str
    summary: str
    verdict: str
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
        return Indexed(UNREADABLE, name, link, name, "", "", "", 0, [], "", [], str(error))
    main = board.metrics[0]
    size = f"{figures.count(len(board.rows), 'method')}, {figures.count(len(board.columns), 'data set')}, {figures.count(len(board.seeds), 'seed')}"
    winners = [_winner(board, column.label, main) for column in board.columns]
    unit = f", {main.unit}" if main.unit else ""

    words = [board.task, name, board.summary, *(row.label for row in board.rows), *(column.label for column in board.columns)]

    return Indexed(
        task=board.task,
        name=name,
        link=link,
        words=" ".join(words),
        summary=board.summary,
        verdict=figures.verdict(board, main),
        size=size,
        failed=board.lacking,
        winners=winners,
        metric=f"{main.name}{unit}",
        verdicts=list(claims.counts().items()) if claims else [],
        problem="",
    )


def _winner(board: Leaderboard, dataset: str, metric: MetricInfo) -> Winner:
    cells = [board.cell(dataset, row.label, metric.name) for row in board.rows]
    ranked = [cell for cell in cells if cell.rank is not None]
    if not ranked:
        return Winner(dataset, figures.NOTHING, "", "a look, not a result" if board.look else "no method is complete")
    first = min(cell.rank or 0.0 for cell in ranked)
    top = [cell for cell in ranked if cell.rank == first]
    others = sum(cell.best for cell in cells) - len(top)
    said = f"{figures.count(others, 'method')} not significantly worse" if others > 0 else ""
    shown = figures.mean(top[0], metric.unit, figures.decimals_of(board, metric).get(dataset))

    return Winner(dataset, ", ".join(cell.method for cell in top), shown, said)


def _read_json(path: Path) -> Any:  # Any: whatever JSON holds
    return json.loads(path.read_text(encoding="utf-8"))
