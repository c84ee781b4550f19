"""The leaderboard as files: Markdown for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from tabulate import tabulate

from harness.errors import StoreError
from harness.report import figures
from harness.secrecy import spell_bytes
from harness.store import replace_file
from harness.text import printable

if TYPE_CHECKING:
    from harness.leaderboard import Leaderboard, MetricInfo

__all__ = ["code", "escape", "prepare_folder", "to_csv", "to_json", "to_markdown", "write_reports"]

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the wide ones are read as the others are

TOGETHER = (
    "Among the methods that are complete on every data set; nothing is imputed. 95 % interval: the ranks that the tests of pairs allow. P(best): how probable it "
    "is that the method is the best of these, from five seeds on. Interquartile mean: of the middle half of all figures, for metrics that are bounded on both "
    "sides. Critical difference: Nemenyi, 5 %; "
    "variants of one data set share its rows, so that they count for less than the test takes them for."
)


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
        raise StoreError(f"the reports cannot be written to '{spell_bytes(str(folder))}': {error.strerror}\n    {hint}") from error


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
    """Return one line for each metric, data set and method; text that a spreadsheet would take for a formula has an apostrophe before it."""
    buffer = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for cell in board.cells:
        content = cell.to_json()
        statuses = content.pop("statuses")
        line = {**content, "statuses": " ".join(f"{status}:{count}" for status, count in sorted(statuses.items()))}
        if writer is None:
            writer = csv.DictWriter(buffer, fieldnames=list(line), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _harmless(value) if isinstance(value, str) else value for name, value in line.items()})

    return buffer.getvalue()


def _harmless(cell: str) -> str:
    """Put an apostrophe before text that a spreadsheet would take for a formula; a number stays one."""
    if not cell.startswith(FORMULA_SIGNS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"

    return cell


def to_markdown(board: Leaderboard, command: str) -> str:
    """Return the leaderboard as GitHub's Markdown: an overview by the main metric, then every data set in detail."""
    main = board.metrics[0]
    parts = [
        f"# {escape(board.suite)}",
        escape(board.summary),
        f"Produced by {code(command)}.",
        "## Overview",
        _overview(board, main),
        f"**{escape(figures.verdict(board, main))}**",
        figures.legend(board, main, lambda name: escape(name).replace("\\_", "_")),  # within a word an underscore is no emphasis
        escape(figures.resolution_legend(board, main)),
    ]
    parts += [escape(figures.untested(board, main)), escape(figures.unranked(board, main))]
    parts.append(escape(figures.privileges(board)))
    if board.pairing:
        parts.append(escape(figures.pairing(board)))
    parts.append(escape(figures.hyperparameters(board)))
    parts.append(escape(figures.failures(board)))
    if board.stale:
        parts.append(figures.stale(board))
    if len(board.over_all(main.name).standings) > 1:
        parts += ["## All data sets together", _together(board, main)]
        parts += [escape(figures.rank_tests(board, main)), escape(figures.left_out(board, main)), TOGETHER]
    if board.tuned:
        parts += ["## Tuning", _tuning(board), escape(figures.TUNING_LEGEND)]
    for column in board.columns:
        parts += [f"## {escape(column.label)}", _details(board, column.label), escape(figures.resolution(board, main, [column]))]
    parts += [_details_legend(board), "## Methods", _methods(board)]

    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(board: Leaderboard, metric: MetricInfo) -> str:
    lines = []
    decimals = figures.decimals_of(board, metric)
    for row in figures.by_rank(board, metric):
        line = [escape(row.label) + ("†" if row.privileges else "")]
        for column in board.columns:
            cell = board.cell(column.label, row.label, metric.name)
            text = figures.mean(cell, metric.unit, decimals.get(column.label))
            change = figures.difference(cell, metric.unit, decimals.get(column.label))
            line.append(f"**{text}**" if cell.best else text)
            line[-1] += f" ({escape(change)})" if change else ""
        line += [figures.spell_score(figures.score(board, metric, row.label)), figures.rank(row.mean_ranks[metric.name])]
        lines.append([*line, figures.ratio(row.cost_ratio), figures.coverage(row.ok, row.total)])
    headers = ["method", *(escape(column.label) for column in board.columns), "wins/ties/losses", "mean rank", "cost", "ok"]

    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def _methods(board: Leaderboard) -> str:
    """Say of each method what it is and where it was published."""
    lines = [[escape(row.label), escape(row.summary), escape(row.paper or "common practice")] for row in board.rows]

    return tabulate(lines, headers=["method", "what it is", "published"], tablefmt="github", disable_numparse=True)


