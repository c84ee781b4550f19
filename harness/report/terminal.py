"""The leaderboard in a terminal: one table a data set, its variants as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.report import figures

if TYPE_CHECKING:
    from rich.console import Console

    from harness.leaderboard import Cell, Leaderboard, MetricInfo

__all__ = ["print_leaderboard"]


def print_leaderboard(board: Leaderboard, console: Console, metric: str | None = None) -> None:
    """
    Print the leaderboard for one metric.

    Args:
        board: What to print.
        console: Where.
        metric: Name; the main one by default.
    """
    shown = next(item for item in board.metrics if metric in (None, item.name))
    for name in dict.fromkeys(column.name for column in board.columns):
        console.print(_table(board, name, shown, plain=not console.is_terminal))
        if floor := figures.resolution(board, shown, [column for column in board.columns if column.name == name]):
            console.print(Text(floor, style="dim"))
    for line in (*figures.mean_ranks(board, shown), figures.left_out(board, shown)):
        if line:
            console.print(Text(line))
    for line in (
        figures.legend(board, shown),
        figures.resolution_legend(board, shown),
        figures.pairing(board),
        figures.hyperparameters(board),
    ):
        if line:
            console.print(Text(line, style="dim"))
    privileged = [f"{row.label} ({', '.join(row.privileges)})" for row in board.rows if row.privileges]
    if privileged:
        console.print(Text(f"† needs more than its neighbours: {'; '.join(privileged)}.", style="dim"))
    if board.lacking:
        console.print(Text(f"{figures.failures(board)} `bench show` tells why.", style="yellow"))
    if board.stale:
        console.print(
            Text(
                f"{figures.count(board.stale, 'record')} made by other code or data than today's; `bench run` brings it up to date.",
                style="yellow",
            )
        )


def _table(board: Leaderboard, name: str, metric: MetricInfo, plain: bool) -> Table:
    columns = [column for column in board.columns if column.name == name]
    table = Table(title=f"{name}: {metric.name}", title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(figures.column_title(column.label, name), justify="right")
    table.add_column("mean rank\n(all)", justify="right")
    table.add_column("cost\n(all)", justify="right")
    for row in figures.by_rank(board, metric):
        cells = [board.cell(column.label, row.label, metric.name) for column in columns]
        mark = "†" if row.privileges else ""
        rank = figures.rank(row.mean_ranks[metric.name])
        table.add_row(f"{row.label}{mark}", *(_text(cell, metric, plain) for cell in cells), rank, figures.ratio(row.cost_ratio))

    return table


def _text(cell: Cell, metric: MetricInfo, plain: bool) -> Text:
    mean = figures.mean(cell, metric.unit)
    text = Text(f"**{mean}**" if cell.best and plain else mean, style="bold" if cell.best else "")
    change = figures.difference(cell, metric.unit)
    if change:
        text.append(f" {change}", style="dim")
    if (ok := cell.statuses.get("ok", 0)) < cell.total:
        text.append(f" [{figures.coverage(ok, cell.total)}]", style="yellow")

    return text
