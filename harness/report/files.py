"""The leaderboard as files: Markdown for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from tabulate import tabulate

from harness.errors import StoreError
from harness.report import figures
from harness.store import replace_file

if TYPE_CHECKING:
    from harness.leaderboard import Leaderboard, MetricInfo

__all__ = ["prepare_folder", "to_csv", "to_json", "to_markdown", "write_reports"]


def prepare_folder(folder: Path) -> None:
    """
    Create the folder of the reports, before anything runs.

    Raises:
        StoreError: It cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = "choose another folder with --results"
        raise StoreError(f"the reports cannot be written to '{folder}': {error.strerror}\n    {hint}") from error


def write_reports(board: Leaderboard, folder: Path, command: str) -> list[Path]:
    """
    Write ``leaderboard.md``, ``.csv`` and ``.json``.

    Args:
        board: What to write.
        folder: Created where it is missing.
        command: What produced the leaderboard, for the reader.

    Raises:
        StoreError: A file cannot be written.
    """
    contents = {
        "leaderboard.md": to_markdown(board, command),
        "leaderboard.csv": to_csv(board),
        "leaderboard.json": to_json(board),
    }
    prepare_folder(folder)
    for name, content in contents.items():
        replace_file(folder / name, content)

    return [folder / name for name in contents]


def to_json(board: Leaderboard) -> str:
    """Return all figures of the leaderboard as JSON; one that does not exist is null."""
    return json.dumps(board.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_csv(board: Leaderboard) -> str:
    """Return one line for each metric, data set and method."""
    buffer = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for cell in board.cells:
        content = asdict(cell)
        statuses = content.pop("statuses")
        line = {**content, "statuses": " ".join(f"{status}:{count}" for status, count in sorted(statuses.items()))}
        if writer is None:
            writer = csv.DictWriter(buffer, fieldnames=list(line), lineterminator="\n")
            writer.writeheader()
        writer.writerow(line)

    return buffer.getvalue()


def to_markdown(board: Leaderboard, command: str) -> str:
    """Return the leaderboard as GitHub's Markdown: an overview by the main metric, then every data set in detail."""
    main = board.metrics[0]
    parts = [
        f"# {_escape(board.suite)}",
        _escape(board.summary),
        f"Produced by `{command}`.",
        "## Overview",
        _overview(board, main),
        figures.legend(board, main),
    ]
    privileged = [f"{row.label} ({', '.join(row.privileges)})" for row in board.rows if row.privileges]
    if privileged:
        parts.append(_escape(f"† needs more than its neighbours: {'; '.join(privileged)}."))
    if board.pairing:
        parts.append(_escape(figures.pairing(board)))
    if board.stale:
        parts.append(f"{board.stale} records were made by other code or data than today's.")
    for column in board.columns:
        parts += [f"## {_escape(column.label)}", _details(board, column.label)]

    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(board: Leaderboard, metric: MetricInfo) -> str:
    lines = []
    for row in figures.by_rank(board, metric):
        line = [_escape(row.label) + ("†" if row.privileges else "")]
        for column in board.columns:
            cell = board.cell(column.label, row.label, metric.name)
            text = figures.mean(cell, metric.unit)
            change = figures.difference(cell, metric.unit)
            line.append(f"**{text}**" if cell.best else text)
            line[-1] += f" ({_escape(change)})" if change else ""
        lines.append([*line, figures.rank(row.mean_ranks[metric.name]), figures.ratio(row.cost_ratio), figures.coverage(row.ok, row.total)])
    headers = ["method", *(_escape(column.label) for column in board.columns), "mean rank", "cost", "ok"]

    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def _details(board: Leaderboard, dataset: str) -> str:
    main = board.metrics[0]
    lines = []
    for row in board.rows:
        cells = {metric.name: board.cell(dataset, row.label, metric.name) for metric in board.metrics}
        cell = cells[main.name]
        interval = (
            f"{figures.number(cell.difference, main.unit, signed=True)} "
            f"[{figures.number(cell.difference_low, main.unit, signed=True)}, {figures.number(cell.difference_high, main.unit, signed=True)}]"
            if cell.difference is not None
            else figures.NOTHING
        )
        rank = figures.NOTHING if cell.rank is None else f"{cell.rank:g}"
        lines.append(
            [
                _escape(row.label) + ("†" if row.privileges else ""),
                *(figures.mean(cells[metric.name], metric.unit) for metric in board.metrics),
                interval,
                figures.p_value(cell.p),
                rank,
                figures.seconds(cell.wall_seconds),
                figures.ratio(cell.cost_ratio),
                figures.coverage(cell.statuses.get("ok", 0), cell.total),
            ]
        )
    headers = [
        "method",
        *(_escape(f"{metric.name}{f' ({metric.unit})' if metric.unit else ''}") for metric in board.metrics),
        _escape(f"Δ {main.name}"),
        "p",
        "rank",
        "time",
        "cost",
        "ok",
    ]

    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


_ESCAPES = str.maketrans({**{mark: f"\\{mark}" for mark in "\\`*_|[]#"}, "<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " "})


def _escape(text: str) -> str:
    """Keep text from being read as Markdown or HTML."""
    return text.translate(_ESCAPES)