def _tuning(board: Leaderboard) -> str:
    lines = [
        [escape(line.method), line.origin, *map(escape, line.chosen), figures.seconds(line.seconds), str(line.failed)]
        for line in figures.ledger(board)
    ]
    headers = ["method", "hyperparameters", *(escape(column.label) for column in board.columns), "time", "failed"]

    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def _together(board: Leaderboard, metric: MetricInfo) -> str:
    standings = sorted(board.over_all(metric.name).standings, key=lambda standing: standing.mean_rank)
    bounded = any(standing.interquartile_mean is not None for standing in standings)
    lines = []
    for standing in standings:
        line = [escape(standing.method), figures.rank(standing.mean_rank), figures.rank_interval(standing) or figures.NOTHING]
        line.append(figures.probability(standing.best_probability))
        if bounded:
            middle = figures.interval(standing.interquartile_low, standing.interquartile_high, metric.unit)
            line.append(f"{figures.number(standing.interquartile_mean, metric.unit)} {middle}".rstrip())
        lines.append(line)
    headers = ["method", "mean rank", "95 % interval", "P(best)", *(["interquartile mean"] if bounded else [])]

    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def _details_legend(board: Leaderboard) -> str:
    mixed = any(cell.costs.machines > 1 for cell in board.cells)
    machines = (
        " ‡: over trials on several kinds of hardware, or some alone and some at once, so that the seconds are no comparison."
        if mixed
        else ""
    )

    shared = any(cell.costs.seeds_at_once > 1 for cell in board.cells)
    at_once = " §: a share of a program that trained several seeds at once; memory is the program's." if shared else ""

    waiting = any(figures.is_waiting(cell.costs) for cell in board.cells)
    waits = f", ~: its wall time is more than {figures.LONG_WAIT:g} times as far from it as the baseline's" if waiting else ""

    return (
        f"Δ: paired difference to {escape(board.baseline)} with its 95 % interval (Student's t). p: paired t test with a moderated variance; "
        "Wilcoxon: signed-rank test, for comparison; both corrected by Holm over all comparisons of the metric in the suite. Wins: share of seeds on which the "
        "method beats the baseline, a tie counting half; "
        f"P(better): the same over all pairs of seeds. Time, CPU and memory: medians over the trials that ended ok; cost: {figures.cost_basis(board)} on the "
        f"same seeds and hardware with a 95 % interval{waits}. A method without a rank lacks a result; nothing is imputed.{machines}{at_once}"
    )


def _details(board: Leaderboard, dataset: str) -> str:
    main = board.metrics[0]
    decimals = {metric.name: figures.decimals_of(board, metric).get(dataset) for metric in board.metrics}
    lines = []
    for row in board.rows:
        cells = {metric.name: board.cell(dataset, row.label, metric.name) for metric in board.metrics}
        cell = cells[main.name]
        beside, kept = cell.to_baseline, decimals[main.name]
        ends = figures.interval(beside.difference_low, beside.difference_high, main.unit, signed=True, decimals=kept)
        rank = figures.NOTHING if cell.rank is None else f"{cell.rank:g}"
        lines.append(
            [
                escape(row.label) + ("†" if row.privileges else ""),
                *(figures.mean(cells[metric.name], metric.unit, decimals[metric.name]) for metric in board.metrics),
                f"{figures.number(beside.difference, main.unit, signed=True, decimals=kept)} {ends}".rstrip(),
                figures.p_value(cell.to_baseline.p),
                figures.p_value(cell.to_baseline.wilcoxon_p),
                figures.probability(cell.to_baseline.win_rate),
                figures.probability(cell.to_baseline.improvement_probability),
                rank,
                figures.seconds(cell.costs.wall_seconds)
                + ("‡" if cell.costs.machines > 1 else "")
                + ("§" if cell.costs.seeds_at_once > 1 else ""),
                figures.seconds(cell.costs.cpu_seconds),
                figures.megabytes(cell.costs.peak_rss_bytes),
                figures.cost(cell.costs),
                figures.coverage(cell.statuses.get("ok", 0), cell.total),
            ]
        )
    headers = [
        "method",
        *(escape(f"{metric.name}{f' ({metric.unit})' if metric.unit else ''}") for metric in board.metrics),
        escape(f"Δ {main.name}"),
        "p",
        "Wilcoxon",
        "wins",
        "P(better)",
        "rank",
        "time",
        "CPU",
        "memory",
        "cost",
        "ok",
    ]

    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


_ESCAPES = str.maketrans({**{mark: f"\\{mark}" for mark in "\\`*_|[]#~$"}, "<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " "})
_BLOCK = re.compile(r"\s*(?:(?=[-+=](?:[-+=\s]|$))|\d{1,9}(?=[.)](?:\s|$)))")  # what begins a list, a rule, or underlines a heading


def escape(text: str) -> str:
    """Keep text from being read as Markdown or HTML, also at the beginning of a line, and control characters out of it."""
    escaped = printable(text).translate(_ESCAPES)
    begin = _BLOCK.match(escaped)

    return escaped if begin is None else f"{escaped[: begin.end()]}\\{escaped[begin.end() :]}"


def code(text: str) -> str:
    """Return text as a span of code, whatever backticks are in it."""
    shown = " ".join(printable(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""

    return f"{fence}{pad}{shown}{pad}{fence}"
